"""One channel of a simulated Keysight B2900: what is set, levels, pulses and readings that follow one another."""

from __future__ import annotations

from collections.abc import Sequence

from eapu_drivers.simulated.instruments.channel import LINE_HZ, Channel, Sample
from eapu_drivers.simulated.instruments.probe import Probe
from eapu_drivers.simulated.instruments.scpi import OUT_OF_RANGE, SETTINGS_CONFLICT, ScpiError, choice, real

V_RANGES_V = (0.2, 2.0, 20.0, 200.0)
I_RANGES_A = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1.5, 3.0)
V_MAX_V, I_MAX_A = 210.0, 3.03
COUNT_MAX = 100_000
_OVER_RANGE = 1.05
_I_MIN_A = 1e-9
_LIST_MAX = 2500
_APERTURE_MIN_s, _APERTURE_MAX_s = 8e-6, 2.0
_POINT_s = 20e-6  # what a point takes besides delays and integration


class ChannelB2900:
    """The settings of the channel at `bus`, as text for the settings that are checked."""

    def __init__(self, probe: Probe, bus: str, seed: int) -> None:
        self.channel = Channel(probe, bus, I_RANGES_A, seed)
        self.reset()

    def reset(self) -> None:
        """*RST."""
        self.channel.reset()
        self.channel.nplc = 0.1
        self.v_range_v, self.v_auto = 2.0, True
        self.function, self.mode, self.shape, self.four_wire = "VOLT", "FIX", "DC", False
        self.levels_v = [0.0]
        self.triggered_v: float | None = None  # in fixed mode; None: the level
        self.start_v = self.stop_v = 0.0
        self.points, self.count, self.readings = 1, 1, 1
        self.width_s, self.pulse_delay_s = 50e-6, 0.0
        self.start_after_s = self.measure_after_s = 0.0
        self.keeps_last = False
        self.auto_on, self.protects, self.tripped = True, False, False
        self.functions = {"VOLT", "CURR"}
        self.samples: list[Sample] = []

    def set_output(self, on: bool) -> None:
        """OUTP. A channel that has tripped can be switched on again."""
        self.tripped = self.tripped and not on
        self.channel.drive(on=on)

    def set_function(self, value: str) -> None:
        """FUNC:MODE. A source of current is simulated as far as to be at 0 A, which opens the line."""
        self.function = choice(value, "VOLTage", "CURRent")
        self.channel.set_sourcing_current(self.function == "CURR")

    def set_level(self, value: str) -> None:
        """VOLT."""
        level_v = real(value, -V_MAX_V, V_MAX_V, {"DEF": 0.0})
        self._require_in_range(level_v)
        self.channel.drive(level_v=level_v)

    def set_range(self, value: str) -> None:
        """VOLT:RANG. Without effect while the range is automatic."""
        asked_v = abs(real(value, -V_MAX_V, V_MAX_V))
        if not self.v_auto:
            self.v_range_v = next(one for one in V_RANGES_V if _OVER_RANGE * one >= asked_v)

    def set_limit(self, value: str) -> None:
        """CURR:PROT."""
        limit_a = abs(real(value, -I_MAX_A, I_MAX_A, {"DEF": 1e-4}))
        if limit_a < _I_MIN_A:
            raise ScpiError(OUT_OF_RANGE)
        self.channel.drive(i_limit_a=limit_a)

    def set_aperture(self, seconds: float) -> None:
        """Beyond its ends it becomes the end, without an error."""
        self.channel.nplc = LINE_HZ * min(max(seconds, _APERTURE_MIN_s), _APERTURE_MAX_s)

    def set_count(self, value: str) -> None:
        """TRIG:ALL:COUN: of levels and of readings."""
        self.count = self.readings = round(real(value, 1, COUNT_MAX))

    def measure(self) -> Sample:
        """A reading now. With the protection on, the compliance takes the output away."""
        sample = self.channel.sample()
        if sample.limited and self.protects:
            self.channel.drive(level_v=0.0, on=False)
            self.tripped = True
        return sample

    def run(self) -> None:
        """Runs INIT."""
        levels_v = self._sequence_v()
        for level_v in levels_v:
            self._require_in_range(level_v, SETTINGS_CONFLICT)
        if self.auto_on:
            self.set_output(True)
        base_v, self.samples = self.channel.level_v, []
        for number, level_v in enumerate(levels_v):
            self.channel.elapse(_POINT_s + self.start_after_s)
            reads = number < self.readings
            if self.shape == "PULS":
                self._pulse(level_v, base_v, reads)
            else:
                self.channel.drive(level_v=level_v)
                self.channel.elapse(self.measure_after_s)
                if reads:
                    self.samples.append(self.measure())
        if not self.keeps_last:
            self.channel.drive(level_v=base_v)

    def _pulse(self, level_v: float, base_v: float, reads: bool) -> None:
        """At its level for just its width. A reading that does not fit into it is one of the base."""
        channel, aperture_s = self.channel, self.channel.nplc / LINE_HZ
        channel.elapse(self.pulse_delay_s)
        left_s = self.width_s
        channel.drive(level_v=level_v)
        fits = reads and self.measure_after_s + aperture_s <= left_s
        if fits:
            channel.elapse(self.measure_after_s)
            self.samples.append(self.measure())
            left_s -= self.measure_after_s + aperture_s
        channel.elapse(left_s)
        channel.drive(level_v=base_v)
        if reads and not fits:
            self.samples.append(self.measure())

    def _sequence_v(self) -> list[float]:
        if self.mode == "LIST":
            source = self.levels_v
        elif self.mode == "SWE":
            step_v = (self.stop_v - self.start_v) / max(self.points - 1, 1)
            source = [self.start_v + k * step_v for k in range(self.points)]
        else:
            source = [self.channel.level_v if self.triggered_v is None else self.triggered_v]
        return [source[k % len(source)] for k in range(self.count)]

    def _require_in_range(self, level_v: float, error: tuple[int, str] = OUT_OF_RANGE) -> None:
        if not self.v_auto and abs(level_v) > _OVER_RANGE * self.v_range_v:
            raise ScpiError(error)

    def set_list(self, *values: str, onto: Sequence[float] = ()) -> None:
        """LIST:VOLT."""
        levels_v = [*onto, *(real(value, -V_MAX_V, V_MAX_V) for value in values)]
        if not values or len(levels_v) > _LIST_MAX:
            raise ScpiError(OUT_OF_RANGE)
        self.levels_v = levels_v
