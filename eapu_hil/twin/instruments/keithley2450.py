"""A simulated Keithley 2450 in its SCPI command set, with the traps that its manual names.

A change of the current range moves a limit that no longer fits, with a warning only; a sweep leaves the output off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from eapu_hil.twin.instruments.channel import LINE_HZ, Channel
from eapu_hil.twin.instruments.probe import Probe
from eapu_hil.twin.instruments.scpi import (
    ILLEGAL_VALUE,
    OUT_OF_RANGE,
    PARAMETER_NOT_ALLOWED,
    SETTINGS_CONFLICT,
    ScpiDevice,
    ScpiError,
    bit,
    boolean,
    choice,
    nothing,
    real,
    shown,
    unquoted,
)

IDENTITY = "KEITHLEY INSTRUMENTS,MODEL 2450,{serial},1.7.12b"
V_RANGES_V = (0.02, 0.2, 2.0, 20.0, 200.0)
I_RANGES_A = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_V_MAX_V, _I_MAX_A, _I_MIN_A = 210.0, 1.05, 1e-9
_LIST_MAX, _LIST_A_COMMAND = 2500, 100
_LIMIT_OF_RANGE = 0.106  # a limit has to be at least this much of a fixed measuring range
_OUTPUT_OFF = (5076, "Cannot take a reading: the output is off")
_STALE = (-230, "Data corrupt or stale")
_POINT_S = 0.3e-3  # what a point of a sweep takes besides delay and integration
_BUFFERS = ("defbuffer1", "defbuffer2")


@dataclass(frozen=True)
class _Point:
    source_v: float
    reading_a: float
    time_s: float


class Keithley2450(ScpiDevice):
    """One channel, at the bus it is given."""

    def __init__(self, probe: Probe, bus: str, serial: str = "04000001") -> None:
        self.channel = Channel(probe, bus, I_RANGES_A, seed=2)
        self._serial = serial
        self._language = "SCPI"
        super().__init__(self._commands(), errors_max=1000)
        self._reset()

    def _reset(self) -> None:
        self.channel.reset()
        self.channel.drive(i_limit_a=1.05e-4)
        self._v_range_v = 0.2
        self._levels_v = [0.0]
        self._delay_s = 0.0
        self._functions = ["CURR:DC"]
        self._four_wire = False
        self._read_back = True
        self._count = 1
        self._sweep: list[float] | None = None
        self._points: list[_Point] = []

    def _commands(self) -> dict[str, Callable[..., str | None]]:
        channel = self.channel
        volt, sense = "[:SOURce[1]]:VOLTage", "[:SENSe[1]]:CURRent[:DC]"
        level = f"{volt}[:LEVel][:IMMediate][:AMPLitude]"
        return {
            "*IDN?": lambda: IDENTITY.format(serial=self._serial),
            "*LANG?": lambda: self._language,
            "*LANG": self._set_language,
            "*RST": self._reset,
            "*CLS": self.clear_errors,
            "*OPC?": lambda: "1",
            "*WAI": lambda: None,
            ":SYSTem:ERRor[:NEXT]?": self._error,
            ":SYSTem:EVENtlog:NEXT?": self._error,
            ":SYSTem:ERRor:COUNt?": lambda: str(self.error_count),
            ":SYSTem:CLEar": self.clear_errors,
            ":SYSTem:LFRequency?": lambda: f"{LINE_HZ:.0f}",
            ":ROUTe:TERMinals": lambda value: nothing(choice(value, "FRONt", "REAR")),
            ":ROUTe:TERMinals?": lambda: "FRON",
            ":ABORt": self._abort,
            ":INITiate[:IMMediate]": self._initiate,
            ":OUTPut[1][:STATe]": self._set_output,
            ":OUTPut[1][:STATe]?": lambda: bit(channel.on),
            "[:SOURce[1]]:FUNCtion[:MODE]": self._set_source_function,
            "[:SOURce[1]]:FUNCtion[:MODE]?": lambda: "VOLT",
            level: self._set_level,
            f"{level}?": lambda: shown(channel.level_v),
            f"{volt}:RANGe": self._set_source_range,
            f"{volt}:RANGe?": lambda: shown(self._v_range_v),
            f"{volt}:RANGe:AUTO": lambda value: nothing(boolean(value)),
            f"{volt}:RANGe:AUTO?": lambda: "0",
            f"{volt}:ILIMit[:LEVel]": self._set_limit,
            f"{volt}:ILIMit[:LEVel]?": lambda: shown(channel.i_limit_a),
            f"{volt}:ILIMit[:LEVel]:TRIPped?": self._tripped,
            f"{volt}:READ:BACK": self._set_read_back,
            f"{volt}:READ:BACK?": lambda: bit(self._read_back),
            f"{volt}:DELay": self._set_delay,
            f"{volt}:DELay?": lambda: shown(self._delay_s),
            f"{volt}:DELay:AUTO": lambda value: nothing(boolean(value)),
            "[:SOURce[1]]:LIST:VOLTage": self._set_list,
            "[:SOURce[1]]:LIST:VOLTage:APPend": self._append_list,
            "[:SOURce[1]]:LIST:VOLTage:POINts?": lambda: str(len(self._levels_v)),
            "[:SOURce[1]]:SWEep:VOLTage:LIST": self._arm_list,
            "[:SOURce[1]]:SWEep:VOLTage:LINear": self._arm_linear,
            "[:SENSe[1]]:FUNCtion[:ON]": self._set_functions,
            "[:SENSe[1]]:FUNCtion[:ON]?": lambda: f'"{self._functions[0]}"',
            "[:SENSe[1]]:COUNt": self._set_count,
            "[:SENSe[1]]:COUNt?": lambda: str(self._count),
            f"{sense}:RANGe[:UPPer]": self._set_range,
            f"{sense}:RANGe[:UPPer]?": lambda: shown(channel.i_range_a or 1e-4),
            f"{sense}:RANGe:AUTO": self._set_autorange,
            f"{sense}:RANGe:AUTO?": lambda: bit(channel.i_range_a is None),
            f"{sense}:NPLCycles": self._set_nplc,
            f"{sense}:NPLCycles?": lambda: shown(channel.nplc),
            f"{sense}:RSENse": self._set_four_wire,
            f"{sense}:RSENse?": lambda: bit(self._four_wire),
            f"{sense}:AZERo[:STATe]": lambda value: nothing(boolean(value)),
            ":TRACe:CLEar": self._clear_buffer,
            ":TRACe:ACTual?": lambda _="": str(len(self._points)),
            ":TRACe:DATA?": self._data,
            ":READ?": self._read,
            ":MEASure[:CURRent][:DC]?": self._read,
            ":FETCh?": self._fetch,
        }

    def _error(self) -> str:
        code, text = self.take_error() or (0, "No error")
        return f'{code},"{text};0;0 0"' if code else '0,"No error;0;0 0"'

    def _set_language(self, value: str) -> None:
        self._language = choice(value, "SCPI", "TSP", "SCPI2400")

    def _abort(self) -> None:
        self._sweep = None

    def _set_output(self, value: str) -> None:
        self.channel.drive(on=boolean(value))

    def _set_source_function(self, value: str) -> None:
        if choice(value, "VOLTage", "CURRent") != "VOLT":
            raise ScpiError(ILLEGAL_VALUE)  # this simulation sources voltages

    def _set_level(self, value: str) -> None:
        self.channel.drive(level_v=real(value, -_V_MAX_V, _V_MAX_V, {"DEF": 0.0}))

    def _set_source_range(self, value: str) -> None:
        asked_v = abs(real(value, -_V_MAX_V, _V_MAX_V))
        self._v_range_v = next((one for one in V_RANGES_V if 1.05 * one >= asked_v), V_RANGES_V[-1])

    def _set_limit(self, value: str) -> None:
        limit_a = real(value, -_I_MAX_A, _I_MAX_A, {"DEF": 1.05e-4})
        range_a = self.channel.i_range_a
        if abs(limit_a) < _I_MIN_A:
            raise ScpiError(OUT_OF_RANGE)
        if range_a is not None and not _LIMIT_OF_RANGE * range_a <= abs(limit_a) <= 1.05 * range_a:
            raise ScpiError(SETTINGS_CONFLICT)
        self.channel.drive(i_limit_a=abs(limit_a))

    def _tripped(self) -> str:
        return bit(self.channel.on and self.channel.sample(0.01).limited)

    def _set_read_back(self, value: str) -> None:
        self._read_back = boolean(value)

    def _set_delay(self, value: str) -> None:
        self._delay_s = real(value, 0.0, 1e4)

    def _set_list(self, *values: str) -> None:
        self._levels_v = self._levels(values)

    def _append_list(self, *values: str) -> None:
        levels_v = self._levels_v + self._levels(values)
        if len(levels_v) > _LIST_MAX:
            raise ScpiError(OUT_OF_RANGE)
        self._levels_v = levels_v

    @staticmethod
    def _levels(values: tuple[str, ...]) -> list[float]:
        if len(values) > _LIST_A_COMMAND:
            raise ScpiError(PARAMETER_NOT_ALLOWED)
        return [real(value, -_V_MAX_V, _V_MAX_V) for value in values]

    def _arm_list(self, start: str, delay: str = "0", count: str = "1", *_: str) -> None:
        first, times = round(real(start, 1, _LIST_MAX)), round(real(count, 1, 268435455))
        self._delay_s = real(delay, 0.0, 1e4) if delay != "-1" else 1e-3
        self._sweep = self._levels_v[first - 1 :] * times

    def _arm_linear(self, start: str, stop: str, points: str, delay: str = "0", *_: str) -> None:
        first_v, last_v = (real(text, -_V_MAX_V, _V_MAX_V) for text in (start, stop))
        count = round(real(points, 2, 1e6))
        self._delay_s = real(delay, 0.0, 1e4) if delay != "-1" else 1e-3
        self._sweep = [first_v + k * (last_v - first_v) / (count - 1) for k in range(count)]

    def _set_functions(self, *values: str) -> None:
        names = [unquoted(value).upper().removesuffix(":DC") for value in values]
        if not set(names) <= {"CURR", "CURRENT", "VOLT", "VOLTAGE", "RES", "RESISTANCE"}:
            raise ScpiError(ILLEGAL_VALUE)
        self._functions = ["CURR:DC" if name.startswith("CURR") else name for name in names]

    def _set_count(self, value: str) -> None:
        self._count = round(real(value, 1, 300000))

    def _set_range(self, value: str) -> None:
        channel = self.channel
        channel.set_range(abs(real(value, -_I_MAX_A, _I_MAX_A)))
        assert channel.i_range_a is not None
        least_a, most_a = _LIMIT_OF_RANGE * channel.i_range_a, 1.05 * channel.i_range_a
        if not least_a <= channel.i_limit_a <= most_a:
            channel.drive(i_limit_a=min(max(channel.i_limit_a, least_a), most_a))
            # A warning goes to the event log, not to the error queue.

    def _set_autorange(self, value: str) -> None:
        self.channel.set_range(None if boolean(value) else self.channel.i_limit_a)

    def _set_nplc(self, value: str) -> None:
        self.channel.nplc = real(value, 0.01, 10.0)

    def _set_four_wire(self, value: str) -> None:
        self._four_wire = boolean(value)

    def _clear_buffer(self, name: str = '"defbuffer1"') -> None:
        self._known_buffer(name)
        self._points = []

    @staticmethod
    def _known_buffer(name: str) -> None:
        if unquoted(name) not in _BUFFERS:
            raise ScpiError((-222, "Parameter data out of range; buffer not found"))

    def _initiate(self) -> None:
        if self._sweep is None:
            raise ScpiError((-213, "Init ignored"))
        channel = self.channel
        self._points = []  # a sweep begins with an empty buffer
        channel.drive(on=True)
        for level_v in self._sweep:
            channel.drive(level_v=level_v)
            channel.elapse(self._delay_s + _POINT_S)
            self._measure()
        channel.drive(on=False)

    def _measure(self) -> None:
        sample = self.channel.sample()
        reading_a = 9.9e37 if sample.overflow else sample.current_a
        self._points.append(_Point(sample.voltage_v, reading_a, sample.time_s))

    def _read(self, name: str = '"defbuffer1"', *elements: str) -> str:
        self._known_buffer(name)
        if not self.channel.on:
            raise ScpiError(_OUTPUT_OFF)
        for _ in range(self._count):
            self._measure()
        return self._shown(self._points[-1], elements)

    def _fetch(self, name: str = '"defbuffer1"', *elements: str) -> str:
        self._known_buffer(name)
        if not self._points:
            raise ScpiError(_STALE)
        return self._shown(self._points[-1], elements)

    def _data(self, start: str, end: str, name: str = '"defbuffer1"', *elements: str) -> str:
        self._known_buffer(name)
        first, last = (round(real(text, 1, 1e6)) for text in (start, end))
        if last > len(self._points) or first > last:
            raise ScpiError((-222, "Parameter data out of range; no such reading"))
        return ",".join(self._shown(point, elements) for point in self._points[first - 1 : last])

    @staticmethod
    def _shown(point: _Point, elements: tuple[str, ...]) -> str:
        values = {"SOUR": point.source_v, "READ": point.reading_a, "REL": point.time_s}
        asked = [choice(one, "SOURce", "READing", "RELative") for one in elements] or ["READ"]
        return ",".join(shown(values[name]) for name in asked)
