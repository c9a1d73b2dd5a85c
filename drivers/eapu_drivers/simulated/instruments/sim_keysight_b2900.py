"""A simulated Keysight B2900: its SCPI dialect, for one or two channels.

What its command reference does not say, and is assumed: what is measured with the output off is no current, without an
error; a level beyond a fixed source range is refused; the smallest compliance is 1 nA.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest

from eapu_drivers.simulated.instruments.channel import LINE_HZ, Sample
from eapu_drivers.simulated.instruments.probe import Probe
from eapu_drivers.simulated.instruments.scpi import (
    ILLEGAL_VALUE,
    OUT_OF_RANGE,
    ScpiDevice,
    ScpiError,
    boolean,
    channel_list,
    choice,
    nothing,
    short_form,
    shown,
)
from eapu_drivers.simulated.instruments.sim_keysight_b2900_channel import (
    ChannelB2900,
)
from eapu_drivers.simulated.instruments.sim_keysight_b2900_commands import (
    FUNCTIONS,
    Commands,
    of_output,
    of_sense,
    of_source,
)

IDENTITY = "Keysight Technologies,{model},{serial},5.1.2029.2142"
_ELEMENTS = (*FUNCTIONS, "TIME", "STATus", "SOURce")
_NOT_A_NUMBER = 9.91e37
_COMPLIANCE, _OVERFLOW = 0b01 << 1, 1 << 13  # of the status element


class SimulatedKeysightB2900(ScpiDevice):
    """A B2901B, or with two buses a B2902B."""

    def __init__(self, probe: Probe, buses: Sequence[str], serial: str = "MY61390001") -> None:
        self.units = [ChannelB2900(probe, bus, seed=10 + k) for k, bus in enumerate(buses)]
        self._identity = IDENTITY.format(model=f"B290{len(buses)}B", serial=serial)
        self._elements: list[str] = []
        commands = self._common() | self._readings()
        for number, unit in enumerate(self.units, start=1):
            commands |= of_output(unit, number) | of_source(unit, number) | of_sense(unit, number)
        super().__init__(commands, errors_max=100)
        self._reset()

    def trip(self) -> None:
        """The output of channel 1 goes off by itself."""
        self.units[0].channel.drive(on=False)

    def _reset(self) -> None:
        for unit in self.units:
            unit.reset()
        self._elements = [short_form(name) for name in _ELEMENTS]

    def _common(self) -> Commands:
        return {
            "*IDN?": lambda: self._identity,
            "*RST": self._reset,
            "*CLS": self.clear_errors,
            "*OPC?": lambda: "1",
            "*WAI": lambda: None,
            ":SYSTem:ERRor[:NEXT]?": self._error,
            ":SYSTem:ERRor:ALL?": self._all_errors,
            ":SYSTem:ERRor:COUNt?": lambda: f"+{self.error_count}",
            ":SYSTem:BEEPer:STATe": lambda value: nothing(boolean(value)),
            ":SYSTem:LFRequency?": lambda: f"+{LINE_HZ:.0f}",
            ":FORMat[:DATA]": _only_text,
            ":FORMat:ELEMents:SENSe": self._set_elements,
            ":FORMat:ELEMents:SENSe?": lambda: ",".join(self._elements),
            ":STATus:OPERation:CONDition?": lambda: str(0b11010010010 if len(self.units) == 2 else 0b10010),
            ":STATus:QUEStionable:CONDition?": self._tripped,
            ":INITiate[:IMMediate][:ALL]": lambda channels="(@1)": self._run(channels),
            ":ABORt[:ALL]": lambda channels="(@1)": nothing(self._chosen(channels)),
        }

    def _readings(self) -> Commands:
        """MEASure?, and READ? and FETCh? of the last reading or of all, of one element or those that were chosen."""
        commands: Commands = {
            ":MEASure?": lambda channels="(@1)": self._measure(channels),
            ":MEASure:VOLTage[:DC]?": lambda channels="(@1)": self._measure(channels, "VOLTage"),
            ":MEASure:CURRent[:DC]?": lambda channels="(@1)": self._measure(channels, "CURRent"),
        }
        for verb in ("READ", "FETCh"):
            for scope in ("[:SCALar]", ":ARRay"):
                for name in ("", *_ELEMENTS):
                    header = f":{verb}{scope}{name and ':' + name}?"
                    commands[header] = self._fetching(verb == "READ", scope == ":ARRay", name)
        return commands

    def _fetching(self, runs: bool, every: bool, name: str) -> Callable[..., str]:
        def act(channels: str = "(@1)") -> str:
            if runs:
                self._run(channels)
            return self._shown(self._chosen(channels), every, name)

        return act

    def _error(self) -> str:
        code, text = self.take_error() or (0, "No error")
        return f'{code:+d},"{text}"'

    def _all_errors(self) -> str:
        entries = [self._error()]
        while self.error_count:
            entries.append(self._error())
        return ",".join(entries)

    def _tripped(self) -> str:
        return str(sum((1 << 2 + k) * unit.tripped for k, unit in enumerate(self.units)))

    def _set_elements(self, *names: str) -> None:
        asked = {choice(name, *_ELEMENTS) for name in names}
        self._elements = [short_form(name) for name in _ELEMENTS if short_form(name) in asked]

    def _chosen(self, channels: str) -> list[ChannelB2900]:
        numbers = sorted({int(name) for name in channel_list(channels)})
        if not all(1 <= number <= len(self.units) for number in numbers):
            raise ScpiError(OUT_OF_RANGE)
        return [self.units[number - 1] for number in numbers]

    def _run(self, channels: str) -> None:
        for unit in self._chosen(channels):
            unit.run()

    def _measure(self, channels: str, name: str = "") -> str:
        units = self._chosen(channels)
        for unit in units:
            unit.samples = [unit.measure()]
        return self._shown(units, True, name)

    def _shown(self, units: Sequence[ChannelB2900], every: bool, name: str) -> str:
        """The channels by turns; one that has fewer readings, or none, is no number where the other has one."""
        kept = [unit.samples if every else unit.samples[-1:] for unit in units]
        rows = list(zip_longest(*kept)) or [(None,) * len(units)]
        elements = [short_form(name)] if name else self._elements
        return ",".join(
            shown(_value(sample, element, unit.functions))
            for row in rows
            for unit, sample in zip(units, row, strict=True)
            for element in elements
        )


def _value(sample: Sample | None, element: str, functions: set[str]) -> float:
    if sample is None or (element in map(short_form, FUNCTIONS) and element not in functions):
        return _NOT_A_NUMBER
    status = _COMPLIANCE * sample.limited | _OVERFLOW * sample.overflow
    current_a = _NOT_A_NUMBER if sample.overflow else sample.current_a
    values = {"VOLT": sample.voltage_v, "CURR": current_a, "TIME": sample.time_s, "STAT": status}
    return values.get(element, sample.level_v if element == "SOUR" else _NOT_A_NUMBER)


def _only_text(value: str) -> None:
    if choice(value, "ASCii", "REAL") != "ASC":
        raise ScpiError(ILLEGAL_VALUE)  # and answers in text
