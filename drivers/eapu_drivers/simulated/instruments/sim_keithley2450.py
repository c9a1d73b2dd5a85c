"""A simulated Keithley 2450 in its SCPI command set, with the traps that its manual names.

A change of a range moves a limit that no longer fits, with a warning in the event log only; a sweep leaves the output
off. It sources voltages only: a current source is at 0 A whatever it is told. What the manual does not say, and is
assumed: what is measured with the output off is no current, and its source status says so; a level beyond a fixed range
is refused.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial

import numpy as np

from eapu_drivers.simulated.instruments.channel import LINE_HZ, Channel
from eapu_drivers.simulated.instruments.probe import Probe
from eapu_drivers.simulated.instruments.scpi import (
    Act,
    ScpiDevice,
    bit,
    boolean,
    choice,
    nothing,
    real,
    setting,
    shown,
    unquoted,
)
from eapu_drivers.simulated.instruments.sim_keithley2450_buffers import BUFFER
from eapu_drivers.simulated.instruments.sim_keithley2450_trigger import TriggerModel2450
from eapu_drivers.simulated.instruments.sim_keithley2450_unit import (
    POINTS_MAX,
    Unit2450,
    amperes,
    levels,
    sense_function,
    volts,
)

IDENTITY = "KEITHLEY INSTRUMENTS,MODEL 2450,{serial},1.7.12b"
_CUSTOM, _LINEAR = "VoltCustomSweepList", "VoltLinearSweepList"
_EVENTS_MAX = 1000
_TIMES_MAX = 268_435_455
_AUTO_DELAY_s = 1e-3

Commands = dict[str, Act]


class SimulatedKeithley2450(ScpiDevice):
    """One channel, at the one bus it is given."""

    def __init__(self, probe: Probe, buses: Sequence[str], serial: str = "04000001") -> None:
        self._events: deque[tuple[int, str]] = deque(maxlen=_EVENTS_MAX)
        [bus] = buses
        self._unit = Unit2450(probe, bus, self._events.append)
        self._model = TriggerModel2450(self._unit)
        self._serial = serial
        self._language = "SCPI"
        commands = self._common() | self._source() | self._sweeps() | self._sense()
        super().__init__(
            commands | self._unit.buffers.commands() | self._model.commands(), errors_max=_EVENTS_MAX
        )
        self._off_modes = dict.fromkeys(("VOLT", "CURR"), "NORM")

    @property
    def channel(self) -> Channel:
        """The channel at the terminals."""
        return self._unit.channel

    def trip(self) -> None:
        """The output goes off by itself."""
        self.channel.drive(on=False)

    def _reset(self) -> None:
        self._unit.reset()
        self._model.clear()
        self._off_modes = dict.fromkeys(("VOLT", "CURR"), "NORM")

    def _common(self) -> Commands:
        unit = self._unit
        commands: Commands = {
            "*IDN?": lambda: IDENTITY.format(serial=self._serial),
            "*LANG?": lambda: self._language,
            "*LANG": setting(self, "_language", lambda text: choice(text, "SCPI", "TSP", "SCPI2400")),
            "*RST": self._reset,
            "*CLS": self._clear,
            "*OPC?": lambda: "1",
            "*WAI": lambda: None,
            "*TRG": lambda: None,
            ":SYSTem:ERRor[:NEXT]?": self._error,
            ":SYSTem:ERRor:COUNt?": lambda: str(self.error_count),
            ":SYSTem:EVENtlog:NEXT?": self._next_event,
            ":SYSTem:CLEar": self._clear,
            ":SYSTem:LFRequency?": lambda: f"{LINE_HZ:.0f}",
            ":SYSTem:BEEPer[:IMMediate]": lambda *_: None,
            ":STATus:PRESet": lambda: None,
            ":STATus:CLEar": lambda: None,
            ":ROUTe:TERMinals": self._set_terminals,
            ":ROUTe:TERMinals?": lambda: "FRON" if unit.front else "REAR",
            ":ABORt": lambda: None,
            ":OUTPut[1][:STATe]": lambda value: self.channel.drive(on=boolean(value)),
            ":OUTPut[1][:STATe]?": lambda: bit(self.channel.on),
        }
        for name in ("VOLTage", "CURRent"):
            commands[f":OUTPut[1]:{name}:SMODe"] = partial(self._set_off_mode, name[:4])
            commands[f":OUTPut[1]:{name}:SMODe?"] = partial(self._off_mode, name[:4])
        return commands

    def _source(self) -> Commands:
        unit, volt, curr = self._unit, "[:SOURce[1]]:VOLTage[:DC]", "[:SOURce[1]]:CURRent[:DC]"
        level, limit = "[:LEVel][:IMMediate][:AMPLitude]", "[:SOURce[1]]:VOLTage[:DC]:ILIMit[:LEVel]"
        return {
            "[:SOURce[1]]:FUNCtion[:MODE]": unit.set_source_function,
            "[:SOURce[1]]:FUNCtion[:MODE]?": lambda: unit.source_function,
            f"{volt}{level}": lambda value: unit.set_level(volts(value)),
            f"{volt}{level}?": lambda: shown(self.channel.level_v),
            f"{volt}:RANGe": lambda value: unit.set_source_range(volts(value)),
            f"{volt}:RANGe?": lambda: shown(unit.v_range_v),
            f"{volt}:RANGe:AUTO": setting(unit, "v_auto", boolean),
            f"{volt}:RANGe:AUTO?": lambda: bit(unit.v_auto),
            limit: lambda value: unit.set_limit(abs(amperes(value))),
            f"{limit}?": lambda: shown(self.channel.i_limit_a),
            f"{limit}:TRIPped?": lambda: bit(unit.limiting()),
            f"{volt}:READ:BACK": setting(unit, "read_back", boolean),
            f"{volt}:READ:BACK?": lambda: bit(unit.read_back),
            f"{volt}:DELay": lambda value: unit.set_delay(real(value, 0.0, 1e4)),
            f"{volt}:DELay?": lambda: shown(unit.delay_s),
            f"{volt}:DELay:AUTO": setting(unit, "delay_auto", boolean),
            f"{volt}:DELay:AUTO?": lambda: bit(unit.delay_auto),
            # Settings of the current source, which is never on.
            f"{curr}{level}": lambda value: nothing(amperes(value)),
            f"{curr}{level}?": lambda: shown(0.0),
            f"{curr}:RANGe": lambda value: nothing(amperes(value)),
            f"{curr}:RANGe:AUTO": lambda value: nothing(boolean(value)),
            f"{curr}:VLIMit[:LEVel]": lambda value: nothing(volts(value)),
            f"{curr}:VLIMit[:LEVel]?": lambda: shown(21.0),
        }

    def _sweeps(self) -> Commands:
        unit, listed = self._unit, "[:SOURce[1]]:LIST:VOLTage"
        stored, sweep = "[:SOURce[1]]:CONFiguration:LIST", "[:SOURce[1]]:SWEep:VOLTage"
        return {
            listed: lambda *values: unit.create_list(_CUSTOM, levels(values)),
            f"{listed}?": lambda: ",".join(shown(entry.level_v) for entry in unit.list_named(_CUSTOM)),
            f"{listed}:APPend": lambda *values: unit.append_list(_CUSTOM, levels(values)),
            f"{listed}:POINts?": lambda: str(len(unit.list_named(_CUSTOM))),
            f"{stored}:CREate": lambda name: unit.create_list(unquoted(name)),
            f"{stored}:STORe": lambda name: unit.store(unquoted(name)),
            f"{stored}:DELete": self._delete,
            f"{stored}:RECall": self._recall,
            f"{stored}:SIZE?": lambda name: str(len(unit.list_named(unquoted(name)))),
            f"{sweep}:LIST": self._arm_list,
            f"{sweep}:LINear": self._arm_linear,
        }

    def _sense(self) -> Commands:
        unit, channel, curr = self._unit, self.channel, "[:SENSe[1]]:CURRent[:DC]"
        commands: Commands = {
            "[:SENSe[1]]:FUNCtion[:ON]": setting(
                unit, "function", lambda text: sense_function(unquoted(text))
            ),
            "[:SENSe[1]]:FUNCtion[:ON]?": lambda: (
                f'"{unit.function}{"" if unit.function == "RES" else ":DC"}"'
            ),
            "[:SENSe[1]]:COUNt": setting(unit, "count", lambda value: round(real(value, 1, 300000))),
            "[:SENSe[1]]:COUNt?": lambda: str(unit.count),
            "[:SENSe[1]]:AZERo:ONCE": lambda: channel.elapse(2 * channel.nplc / LINE_HZ),
            f"{curr}:RANGe[:UPPer]": lambda value: unit.set_range(abs(amperes(value))),
            f"{curr}:RANGe[:UPPer]?": lambda: shown(unit.i_range_a()),
            f"{curr}:RANGe:AUTO": lambda value: unit.set_autorange(boolean(value)),
            f"{curr}:RANGe:AUTO?": lambda: bit(channel.i_range_a is None),
            "[:SENSe[1]]:VOLTage[:DC]:RANGe[:UPPer]": lambda value: nothing(volts(value)),
            "[:SENSe[1]]:VOLTage[:DC]:RANGe[:UPPer]?": lambda: shown(unit.v_range_v),
            "[:SENSe[1]]:VOLTage[:DC]:RANGe:AUTO": lambda value: nothing(boolean(value)),
            "[:SENSe[1]]:RESistance:RANGe:AUTO": lambda value: nothing(boolean(value)),
        }
        for name in ("CURRent[:DC]", "VOLTage[:DC]", "RESistance"):
            sense = f"[:SENSe[1]]:{name}"
            commands |= {
                f"{sense}:NPLCycles": setting(channel, "nplc", lambda value: real(value, 0.01, 10.0)),
                f"{sense}:NPLCycles?": lambda: shown(channel.nplc),
                f"{sense}:RSENse": setting(unit, "four_wire", boolean),
                f"{sense}:RSENse?": lambda: bit(unit.four_wire),
                f"{sense}:AZERo[:STATe]": setting(unit, "autozero", boolean),
                f"{sense}:AZERo[:STATe]?": lambda: bit(unit.autozero),
                f"{sense}:AVERage[:STATe]": lambda value: nothing(boolean(value)),
                f"{sense}:AVERage:COUNt": lambda value: nothing(real(value, 1, 100)),
                f"{sense}:AVERage:TCONtrol": lambda value: nothing(choice(value, "REPeat", "MOVing")),
            }
        return commands

    def _clear(self) -> None:
        self.clear_errors()
        self._events.clear()

    def _error(self) -> str:
        return _event(self.take_error())

    def _next_event(self) -> str:
        return _event(self._events.popleft() if self._events else None)

    def add_error(self, error: tuple[int, str]) -> None:
        """Into both: the event log has the warnings too."""
        super().add_error(error)
        self._events.append(error)

    def _set_terminals(self, value: str) -> None:
        front = choice(value, "FRONt", "REAR") == "FRON"
        if front != self._unit.front:
            self.channel.drive(on=False)
        self._unit.front = front

    def _set_off_mode(self, function: str, value: str) -> None:
        self._off_modes[function] = choice(value, "HIMPedance", "NORMal", "ZERO", "GUARd")

    def _off_mode(self, function: str) -> str:
        return self._off_modes[function]

    def _recall(self, name: str, index: str = "1") -> None:
        entries = self._unit.list_named(unquoted(name))
        self._unit.recall(entries[round(real(index, 1, len(entries))) - 1])

    def _delete(self, name: str) -> None:
        self._unit.list_named(unquoted(name))
        del self._unit.lists[unquoted(name)]

    def _arm_list(
        self,
        start: str,
        delay: str = "0",
        count: str = "1",
        abort: str = "ON",
        buffer: str = BUFFER,
        name: str = f'"{_CUSTOM}"',
    ) -> None:
        listed = self._unit.list_named(unquoted(name))
        first, times = round(real(start, 1, len(listed))), round(real(count, 1, _TIMES_MAX))
        self._model.sweep(
            unquoted(name), first, real(delay, 0.0, 1e4), times, unquoted(buffer), boolean(abort)
        )

    def _arm_linear(
        self,
        start: str,
        stop: str,
        points: str,
        delay: str = "-1",
        count: str = "1",
        ranging: str = "BEST",
        abort: str = "ON",
        dual: str = "OFF",
        buffer: str = BUFFER,
    ) -> None:
        choice(ranging, "AUTO", "BEST", "FIXed")
        levels_v = np.linspace(volts(start), volts(stop), round(real(points, 2, POINTS_MAX))).tolist()
        if boolean(dual):
            levels_v += levels_v[::-1]
        self._unit.create_list(_LINEAR, levels_v)
        delay_s = _AUTO_DELAY_s if float(delay) == -1 else real(delay, 0.0, 1e4)
        times = round(real(count, 1, _TIMES_MAX))
        self._model.sweep(_LINEAR, 1, delay_s, times, unquoted(buffer), boolean(abort))


def _event(entry: tuple[int, str] | None) -> str:
    code, text = entry or (0, "No error")
    return f'{code},"{text};0,0,0"' if entry is None else f'{code},"{text};1;2026/01/01 00:00:00.000"'
