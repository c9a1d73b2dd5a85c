"""A simulated Keithley 2400: its SCPI dialect, with the refusals that its manual names.

It sources voltages only: a current source is at 0 A whatever it is told. What the manual does not say, and is assumed:
a source range below the present level is refused (-221); a sweep leaves its last level at the terminals until
`:SOUR:VOLT:MODE FIX`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from eapu_drivers.simulated.instruments.channel import LINE_HZ, Channel, Sample
from eapu_drivers.simulated.instruments.probe import Probe
from eapu_drivers.simulated.instruments.scpi import (
    OUT_OF_RANGE,
    Act,
    ScpiDevice,
    ScpiError,
    bit,
    boolean,
    choice,
    nothing,
    real,
    refusal,
    setting,
    short_form,
    shown,
)
from eapu_drivers.simulated.instruments.sim_keithley2400_buffer import TraceBuffer
from eapu_drivers.simulated.instruments.sim_keithley2400_unit import (
    FUNCTIONS,
    OVER_RANGE,
    POINTS_MAX,
    Unit2400,
    amperes,
    at_once,
    function_named,
    levels,
    volts,
)

IDENTITY = "KEITHLEY INSTRUMENTS INC.,MODEL 2400,{serial},C34 Sep 21 2016 15:30:00/A02  /S/K"
_ELEMENTS = ("VOLTage", "CURRent", "RESistance", "TIME", "STATus")
_NOT_A_NUMBER, _OVERFLOW = 9.91e37, 9.9e37
_SOURCED = (823, "Invalid with source read-back on")
_STALE = (-230, "Data corrupt or stale")

Commands = dict[str, Act]


class SimulatedKeithley2400(ScpiDevice):
    """One channel, at the one bus it is given."""

    def __init__(self, probe: Probe, buses: Sequence[str], serial: str = "1234567") -> None:
        [bus] = buses
        self._unit = Unit2400(probe, bus)
        self._buffer = TraceBuffer(self._shown)
        self._serial = serial
        commands = self._common() | self._source() | self._sweep() | self._sense() | self._triggers()
        super().__init__(commands | self._buffer.commands(), errors_max=10)
        self._reset()

    @property
    def channel(self) -> Channel:
        """The channel at the terminals."""
        return self._unit.channel

    def trip(self) -> None:
        """The output goes off by itself."""
        self.channel.drive(on=False)

    def _reset(self) -> None:
        self._unit.reset()
        self._buffer.reset()
        self._elements = [short_form(name) for name in _ELEMENTS]
        self._off_mode = "NORM"
        self._samples: list[Sample] = []

    def _common(self) -> Commands:
        unit = self._unit
        return {
            "*IDN?": lambda: IDENTITY.format(serial=self._serial),
            "*RST": self._reset,
            "*CLS": self._clear,
            "*OPC?": lambda: "1",
            "*WAI": lambda: None,
            "*STB?": lambda: str(self._buffer.status_byte((1 << 2) * (self.error_count > 0))),
            ":SYSTem:ERRor[:NEXT]?": self._error,
            ":SYSTem:ERRor:ALL?": self._all_errors,
            ":SYSTem:ERRor:COUNt?": lambda: str(self.error_count),
            ":SYSTem:CLEar": self.clear_errors,
            ":SYSTem:BEEPer:STATe": lambda value: nothing(boolean(value)),
            ":SYSTem:BEEPer[:IMMediate]": lambda *_: None,
            ":SYSTem:LFRequency?": lambda: f"{LINE_HZ:.0f}",
            ":SYSTem:RSENse": setting(unit, "four_wire", boolean),
            ":SYSTem:RSENse?": lambda: bit(unit.four_wire),
            ":SYSTem:AZERo[:STATe]": self._set_autozero,
            ":SYSTem:AZERo[:STATe]?": lambda: bit(unit.autozero),
            ":ROUTe:TERMinals": self._set_terminals,
            ":ROUTe:TERMinals?": lambda: "FRON" if unit.front else "REAR",
            ":DISPlay:ENABle": lambda value: nothing(boolean(value)),
            ":STATus:PRESet": lambda: None,
            ":STATus:MEASurement:CONDition?": lambda: str((1 << 14) * unit.limiting()),
            ":FORMat[:DATA]": lambda value: nothing(choice(value, "ASCii")),
            ":FORMat:ELEMents[:SENSe[1]]": self._set_elements,
            ":FORMat:ELEMents[:SENSe[1]]?": lambda: ",".join(self._elements),
            ":OUTPut[1][:STATe]": lambda value: self.channel.drive(on=boolean(value)),
            ":OUTPut[1][:STATe]?": lambda: bit(self.channel.on),
            ":OUTPut[1]:SMODe": self._set_off_mode,
            ":OUTPut[1]:SMODe?": lambda: self._off_mode,
        }

    def _source(self) -> Commands:
        unit, volt, curr = self._unit, "[:SOURce[1]]:VOLTage", "[:SOURce[1]]:CURRent"
        level = "[:LEVel][:IMMediate][:AMPLitude]"
        return {
            "[:SOURce[1]]:CLEar:AUTO": setting(unit, "clears_itself", boolean),
            "[:SOURce[1]]:CLEar:AUTO?": lambda: bit(unit.clears_itself),
            "[:SOURce[1]]:CLEar[:IMMediate]": lambda: self.channel.drive(on=False),
            "[:SOURce[1]]:FUNCtion[:MODE]": unit.set_source_function,
            "[:SOURce[1]]:FUNCtion[:MODE]?": lambda: unit.source_function,
            f"{volt}:MODE": lambda value: unit.set_mode(choice(value, "FIXed", "LIST", "SWEep")),
            f"{volt}:MODE?": lambda: unit.mode,
            f"{volt}{level}": lambda value: unit.set_level(volts(value)),
            f"{volt}{level}?": lambda: shown(unit.level_v),
            f"{volt}:RANGe": lambda value: unit.set_source_range(volts(value)),
            f"{volt}:RANGe?": lambda: shown(unit.v_range_v),
            f"{volt}:RANGe:AUTO": setting(unit, "v_auto", boolean),
            f"{volt}:RANGe:AUTO?": lambda: bit(unit.v_auto),
            # Settings of the current source, which is never on.
            f"{curr}{level}": lambda value: nothing(amperes(value)),
            f"{curr}:RANGe": lambda value: nothing(amperes(value)),
            f"{curr}:RANGe:AUTO": lambda value: nothing(boolean(value)),
            "[:SOURce[1]]:DELay": lambda value: unit.set_delay(real(value, 0.0, 9999.999)),
            "[:SOURce[1]]:DELay?": lambda: shown(unit.delay_s),
            "[:SOURce[1]]:DELay:AUTO": setting(unit, "delay_auto", boolean),
            "[:SOURce[1]]:DELay:AUTO?": lambda: bit(unit.delay_auto),
        }

    def _sweep(self) -> Commands:
        unit, volt = self._unit, "[:SOURce[1]]:VOLTage"
        listed, sweep = "[:SOURce[1]]:LIST:VOLTage", "[:SOURce[1]]:SWEep"
        return {
            listed: lambda *values: setattr(unit, "list_v", levels(values)),
            f"{listed}?": lambda: ",".join(map(shown, unit.list_v)),
            f"{listed}:APPend": self._append_list,
            f"{listed}:POINts?": lambda: str(len(unit.list_v)),
            f"{volt}:STARt": setting(unit, "start_v", volts),
            f"{volt}:STOP": setting(unit, "stop_v", volts),
            f"{sweep}:POINts": setting(unit, "sweep_points", lambda value: round(real(value, 2, POINTS_MAX))),
            f"{sweep}:SPACing": lambda value: nothing(choice(value, "LINear")),
            f"{sweep}:RANGing": setting(
                unit, "ranging", lambda value: choice(value, "BEST", "AUTO", "FIXed")
            ),
            f"{sweep}:CABort": setting(
                unit, "abort_on_compliance", lambda value: choice(value, "NEVer", "EARLy", "LATE")
            ),
        }

    def _sense(self) -> Commands:
        unit, channel, volt = self._unit, self.channel, "[:SENSe[1]]:VOLTage[:DC]"
        curr, function, average = "[:SENSe[1]]:CURRent[:DC]", "[:SENSe[1]]:FUNCtion", "[:SENSe[1]]:AVERage"
        commands: Commands = {
            f"{function}:CONCurrent": setting(unit, "concurrent", boolean),
            f"{function}:CONCurrent?": lambda: bit(unit.concurrent),
            f"{function}[:ON]": self._add_functions,
            f"{function}[:ON]:ALL": lambda: setattr(unit, "functions", list(FUNCTIONS.values())),
            f"{function}[:ON]?": lambda: ",".join(f'"{name}"' for name in unit.functions),
            f"{function}:OFF": self._remove_functions,
            f"{function}:OFF:ALL": lambda: setattr(unit, "functions", []),
            f"{curr}:PROTection[:LEVel]": lambda value: unit.set_limit(abs(amperes(value, 1.05e-4))),
            f"{curr}:PROTection[:LEVel]?": lambda: shown(channel.i_limit_a),
            f"{curr}:PROTection:TRIPped?": lambda: bit(unit.limiting()),
            f"{curr}:RANGe[:UPPer]": lambda value: unit.set_range(abs(amperes(value, 1.05e-4))),
            f"{curr}:RANGe[:UPPer]?": lambda: shown(OVER_RANGE * unit.i_range_a()),
            f"{curr}:RANGe:AUTO": lambda value: unit.set_autorange(boolean(value)),
            f"{curr}:RANGe:AUTO?": lambda: bit(channel.i_range_a is None),
            f"{curr}:RANGe:AUTO:ULIMit?": lambda: shown(OVER_RANGE * unit.compliance_range_a()),
            f"{volt}:PROTection[:LEVel]": lambda value: nothing(volts(value)),  # of the current source
            f"{volt}:PROTection[:LEVel]?": lambda: shown(21.0),
            f"{volt}:RANGe[:UPPer]": refusal(_SOURCED),
            f"{volt}:RANGe[:UPPer]?": lambda: shown(unit.v_range_v),
            f"{volt}:RANGe:AUTO": refusal(_SOURCED),
            "[:SENSe[1]]:RESistance:MODE": lambda value: nothing(choice(value, "MANual")),
            "[:SENSe[1]]:RESistance:MODE?": lambda: "MAN",
            f"{average}[:STATe]": lambda value: nothing(boolean(value)),
            f"{average}:COUNt": lambda value: nothing(real(value, 1, 100)),
            f"{average}:TCONtrol": lambda value: nothing(choice(value, "REPeat", "MOVing")),
        }
        for name in FUNCTIONS:
            header = f"{name}{'' if name == 'RESistance' else '[:DC]'}"
            nplc = f"[:SENSe[1]]:{header}:NPLCycles"
            commands[nplc] = setting(channel, "nplc", lambda value: real(value, 0.01, 10.0))
            commands[f"{nplc}?"] = lambda: shown(channel.nplc)
            commands[f":CONFigure:{header}"] = partial(unit.set_function, FUNCTIONS[name])
            commands[f":MEASure:{header}?"] = partial(self._measure, FUNCTIONS[name])
        return commands

    def _triggers(self) -> Commands:
        unit = self._unit
        return {
            ":TRIGger:COUNt": lambda value: self._set_count("points", value),
            ":TRIGger:COUNt?": lambda: str(unit.points),
            ":ARM:COUNt": lambda value: self._set_count("arms", value),
            ":ARM:COUNt?": lambda: str(unit.arms),
            ":TRIGger:DELay": setting(unit, "trigger_delay_s", lambda value: real(value, 0.0, 999.9999)),
            ":TRIGger:DELay?": lambda: shown(unit.trigger_delay_s),
            ":TRIGger:CLEar": lambda: None,
            ":TRIGger:SOURce": at_once,
            ":ARM:SOURce": at_once,
            ":INITiate[:IMMediate]": self._initiate,
            ":ABORt": lambda: None,
            ":FETCh?": self._fetch,
            ":READ?": self._read,
            ":MEASure?": self._read,
        }

    def _clear(self) -> None:
        self.clear_errors()
        self._buffer.clear_events()

    def _error(self) -> str:
        code, text = self.take_error() or (0, "No error")
        return f'{code},"{text}"'

    def _all_errors(self) -> str:
        return ",".join(self._error() for _ in range(max(self.error_count, 1)))

    def _set_autozero(self, value: str) -> None:
        if value.upper() != "ONCE":
            self._unit.autozero = boolean(value)

    def _set_terminals(self, value: str) -> None:
        front = choice(value, "FRONt", "REAR") == "FRON"
        if front != self._unit.front:
            self.channel.drive(on=False)
        self._unit.front = front

    def _set_elements(self, *names: str) -> None:
        order = list(map(short_form, _ELEMENTS))
        self._elements = sorted({choice(name, *_ELEMENTS) for name in names}, key=order.index)

    def _set_off_mode(self, value: str) -> None:
        self._off_mode = choice(value, "HIMPedance", "NORMal", "ZERO", "GUARd")

    def _append_list(self, *values: str) -> None:
        levels_v = self._unit.list_v + levels(values)
        if len(levels_v) > POINTS_MAX:
            raise ScpiError(OUT_OF_RANGE)
        self._unit.list_v = levels_v

    def _add_functions(self, *values: str) -> None:
        named = [function_named(value) for value in values]
        kept = [name for name in self._unit.functions if name not in named] if self._unit.concurrent else []
        self._unit.functions = [*kept, *named] if self._unit.concurrent else named[-1:]

    def _remove_functions(self, *values: str) -> None:
        named = [function_named(value) for value in values]
        self._unit.functions = [name for name in self._unit.functions if name not in named]

    def _set_count(self, which: str, value: str) -> None:
        count = round(real(value, 1, POINTS_MAX))
        other = self._unit.arms if which == "points" else self._unit.points
        if count * other > POINTS_MAX:
            raise ScpiError(OUT_OF_RANGE)
        setattr(self._unit, which, count)

    def _initiate(self) -> None:
        self._samples = self._unit.run()
        self._buffer.take(self._samples)

    def _read(self) -> str:
        self._initiate()
        return self._fetch()

    def _measure(self, function: str) -> str:
        self._unit.set_function(function)
        return self._read()

    def _fetch(self) -> str:
        if not self._samples:
            raise ScpiError(_STALE)
        return ",".join(map(self._shown, self._samples))

    def _shown(self, sample: Sample) -> str:
        unit = self._unit
        measured = {
            "VOLT": sample.voltage_v if "VOLT:DC" in unit.functions else sample.level_v,
            "CURR": _OVERFLOW if sample.overflow else sample.current_a,
            "RES": sample.voltage_v / (sample.current_a or 1e-30),
            "TIME": sample.time_s,
            "STAT": unit.status(sample),
        }
        if "CURR:DC" not in unit.functions:
            measured["CURR"] = _NOT_A_NUMBER
        if "RES" not in unit.functions:
            measured["RES"] = _NOT_A_NUMBER
        return ",".join(shown(measured[name]) for name in self._elements)
