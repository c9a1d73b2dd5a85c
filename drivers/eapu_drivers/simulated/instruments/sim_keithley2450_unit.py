"""The functions of a simulated Keithley 2450: source, ranges, limits, configuration lists, readings in buffers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eapu_drivers.simulated.instruments.channel import LINE_HZ, Channel
from eapu_drivers.simulated.instruments.probe import Probe
from eapu_drivers.simulated.instruments.scpi import (
    ILLEGAL_VALUE,
    OUT_OF_RANGE,
    PARAMETER_NOT_ALLOWED,
    ScpiError,
    choice,
    real,
)
from eapu_drivers.simulated.instruments.sim_keithley2450_buffers import BufferReading, Buffers

V_RANGES_V = (0.02, 0.2, 2.0, 20.0, 200.0)
I_RANGES_A = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
V_MAX_V, I_MAX_A, I_MIN_A = 210.0, 1.05, 1e-9
POINTS_MAX = 2500
_LIST_A_COMMAND = 100
_OVER_RANGE = 1.05
_LIMIT_OF_RANGE = 0.106  # a limit has to be at least this much of a fixed measuring range
_HIGH_V, _HIGH_A = 21.0, 0.105  # above 21 V it can do 105 mA
_LIMIT_A = 1.05e-4  # after *RST
_OVERFLOW = 9.9e37
_AUTO_DELAY_s = 1e-3
_READING_s = 0.2e-3  # what a reading takes besides delay and integration
_NO_ROOM = (-225, "Out of memory; too many configuration lists")
_LISTS_MAX = 100
NO_LIST = (-224, "Illegal parameter value; no such configuration list")
LIMIT_CHANGED = (5073, "Source limit changed to fit the range")  # a warning; its number is made up
# Of the source status of a reading.
_READ_BACK, _LIMITED, _FOUR_WIRE, _OUTPUT = 1 << 3, 1 << 5, 1 << 6, 1 << 7
_UNITS = {"CURR": "A", "VOLT": "V", "RES": "Ohm"}


@dataclass(frozen=True)
class _Stored:
    """Source settings, as a configuration list keeps them."""

    level_v: float
    v_range_v: float
    v_auto: bool
    i_limit_a: float
    delay_s: float
    delay_auto: bool
    read_back: bool


class Unit2450:
    """The attributes are settings; those that something depends on are changed through methods.

    warn: takes an entry for the event log.
    """

    def __init__(self, probe: Probe, bus: str, warn: Callable[[tuple[int, str]], None]) -> None:
        self.channel = Channel(probe, bus, I_RANGES_A, seed=2)
        self._warn = warn
        self.buffers = Buffers(self.read)
        self.reset()

    def reset(self) -> None:
        """*RST."""
        self.channel.reset()
        self.channel.drive(i_limit_a=_LIMIT_A)
        self.source_function = "VOLT"
        self.v_range_v, self.v_auto = 0.02, True
        self.delay_s, self.delay_auto = 0.0, True
        self.read_back, self.four_wire, self.front, self.autozero = True, False, True, True
        self.function, self.count = "CURR", 1
        self.lists: dict[str, list[_Stored]] = {}
        self.buffers.reset()

    def set_source_function(self, value: str) -> None:
        """Another one switches the output off. A source of current is simulated as far as to be at 0 A."""
        function = choice(value, "VOLTage", "CURRent")
        if function != self.source_function:
            self.source_function = function
            self.channel.drive(on=False)
            self.channel.set_sourcing_current(function == "CURR")

    def set_level(self, level_v: float) -> None:
        """The source level."""
        if self.v_auto:
            self.v_range_v = _range_for(level_v)
            self._fit_limit()
        elif abs(level_v) > _OVER_RANGE * self.v_range_v * (1 + 1e-9):
            raise ScpiError(OUT_OF_RANGE)
        self.channel.drive(level_v=level_v)

    def set_source_range(self, asked_v: float) -> None:
        """The smallest range that holds it, fixed."""
        range_v = _range_for(asked_v)
        if abs(self.channel.level_v) > _OVER_RANGE * range_v * (1 + 1e-9):
            raise ScpiError(OUT_OF_RANGE)
        self.v_range_v, self.v_auto = range_v, False
        self._fit_limit()

    def set_delay(self, delay_s: float) -> None:
        """Between a level and its reading."""
        self.delay_s, self.delay_auto = delay_s, False

    def set_limit(self, limit_a: float) -> None:
        """The nearest limit that the ranges allow: another one than asked comes with no more than a warning."""
        if limit_a < I_MIN_A * (1 - 1e-9):
            raise ScpiError(OUT_OF_RANGE)
        self.channel.drive(i_limit_a=limit_a)
        self._fit_limit()

    def set_range(self, asked_a: float) -> None:
        """The smallest measuring range that holds it, fixed. Moves a limit that does not fit."""
        self.channel.set_range(asked_a)
        self._fit_limit()

    def set_autorange(self, on: bool) -> None:
        """Off: stays in the range that it is in."""
        self.channel.set_range(None if on else self.i_range_a())
        self._fit_limit()

    def i_range_a(self) -> float:
        """The measuring range; with autorange on, the highest that it may choose."""
        limit_a = self.channel.i_limit_a
        fits = next(one for one in I_RANGES_A if _OVER_RANGE * one * (1 + 1e-9) >= limit_a)
        return self.channel.i_range_a or fits

    def _fit_limit(self) -> None:
        limit_a, range_a = self.channel.i_limit_a, self.channel.i_range_a
        most_a = _HIGH_A if self.v_range_v > _HIGH_V else I_MAX_A
        least_a = I_MIN_A
        if range_a is not None:
            least_a, most_a = _LIMIT_OF_RANGE * range_a, min(most_a, _OVER_RANGE * range_a)
        if not least_a * (1 - 1e-9) <= limit_a <= most_a * (1 + 1e-9):
            self.channel.drive(i_limit_a=min(max(limit_a, least_a), most_a))
            self._warn(LIMIT_CHANGED)

    def create_list(self, name: str, levels_v: Sequence[float] = ()) -> None:
        """A configuration list: the settings as they are, once for each level."""
        if name not in self.lists and len(self.lists) >= _LISTS_MAX:
            raise ScpiError(_NO_ROOM)
        self.lists[name] = [self._stored(level_v) for level_v in levels_v]

    def append_list(self, name: str, levels_v: Sequence[float]) -> None:
        """More of them."""
        listed = self.list_named(name)
        if len(listed) + len(levels_v) > POINTS_MAX:
            raise ScpiError(OUT_OF_RANGE)
        listed += [self._stored(level_v) for level_v in levels_v]

    def store(self, name: str) -> None:
        """The settings as they are, into a list."""
        self.append_list(name, [self.channel.level_v])

    def list_named(self, name: str) -> list[_Stored]:
        """Raises ScpiError where there is none."""
        if name not in self.lists:
            raise ScpiError(NO_LIST)
        return self.lists[name]

    def recall(self, stored: _Stored) -> None:
        """Makes stored settings the active ones."""
        self.v_range_v, self.v_auto = stored.v_range_v, stored.v_auto
        self.delay_s, self.delay_auto, self.read_back = stored.delay_s, stored.delay_auto, stored.read_back
        if self.v_auto:
            self.v_range_v = _range_for(stored.level_v)
        most_v = _OVER_RANGE * self.v_range_v
        level_v = min(max(stored.level_v, -most_v), most_v)
        self.channel.drive(level_v=level_v, i_limit_a=stored.i_limit_a)

    def _stored(self, level_v: float) -> _Stored:
        return _Stored(
            level_v,
            self.v_range_v,
            self.v_auto,
            self.channel.i_limit_a,
            self.delay_s,
            self.delay_auto,
            self.read_back,
        )

    def read(self, name: str) -> None:
        """As many readings as are set, into a buffer."""
        for _ in range(self.count):
            self.measure(name)

    def measure(self, name: str) -> None:
        """One reading, into a buffer. With the output off it is of no current."""
        buffer, channel = self.buffers[name], self.channel
        channel.elapse((_AUTO_DELAY_s if self.delay_auto else self.delay_s) + _READING_s)
        if self.autozero:  # the converter's own zero and reference come with every reading
            channel.elapse(2 * channel.nplc / LINE_HZ)
        sample = channel.sample()
        values = {
            "CURR": _OVERFLOW if sample.overflow else sample.current_a,
            "VOLT": sample.voltage_v,
            "RES": sample.voltage_v / (sample.current_a or 1e-30),
        }
        status = _READ_BACK * self.read_back | _LIMITED * sample.limited | _FOUR_WIRE * self.four_wire
        source_v = sample.voltage_v if self.read_back else channel.level_v
        reading = BufferReading(
            values[self.function],
            _UNITS[self.function],
            source_v,
            status | _OUTPUT * channel.on,
            sample.time_s,
            sample.time_s - (buffer[0].time_s if buffer else sample.time_s),
        )
        self.buffers.add(name, reading)

    def limiting(self) -> bool:
        """Whether the source is at its limit now."""
        return self.channel.on and self.channel.limiting()


def _range_for(level_v: float) -> float:
    return next((one for one in V_RANGES_V if _OVER_RANGE * one * (1 + 1e-9) >= abs(level_v)), V_RANGES_V[-1])


def sense_function(text: str) -> str:
    """`CURR:DC`, as a string parameter has it without its quotes -> `CURR`."""
    name = text.upper().removesuffix(":DC")
    for long, short in {"CURRENT": "CURR", "VOLTAGE": "VOLT", "RESISTANCE": "RES"}.items():
        if name in (long, short):
            return short
    raise ScpiError(ILLEGAL_VALUE)


def volts(text: str) -> float:
    """A source voltage."""
    return real(text, -V_MAX_V, V_MAX_V, {"DEF": 0.0})


def amperes(text: str) -> float:
    """A current."""
    return real(text, -I_MAX_A, I_MAX_A, {"DEF": _LIMIT_A})


def levels(values: Sequence[str]) -> list[float]:
    """Those of one command."""
    if len(values) > _LIST_A_COMMAND:
        raise ScpiError(PARAMETER_NOT_ALLOWED)
    return [volts(value) for value in values]
