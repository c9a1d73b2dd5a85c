"""The functions of a simulated Keithley 2400: its source, its ranges and limits, sweeps and readings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from eapu_drivers.simulated.instruments.channel import LINE_HZ, Channel, Sample
from eapu_drivers.simulated.instruments.probe import Probe
from eapu_drivers.simulated.instruments.scpi import (
    ILLEGAL_VALUE,
    OUT_OF_RANGE,
    PARAMETER_NOT_ALLOWED,
    SETTINGS_CONFLICT,
    ScpiError,
    choice,
    real,
    short_form,
    unquoted,
)

V_RANGES_V = (0.21, 2.1, 21.0, 210.0)
I_RANGES_A = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
OVER_RANGE = 1.05  # current ranges are asked for by the end of their scale: 1.05e-6 is the lowest
V_MAX_V, I_MAX_A = 210.0, 1.05
FUNCTIONS = {"VOLTage": "VOLT:DC", "CURRent": "CURR:DC", "RESistance": "RES"}
POINTS_MAX = 2500
_LIST_A_COMMAND = 100
_LIMIT_A = 1.05e-4  # after *RST
_HIGH_V, _HIGH_A = 21.0, 0.105  # above 21 V it can do 105 mA
_LIMIT_OF_RANGE = 1e-3  # a compliance may not be less of the measuring range
_POINT_s = 0.8e-3  # what a point takes besides delay and integration, as the maker says of its fastest sweep
_AUTO_DELAY_s = 1e-3
OUTPUT_OFF = (803, "Not permitted with OUTPUT off")
TOO_SMALL = (822, "Too small for sense range")
BEYOND_COMPLIANCE = (824, "Cannot exceed compliance range")
POWER = (826, "Attempt to exceed power limit")
# Of the status element.
_OFLO, _FRONT, _COMPLIANCE, _V_SOURCE = 1 << 0, 1 << 2, 1 << 3, 1 << 14
_RANGE_COMPLIANCE, _REMOTE_SENSE = 1 << 16, 1 << 22
_MEASURED = {"VOLT:DC": 1 << 11, "CURR:DC": 1 << 12, "RES": 1 << 13}


class Unit2400:
    """The attributes are settings; those that something depends on are changed through methods."""

    def __init__(self, probe: Probe, bus: str) -> None:
        self.channel = Channel(probe, bus, I_RANGES_A, seed=1)
        self.reset()

    def reset(self) -> None:
        """*RST."""
        self.channel.reset()
        self.channel.drive(i_limit_a=_LIMIT_A)
        self.source_function = "VOLT"
        self.level_v, self.v_range_v, self.v_auto = 0.0, 21.0, True
        self.mode, self.list_v = "FIX", [0.0]
        self.start_v, self.stop_v, self.sweep_points = 0.0, 0.0, POINTS_MAX
        self.ranging, self.abort_on_compliance = "BEST", "NEV"
        self.delay_s, self.delay_auto, self.trigger_delay_s = 0.0, True, 0.0
        self.points, self.arms = 1, 1
        self.clears_itself, self.autozero = False, True
        self.four_wire, self.front = False, True
        self.concurrent, self.functions = True, ["VOLT:DC", "CURR:DC"]

    def set_mode(self, mode: str) -> None:
        """FIX, LIST or SWE."""
        self.mode = mode
        if mode == "FIX":
            self.channel.drive(level_v=self.level_v)

    def set_source_function(self, value: str) -> None:
        """Another one switches the output off. A source of current is simulated as far as to be at 0 A."""
        function = choice(value, "VOLTage", "CURRent")
        if function != self.source_function:
            self.source_function = function
            self.channel.drive(on=False)
            self.channel.set_sourcing_current(function == "CURR")

    def set_level(self, level_v: float) -> None:
        """The fixed level, which sweeps begin from."""
        if self.v_auto:
            self._require_power(level_v, self.channel.i_limit_a)
            self.v_range_v = next(one for one in V_RANGES_V if one >= abs(level_v))
        elif abs(level_v) > self.v_range_v:
            raise ScpiError(OUT_OF_RANGE)
        self.level_v = level_v
        self.channel.drive(level_v=level_v)

    def set_source_range(self, asked_v: float) -> None:
        """The smallest range that holds it, fixed."""
        range_v = next(one for one in V_RANGES_V if one >= abs(asked_v))
        self._require_power(range_v, self.channel.i_limit_a)
        if abs(self.level_v) > range_v:
            raise ScpiError(SETTINGS_CONFLICT)
        self.v_range_v, self.v_auto = range_v, False

    def set_delay(self, delay_s: float) -> None:
        """Between a level and its reading."""
        self.delay_s, self.delay_auto = delay_s, False

    def set_limit(self, limit_a: float) -> None:
        """The compliance."""
        least = self.channel.i_range_a or I_RANGES_A[0]
        if limit_a < _LIMIT_OF_RANGE * least * (1 - 1e-9):
            raise ScpiError(TOO_SMALL)
        self._require_power(self.v_range_v, limit_a)
        self.channel.drive(i_limit_a=limit_a)

    def set_range(self, asked_a: float) -> None:
        """The smallest measuring range that holds it, fixed."""
        if asked_a > OVER_RANGE * self.compliance_range_a() * (1 + 1e-9):
            raise ScpiError(BEYOND_COMPLIANCE)
        self.channel.set_range(asked_a / OVER_RANGE)

    def set_autorange(self, on: bool) -> None:
        """Off: stays in the range that it is in."""
        self.channel.set_range(None if on else self.i_range_a())

    def set_function(self, function: str) -> None:
        """For one-shot measurements: this function, with everything about it as after *RST, the compliance too."""
        self.functions, self.points, self.arms, self.autozero = [function], 1, 1, True
        self.trigger_delay_s, self.channel.nplc = 0.0, 1.0
        self.set_mode("FIX")
        self.channel.set_range(None)
        self.channel.drive(i_limit_a=_LIMIT_A)

    def compliance_range_a(self) -> float:
        """The smallest range that holds the compliance."""
        limit_a = self.channel.i_limit_a
        return next(one for one in I_RANGES_A if OVER_RANGE * one * (1 + 1e-9) >= limit_a)

    def i_range_a(self) -> float:
        """The measuring range; with autorange on, the highest that it may choose."""
        return self.channel.i_range_a or self.compliance_range_a()

    def limiting(self) -> bool:
        """Whether the source is in compliance now."""
        return self.channel.on and self.channel.limiting()

    def run(self) -> list[Sample]:
        """Every trigger of an INIT."""
        if not (self.channel.on or self.clears_itself):
            raise ScpiError(OUTPUT_OFF)
        self.channel.drive(on=True)
        samples = []
        for level_v in self._levels():
            if level_v is not None:
                self.channel.drive(level_v=level_v)
            sample = self._point()
            samples.append(sample)
            if sample.limited and level_v is not None and self.abort_on_compliance != "NEV":
                self.channel.drive(level_v=0.0)
                break
        if self.clears_itself:
            self.channel.drive(on=False)
        return samples

    def _levels(self) -> Iterator[float | None]:
        """One a trigger, repeated where there are more triggers; None leaves it as it is."""
        listed = self.list_v
        if self.mode == "SWE":
            listed = np.linspace(self.start_v, self.stop_v, self.sweep_points).tolist()
        for trigger in range(self.points * self.arms):
            if self.mode == "FIX":
                yield None
                continue
            level_v = listed[trigger % len(listed)]
            most_v = self.v_range_v if self.ranging == "FIX" else V_MAX_V
            yield min(max(level_v, -most_v), most_v)

    def _point(self) -> Sample:
        channel = self.channel
        delay_s = _AUTO_DELAY_s if self.delay_auto else self.delay_s
        channel.elapse(self.trigger_delay_s + delay_s + _POINT_s)
        if self.autozero:  # the converter's own zero and reference come with every reading
            channel.elapse(2 * channel.nplc / LINE_HZ)
        return channel.sample()

    def status(self, sample: Sample) -> int:
        """The status element of a reading."""
        limit_a, range_a = self.channel.i_limit_a, self.channel.i_range_a
        range_limits = range_a is not None and OVER_RANGE * range_a < 0.999 * limit_a
        limited = sample.limited * (_RANGE_COMPLIANCE if range_limits else _COMPLIANCE)
        settings = _V_SOURCE | _FRONT * self.front | _REMOTE_SENSE * self.four_wire
        measured = sum(_MEASURED[name] for name in self.functions)
        return settings | measured | limited | _OFLO * sample.overflow

    def _require_power(self, level_v: float, limit_a: float) -> None:
        if abs(level_v) > _HIGH_V and limit_a > _HIGH_A * (1 + 1e-9):
            raise ScpiError(POWER)


def volts(text: str) -> float:
    """A source voltage."""
    return real(text, -V_MAX_V, V_MAX_V, {"DEF": 0.0})


def amperes(text: str, default_a: float = 0.0) -> float:
    """A current; default_a: what DEF stands for."""
    return real(text, -I_MAX_A, I_MAX_A, {"DEF": default_a})


def levels(values: Sequence[str]) -> list[float]:
    """Those of one command."""
    if len(values) > _LIST_A_COMMAND:
        raise ScpiError(PARAMETER_NOT_ALLOWED)
    return [volts(value) for value in values]


def function_named(text: str) -> str:
    """A sense function, from a string parameter."""
    name = unquoted(text).upper()
    for long, function in FUNCTIONS.items():
        if name.removesuffix(":DC") in (long.upper(), short_form(long)):
            return function
    raise ScpiError(ILLEGAL_VALUE)


def at_once(value: str) -> None:
    """The only trigger source that there is here."""
    choice(value, "IMMediate")
