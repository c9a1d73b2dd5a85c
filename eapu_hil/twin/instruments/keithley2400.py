"""A simulated Keithley 2400: its SCPI dialect, with the refusals that its manual names."""

from __future__ import annotations

from collections.abc import Callable

from eapu_hil.twin.instruments.channel import LINE_HZ, Channel, Sample
from eapu_hil.twin.instruments.probe import Probe
from eapu_hil.twin.instruments.scpi import (
    ILLEGAL_VALUE,
    OUT_OF_RANGE,
    PARAMETER_NOT_ALLOWED,
    ScpiDevice,
    ScpiError,
    bit,
    boolean,
    choice,
    nothing,
    real,
    short_form,
    shown,
)

IDENTITY = "KEITHLEY INSTRUMENTS INC.,MODEL 2400,{serial},C34 Sep 21 2016 15:30:00/A02  /S/K"
V_RANGES_V = (0.21, 2.1, 21.0, 210.0)
I_RANGES_A = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_V_MAX_V, _I_MAX_A, _I_MIN_A = 210.0, 1.05, 1e-9
_LIST_MAX, _LIST_A_COMMAND = 2500, 100
_ELEMENTS = ("VOLTage", "CURRent", "RESistance", "TIME", "STATus")
_NOT_A_NUMBER = 9.91e37
_OUTPUT_OFF = (803, "Not permitted with OUTPUT off")
_INIT_IGNORED = (-213, "Init ignored")
_POINT_S = 0.5e-3  # what a point of a sweep takes besides delay and integration


class Keithley2400(ScpiDevice):
    """One channel, at the bus it is given."""

    def __init__(self, probe: Probe, bus: str, serial: str = "1234567") -> None:
        self.channel = Channel(probe, bus, I_RANGES_A, seed=1)
        self._serial = serial
        super().__init__(self._commands(), errors_max=10)
        self._reset()

    def _reset(self) -> None:
        self.channel.reset()
        self._v_range_v = 21.0
        self._mode = "FIX"
        self._levels_v = [0.0]
        self._delay_s = 1e-3
        self._points = 1
        self._clears_itself = False
        self._elements = [short_form(name) for name in _ELEMENTS]
        self._four_wire = False
        self._concurrent = True
        self._functions = ["VOLT:DC", "CURR:DC"]
        self._source_function = "VOLT"
        self._abort_on_compliance = "NEV"
        self._off_mode = "NORM"
        self._samples: list[Sample] = []

    def _commands(self) -> dict[str, Callable[..., str | None]]:
        channel = self.channel
        level = "[:SOURce[1]]:VOLTage[:LEVel][:IMMediate][:AMPLitude]"
        return {
            "*IDN?": lambda: IDENTITY.format(serial=self._serial),
            "*RST": self._reset,
            "*CLS": self.clear_errors,
            "*OPC?": lambda: "1",
            "*WAI": lambda: None,
            ":SYSTem:ERRor[:NEXT]?": self._error,
            ":SYSTem:ERRor:ALL?": self._all_errors,
            ":SYSTem:ERRor:COUNt?": lambda: str(self.error_count),
            ":SYSTem:CLEar": self.clear_errors,
            ":SYSTem:BEEPer:STATe": lambda value: nothing(boolean(value)),
            ":SYSTem:LFRequency?": lambda: f"{LINE_HZ:.0f}",
            ":SYSTem:RSENse": self._set_four_wire,
            ":SYSTem:RSENse?": lambda: bit(self._four_wire),
            ":STATus:MEASurement:CONDition?": self._condition,
            ":FORMat:ELEMents[:SENSe[1]]": self._set_elements,
            ":FORMat:ELEMents[:SENSe[1]]?": lambda: ",".join(self._elements),
            "[:SOURce[1]]:CLEar:AUTO": self._set_clears_itself,
            "[:SOURce[1]]:CLEar:AUTO?": lambda: bit(self._clears_itself),
            "[:SOURce[1]]:FUNCtion[:MODE]": self._set_source_function,
            "[:SOURce[1]]:FUNCtion[:MODE]?": lambda: self._source_function,
            "[:SOURce[1]]:VOLTage:MODE": self._set_mode,
            "[:SOURce[1]]:VOLTage:MODE?": lambda: self._mode,
            level: self._set_level,
            f"{level}?": lambda: shown(channel.level_v),
            "[:SOURce[1]]:VOLTage:RANGe": self._set_source_range,
            "[:SOURce[1]]:VOLTage:RANGe?": lambda: shown(self._v_range_v),
            "[:SOURce[1]]:VOLTage:RANGe:AUTO": lambda value: nothing(boolean(value)),
            "[:SOURce[1]]:LIST:VOLTage": self._set_list,
            "[:SOURce[1]]:LIST:VOLTage:APPend": self._append_list,
            "[:SOURce[1]]:LIST:VOLTage:POINts?": lambda: str(len(self._levels_v)),
            "[:SOURce[1]]:SWEep:RANGing": lambda value: nothing(choice(value, "BEST", "AUTO", "FIXed")),
            "[:SOURce[1]]:SWEep:CABort": self._set_abort,
            "[:SOURce[1]]:DELay": self._set_delay,
            "[:SOURce[1]]:DELay?": lambda: shown(self._delay_s),
            ":TRIGger:COUNt": self._set_points,
            ":TRIGger:COUNt?": lambda: str(self._points),
            "[:SENSe[1]]:FUNCtion:CONCurrent": self._set_concurrent,
            "[:SENSe[1]]:FUNCtion[:ON]": self._set_functions,
            "[:SENSe[1]]:FUNCtion[:ON]?": lambda: ",".join(f'"{name}"' for name in self._functions),
            "[:SENSe[1]]:CURRent[:DC]:PROTection[:LEVel]": self._set_limit,
            "[:SENSe[1]]:CURRent[:DC]:PROTection[:LEVel]?": lambda: shown(channel.i_limit_a),
            "[:SENSe[1]]:CURRent[:DC]:PROTection:TRIPped?": lambda: bit(self._in_compliance()),
            "[:SENSe[1]]:CURRent[:DC]:RANGe[:UPPer]": self._set_range,
            "[:SENSe[1]]:CURRent[:DC]:RANGe[:UPPer]?": lambda: shown(channel.i_range_a or I_RANGES_A[2]),
            "[:SENSe[1]]:CURRent[:DC]:RANGe:AUTO": self._set_autorange,
            "[:SENSe[1]]:CURRent[:DC]:RANGe:AUTO?": lambda: bit(channel.i_range_a is None),
            "[:SENSe[1]]:CURRent[:DC]:NPLCycles": self._set_nplc,
            "[:SENSe[1]]:CURRent[:DC]:NPLCycles?": lambda: shown(channel.nplc),
            ":OUTPut[1][:STATe]": self._set_output,
            ":OUTPut[1][:STATe]?": lambda: bit(channel.on),
            ":OUTPut[1]:SMODe": self._set_off_mode,
            ":OUTPut[1]:SMODe?": lambda: self._off_mode,
            ":INITiate[:IMMediate]": self._initiate,
            ":ABORt": lambda: None,
            ":FETCh?": self._fetch,
            ":READ?": self._read,
        }

    def _error(self) -> str:
        code, text = self.take_error() or (0, "No error")
        return f'{code},"{text}"'

    def _all_errors(self) -> str:
        entries = [self._error()]
        while self.error_count:
            entries.append(self._error())
        return ",".join(entries)

    def _condition(self) -> str:
        return str((1 << 14) * self._in_compliance())

    def _in_compliance(self) -> bool:
        return self.channel.on and self.channel.sample(0.01).limited

    def _set_four_wire(self, value: str) -> None:
        self._four_wire = boolean(value)

    def _set_elements(self, *names: str) -> None:
        self._elements = sorted(
            {choice(name, *_ELEMENTS) for name in names}, key=list(map(short_form, _ELEMENTS)).index
        )

    def _set_clears_itself(self, value: str) -> None:
        self._clears_itself = boolean(value)

    def _set_source_function(self, value: str) -> None:
        if choice(value, "VOLTage", "CURRent") != "VOLT":
            raise ScpiError(ILLEGAL_VALUE)  # this simulation sources voltages

    def _set_mode(self, value: str) -> None:
        self._mode = choice(value, "FIXed", "LIST")

    def _set_level(self, value: str) -> None:
        level_v = real(value, -_V_MAX_V, _V_MAX_V, {"DEF": 0.0})
        if abs(level_v) > self._v_range_v:
            self._v_range_v = next(one for one in V_RANGES_V if one >= abs(level_v))
        self.channel.drive(level_v=level_v)

    def _set_source_range(self, value: str) -> None:
        asked_v = abs(real(value, -_V_MAX_V, _V_MAX_V))
        self._v_range_v = next(one for one in V_RANGES_V if one >= asked_v)

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

    def _set_abort(self, value: str) -> None:
        self._abort_on_compliance = choice(value, "NEVer", "EARLy", "LATE")

    def _set_delay(self, value: str) -> None:
        self._delay_s = real(value, 0.0, 9999.999)

    def _set_points(self, value: str) -> None:
        self._points = round(real(value, 1, _LIST_MAX))

    def _set_concurrent(self, value: str) -> None:
        self._concurrent = boolean(value)

    def _set_functions(self, *values: str) -> None:
        names = [value.strip("'\"").upper() for value in values]
        known = {
            "CURR": "CURR:DC",
            "CURRENT": "CURR:DC",
            "VOLT": "VOLT:DC",
            "VOLTAGE": "VOLT:DC",
            "RES": "RES",
        }
        try:
            self._functions = [known[name.removesuffix(":DC")] for name in names]
        except KeyError:
            raise ScpiError(ILLEGAL_VALUE) from None

    def _set_limit(self, value: str) -> None:
        limit_a = real(value, -_I_MAX_A, _I_MAX_A, {"DEF": 1.05e-4})
        if abs(limit_a) < _I_MIN_A:
            raise ScpiError(OUT_OF_RANGE)
        self.channel.drive(i_limit_a=abs(limit_a))

    def _set_range(self, value: str) -> None:
        self.channel.set_range(abs(real(value, -_I_MAX_A, _I_MAX_A)))

    def _set_autorange(self, value: str) -> None:
        self.channel.set_range(None if boolean(value) else self.channel.i_limit_a)

    def _set_nplc(self, value: str) -> None:
        self.channel.nplc = real(value, 0.01, 10.0)

    def _set_output(self, value: str) -> None:
        self.channel.drive(on=boolean(value))

    def _set_off_mode(self, value: str) -> None:
        self._off_mode = choice(value, "HIMPedance", "NORMal", "ZERO", "GUARd")

    def _initiate(self) -> None:
        if not (self.channel.on or self._clears_itself):
            raise ScpiError(_OUTPUT_OFF)
        channel = self.channel
        channel.drive(on=True)
        self._samples = []
        for point in range(self._points):
            if self._mode == "LIST":
                channel.drive(level_v=self._levels_v[point % len(self._levels_v)])
            channel.elapse(self._delay_s + _POINT_S)
            limited = channel.limited
            sample = channel.sample()
            self._samples.append(sample)
            if (limited or sample.limited) and self._mode == "LIST" and self._abort_on_compliance != "NEV":
                channel.drive(level_v=0.0)
                break
        if self._clears_itself:
            channel.drive(on=False)

    def _read(self) -> str:
        self._initiate()
        return self._fetch()

    def _fetch(self) -> str:
        if not self._samples:
            raise ScpiError((-230, "Data corrupt or stale"))
        return ",".join(self._shown(sample) for sample in self._samples)

    def _shown(self, sample: Sample) -> str:
        current_a = _NOT_A_NUMBER if sample.overflow else sample.current_a
        status = (1 << 0) * sample.overflow | (1 << 3) * sample.limited
        values = {
            "VOLT": sample.voltage_v,
            "CURR": current_a,
            "RES": _NOT_A_NUMBER,
            "TIME": sample.time_s,
            "STAT": status,
        }
        return ",".join(shown(values[name]) for name in self._elements)
