"""A simulated Keithley 2400: its SCPI dialect, with the refusals that its manual names.

It sources voltages only: a current source is refused. What the manual does not say, and is assumed: a source range
below the present level is refused (-221); a sweep leaves its last level at the terminals until `:SOUR:VOLT:MODE FIX`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from eapu_hil.twin.instruments.channel import LINE_HZ, Channel, Sample
from eapu_hil.twin.instruments.keithley2400_buffer import MEASURING_EVENTS, Buffer
from eapu_hil.twin.instruments.probe import Probe
from eapu_hil.twin.instruments.scpi import (
    ILLEGAL_VALUE,
    OUT_OF_RANGE,
    PARAMETER_NOT_ALLOWED,
    SETTINGS_CONFLICT,
    Act,
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
OVER_RANGE = 1.05  # ranges go by the end of their scale: 1 uA is 1.05e-6
NOT_A_NUMBER, OVERFLOW = 9.91e37, 9.9e37
_V_MAX_V, _I_MAX_A = 210.0, 1.05
_HIGH_V, _HIGH_A = 21.0, 0.105  # above 21 V it can do 105 mA
_LIMIT_OF_RANGE = 1e-3  # a compliance may not be less of the measuring range
_POINTS_MAX, _LIST_A_COMMAND = 2500, 100
_ELEMENTS = ("VOLTage", "CURRent", "RESistance", "TIME", "STATus")
_FUNCTIONS = {"VOLTage": "VOLT:DC", "CURRent": "CURR:DC", "RESistance": "RES"}
_OUTPUT_OFF = (803, "Not permitted with OUTPUT off")
_TOO_SMALL = (822, "Too small for sense range")
_SOURCED = (823, "Invalid with source read-back on")
_BEYOND_COMPLIANCE = (824, "Cannot exceed compliance range")
_POWER = (826, "Attempt to exceed power limit")
_POINT_S = 0.8e-3  # what a point takes besides delay and integration
_AUTO_DELAY_S = 1e-3
# Of the status element.
_OFLO, _FRONT, _COMPLIANCE, _RANGE_COMPLIANCE, _REMOTE_SENSE = 1 << 0, 1 << 2, 1 << 3, 1 << 16, 1 << 22
_MEASURED = {"VOLT:DC": 1 << 11, "CURR:DC": 1 << 12, "RES": 1 << 13}
_V_SOURCE = 1 << 14


class Keithley2400(ScpiDevice):
    """One channel, at the bus it is given."""

    error_ends_message = False

    def __init__(self, probe: Probe, bus: str, serial: str = "1234567") -> None:
        self.channel = Channel(probe, bus, I_RANGES_A, seed=1)
        self._serial = serial
        self._buffer = Buffer(self._shown)
        commands = self._common() | self._source() | self._sense() | self._triggers() | self._buffer.commands()
        super().__init__(commands, errors_max=10)
        self._reset()

    def _reset(self) -> None:
        self.channel.reset()
        self.channel.drive(i_limit_a=1.05e-4)
        self._level_v, self._v_range_v, self._v_auto = 0.0, 21.0, True
        self._mode = "FIX"
        self._list_v, self._sweep_v = [0.0], (0.0, 0.0, 2500)
        self._delay_s, self._delay_auto, self._trigger_delay_s = 0.0, True, 0.0
        self._points, self._arms = 1, 1
        self._clears_itself = False
        self._elements = [short_form(name) for name in _ELEMENTS]
        self._four_wire, self._front, self._autozero = False, True, True
        self._concurrent = True
        self._functions = ["VOLT:DC", "CURR:DC"]
        self._ranging, self._abort_on_compliance = "BEST", "NEV"
        self._off_mode = "NORM"
        self._kept: dict[str, str] = {}
        self._samples: list[Sample] = []
        self._buffer.reset()

    def _common(self) -> dict[str, Act]:
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
            ":SYSTem:LFRequency:AUTO?": lambda: "1",
            ":SYSTem:RSENse": lambda value: self._keep("_four_wire", boolean(value)),
            ":SYSTem:RSENse?": lambda: bit(self._four_wire),
            ":SYSTem:AZERo[:STATe]": self._set_autozero,
            ":SYSTem:AZERo[:STATe]?": lambda: bit(self._autozero),
            ":ROUTe:TERMinals": lambda value: self._keep("_front", choice(value, "FRONt", "REAR") == "FRON"),
            ":ROUTe:TERMinals?": lambda: "FRON" if self._front else "REAR",
            ":DISPlay:ENABle": lambda value: nothing(boolean(value)),
            ":STATus:PREset": lambda: None,
            ":STATus:MEASurement:CONDition?": lambda: str((1 << 14) * self._limiting()),
            ":FORMat[:DATA]": lambda value: nothing(choice(value, "ASCii")),
            ":FORMat:ELEMents[:SENSe[1]]": self._set_elements,
            ":FORMat:ELEMents[:SENSe[1]]?": lambda: ",".join(self._elements),
            ":OUTPut[1][:STATe]": lambda value: self.channel.drive(on=boolean(value)),
            ":OUTPut[1][:STATe]?": lambda: bit(self.channel.on),
            ":OUTPut[1]:SMODe": self._set_off_mode,
            ":OUTPut[1]:SMODe?": lambda: self._off_mode,
        }

    def _source(self) -> dict[str, Act]:
        volt, curr = "[:SOURce[1]]:VOLTage", "[:SOURce[1]]:CURRent"
        level = "[:LEVel][:IMMediate][:AMPLitude]"
        sweep = [("STARt", 0), ("STOP", 1)]
        return {
            "[:SOURce[1]]:CLEar:AUTO": lambda value: self._keep("_clears_itself", boolean(value)),
            "[:SOURce[1]]:CLEar:AUTO?": lambda: bit(self._clears_itself),
            "[:SOURce[1]]:CLEar[:IMMediate]": lambda: self.channel.drive(on=False),
            "[:SOURce[1]]:FUNCtion[:MODE]": _only_voltage,
            "[:SOURce[1]]:FUNCtion[:MODE]?": lambda: "VOLT",
            f"{volt}:MODE": self._set_mode,
            f"{volt}:MODE?": lambda: self._mode,
            f"{volt}{level}": self._set_level,
            f"{volt}{level}?": lambda: shown(self._level_v),
            f"{volt}:RANGe": self._set_source_range,
            f"{volt}:RANGe?": lambda: shown(self._v_range_v),
            f"{volt}:RANGe:AUTO": lambda value: self._keep("_v_auto", boolean(value)),
            f"{volt}:RANGe:AUTO?": lambda: bit(self._v_auto),
            # For a current source, which is only kept.
            f"{curr}{level}": lambda value: nothing(real(value, -_I_MAX_A, _I_MAX_A)),
            f"{curr}:RANGe": lambda value: nothing(real(value, -_I_MAX_A, _I_MAX_A)),
            f"{curr}:RANGe:AUTO": lambda value: nothing(boolean(value)),
            "[:SOURce[1]]:LIST:VOLTage": lambda *values: self._keep("_list_v", _levels(values)),
            "[:SOURce[1]]:LIST:VOLTage?": lambda: ",".join(map(shown, self._list_v)),
            "[:SOURce[1]]:LIST:VOLTage:APPend": self._append_list,
            "[:SOURce[1]]:LIST:VOLTage:POINts?": lambda: str(len(self._list_v)),
            **{f"{volt}:{name}": self._sweep_setter(place) for name, place in sweep},
            "[:SOURce[1]]:SWEep:POINts": self._set_sweep_points,
            "[:SOURce[1]]:SWEep:SPACing": lambda value: nothing(choice(value, "LINear")),
            "[:SOURce[1]]:SWEep:RANGing": lambda value: self._keep(
                "_ranging", choice(value, "BEST", "AUTO", "FIXed")
            ),
            "[:SOURce[1]]:SWEep:CABort": lambda value: self._keep(
                "_abort_on_compliance", choice(value, "NEVer", "EARLy", "LATE")
            ),
            "[:SOURce[1]]:DELay": self._set_delay,
            "[:SOURce[1]]:DELay?": lambda: shown(self._delay_s),
            "[:SOURce[1]]:DELay:AUTO": lambda value: self._keep("_delay_auto", boolean(value)),
            "[:SOURce[1]]:DELay:AUTO?": lambda: bit(self._delay_auto),
        }

    def _sense(self) -> dict[str, Act]:
        channel, curr, volt = self.channel, "[:SENSe[1]]:CURRent[:DC]", "[:SENSe[1]]:VOLTage[:DC]"
        functions = {}
        for name, function in _FUNCTIONS.items():
            tail = "" if name == "RESistance" else "[:DC]"
            functions[f"[:SENSe[1]]:{name}{tail}:NPLCycles"] = self._set_nplc
            functions[f"[:SENSe[1]]:{name}{tail}:NPLCycles?"] = lambda: shown(channel.nplc)
            functions[f":CONFigure:{name}{tail}"] = self._configurer(function)
            functions[f":MEASure:{name}{tail}?"] = self._measurer(function)
        average = "[:SENSe[1]]:AVERage"
        return functions | {
            "[:SENSe[1]]:FUNCtion:CONCurrent": lambda value: self._keep("_concurrent", boolean(value)),
            "[:SENSe[1]]:FUNCtion:CONCurrent?": lambda: bit(self._concurrent),
            "[:SENSe[1]]:FUNCtion[:ON]": self._add_functions,
            "[:SENSe[1]]:FUNCtion[:ON]:ALL": lambda: self._keep("_functions", list(_FUNCTIONS.values())),
            "[:SENSe[1]]:FUNCtion[:ON]?": lambda: ",".join(f'"{name}"' for name in self._functions),
            "[:SENSe[1]]:FUNCtion:OFF": self._remove_functions,
            "[:SENSe[1]]:FUNCtion:OFF:ALL": lambda: self._keep("_functions", []),
            f"{curr}:PROTection[:LEVel]": self._set_limit,
            f"{curr}:PROTection[:LEVel]?": lambda: shown(channel.i_limit_a),
            f"{curr}:PROTection:TRIPped?": lambda: bit(self._limiting()),
            f"{curr}:RANGe[:UPPer]": self._set_range,
            f"{curr}:RANGe[:UPPer]?": lambda: shown(OVER_RANGE * self._i_range_a()),
            f"{curr}:RANGe:AUTO": self._set_autorange,
            f"{curr}:RANGe:AUTO?": lambda: bit(channel.i_range_a is None),
            f"{curr}:RANGe:AUTO:ULIMit?": lambda: shown(OVER_RANGE * self._compliance_range_a()),
            f"{volt}:PROTection[:LEVel]": lambda value: nothing(real(value, -_V_MAX_V, _V_MAX_V)),
            f"{volt}:PROTection[:LEVel]?": lambda: shown(21.0),
            f"{volt}:RANGe[:UPPer]": lambda _: _refuse(_SOURCED),
            f"{volt}:RANGe[:UPPer]?": lambda: shown(self._v_range_v),
            f"{volt}:RANGe:AUTO": lambda _: _refuse(_SOURCED),
            "[:SENSe[1]]:RESistance:MODE": lambda value: nothing(choice(value, "MANual")),
            "[:SENSe[1]]:RESistance:MODE?": lambda: "MAN",
            f"{average}[:STATe]": lambda value: nothing(boolean(value)),
            f"{average}:COUNt": lambda value: nothing(real(value, 1, 100)),
            f"{average}:TCONtrol": lambda value: nothing(choice(value, "REPeat", "MOVing")),
        }

    def _triggers(self) -> dict[str, Act]:
        return {
            ":TRIGger:COUNt": lambda value: self._set_count("_points", value),
            ":TRIGger:COUNt?": lambda: str(self._points),
            ":ARM:COUNt": lambda value: self._set_count("_arms", value),
            ":ARM:COUNt?": lambda: str(self._arms),
            ":TRIGger:DELay": lambda value: self._keep("_trigger_delay_s", real(value, 0.0, 999.9999)),
            ":TRIGger:DELay?": lambda: shown(self._trigger_delay_s),
            ":TRIGger:CLEar": lambda: None,
            ":TRIGger:SOURce": lambda value: nothing(choice(value, "IMMediate")),
            ":ARM:SOURce": lambda value: nothing(choice(value, "IMMediate")),
            ":INITiate[:IMMediate]": self._initiate,
            ":ABORt": lambda: None,
            ":FETCh?": self._fetch,
            ":READ?": self._read,
        }

    def _keep(self, attribute: str, value: object) -> None:
        setattr(self, attribute, value)

    def _clear(self) -> None:
        self.clear_errors()
        self._buffer.clear_events()

    def _error(self) -> str:
        code, text = self.take_error() or (0, "No error")
        return f'{code},"{text}"'

    def _all_errors(self) -> str:
        entries = [self._error()]
        while self.error_count:
            entries.append(self._error())
        return ",".join(entries)
