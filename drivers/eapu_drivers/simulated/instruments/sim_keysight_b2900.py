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
    Act,
    ScpiDevice,
    ScpiError,
    bit,
    boolean,
    channel_list,
    choice,
    nothing,
    real,
    short_form,
    shown,
    unquoted,
)
from eapu_drivers.simulated.instruments.sim_keysight_b2900_channel import (
    COUNT_MAX,
    I_MAX_A,
    V_MAX_V,
    ChannelB2900,
)

IDENTITY = "Keysight Technologies,{model},{serial},5.1.2029.2142"
_FUNCTIONS = ("VOLTage", "CURRent", "RESistance")
_ELEMENTS = (*_FUNCTIONS, "TIME", "STATus", "SOURce")
_NOT_A_NUMBER = 9.91e37
_COMPLIANCE, _OVERFLOW = 0b01 << 1, 1 << 13  # of the status element
_PULSE_MIN_S, _PULSE_MAX_S, _PULSE_DIGITS = 50e-6, 1e5, 6  # in steps of 1 us
_DELAY_MAX_S = 1e5

Commands = dict[str, Act]


class SimulatedKeysightB2900(ScpiDevice):
    """A B2901B, or with two buses a B2902B."""

    def __init__(self, probe: Probe, buses: Sequence[str], serial: str = "MY61390001") -> None:
        self.units = [ChannelB2900(probe, bus, seed=10 + k) for k, bus in enumerate(buses)]
        self._identity = IDENTITY.format(model=f"B290{len(buses)}B", serial=serial)
        self._elements: list[str] = []
        commands = self._common() | self._readings()
        for number, unit in enumerate(self.units, start=1):
            commands |= _of_output(unit, number) | _of_source(unit, number) | _of_sense(unit, number)
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
    if sample is None or (element in map(short_form, _FUNCTIONS) and element not in functions):
        return _NOT_A_NUMBER
    status = _COMPLIANCE * sample.limited | _OVERFLOW * sample.overflow
    current_a = _NOT_A_NUMBER if sample.overflow else sample.current_a
    values = {"VOLT": sample.voltage_v, "CURR": current_a, "TIME": sample.time_s, "STAT": status}
    return values.get(element, sample.voltage_v if element == "SOUR" else _NOT_A_NUMBER)


def _of_output(unit: ChannelB2900, number: int) -> Commands:
    """Commands whose headers carry the number of the channel; that of channel 1 may be left out."""
    output = f":OUTPut{_suffix(number)}"
    return {
        **_setting(
            f"{output}[:STATe]", lambda value: unit.set_output(boolean(value)), lambda: bit(unit.channel.on)
        ),
        **_switch(unit, "auto_on", f"{output}:ON:AUTO"),
        **_switch(unit, "protects", f"{output}:PROTection[:STATe]"),
        f"{output}:OFF:AUTO": lambda value: nothing(boolean(value)),
        f"{output}:HCAPacitance": lambda value: nothing(boolean(value)),
        f"{output}:LOW": lambda value: nothing(choice(value, "FLOat", "GROund")),
        f"{output}:OFF:MODE": lambda value: nothing(choice(value, "ZERO", "HIZ", "NORMal")),
        f":IDLE{_suffix(number)}[:ALL]?": lambda: "1",
    }


def _of_source(unit: ChannelB2900, number: int) -> Commands:
    source = "[:SOURce[1]]" if number == 1 else f":SOURce{number}"
    volts, function = f"{source}:VOLTage", f"{source}:FUNCtion"
    trigger, arm = f":TRIGger{_suffix(number)}", f":ARM{_suffix(number)}[:ALL]"
    level = f"{volts}[:LEVel][:IMMediate][:AMPLitude]"
    return {
        f"{function}:MODE": _only_voltage,
        f"{function}:MODE?": lambda: "VOLT",
        **_words(unit, "shape", f"{function}[:SHAPe]", "DC", "PULSe"),
        **_words(unit, "mode", f"{volts}:MODE", "FIXed", "SWEep", "LIST"),
        **_switch(unit, "keeps_last", f"{function}:TRIGgered:CONTinuous"),
        **_setting(level, unit.set_level, lambda: shown(unit.channel.level_v)),
        **_number(unit, "triggered_v", f"{volts}[:LEVel]:TRIGgered[:AMPLitude]", -V_MAX_V, V_MAX_V),
        **_number(unit, "start_v", f"{volts}:STARt", -V_MAX_V, V_MAX_V),
        **_number(unit, "stop_v", f"{volts}:STOP", -V_MAX_V, V_MAX_V),
        **_number(unit, "points", f"{source}:SWEep:POINts", 1, 2500, digits=0),
        **_number(unit, "points", f"{volts}:POINts", 1, 2500, digits=0),
        **_setting(f"{volts}:RANGe", unit.set_range, lambda: shown(unit.v_range_v)),
        **_switch(unit, "v_auto", f"{volts}:RANGe:AUTO"),
        f"{source}:LIST:VOLTage": unit.set_list,
        f"{source}:LIST:VOLTage:APPend": lambda *values: unit.set_list(*values, onto=unit.levels_v),
        f"{source}:LIST:VOLTage:POINts?": lambda: f"+{len(unit.levels_v)}",
        **_number(unit, "width_s", f"{source}:PULSe:WIDTh", _PULSE_MIN_S, _PULSE_MAX_S, digits=_PULSE_DIGITS),
        **_number(unit, "pulse_delay_s", f"{source}:PULSe:DELay", 0.0, 99999.9),
        f"{source}:SWEep:RANGing": lambda value: nothing(choice(value, "BEST", "AUTO", "FIXed")),
        f"{source}:SWEep:SPACing": lambda value: nothing(choice(value, "LINear")),
        f"{source}:SWEep:STAir": lambda value: nothing(choice(value, "SINGle")),
        f"{source}:WAIT[:STATe]": lambda value: nothing(boolean(value)),
        f"{trigger}[:ALL]:COUNt": unit.set_count,
        **_number(unit, "count", f"{trigger}:TRANsient:COUNt", 1, COUNT_MAX, digits=0),
        **_number(unit, "readings", f"{trigger}:ACQuire:COUNt", 1, COUNT_MAX, digits=0),
        **_number(unit, "measure_after_s", f"{trigger}:ACQuire:DELay", 0.0, _DELAY_MAX_S),
        **_number(unit, "start_after_s", f"{trigger}:TRANsient:DELay", 0.0, _DELAY_MAX_S),
        **{f"{trigger}{of}:TIMer": _period for of in ("[:ALL]", ":TRANsient", ":ACQuire")},
        f"{arm}:COUNt": lambda value: nothing(real(value, 1, COUNT_MAX)),
        f"{arm}:DELay": lambda value: nothing(real(value, 0.0, _DELAY_MAX_S)),
        f"{arm}:SOURce": _trigger_source,
        f"{trigger}[:ALL]:SOURce": _trigger_source,
    }


def _of_sense(unit: ChannelB2900, number: int) -> Commands:
    channel, sense = unit.channel, f":SENSe{_suffix(number)}"
    amperes = f"{sense}:CURRent[:DC]"
    commands: Commands = {
        f"{sense}:FUNCtion[:ON]": lambda *names: unit.functions.update(_functions(names)),
        f"{sense}:FUNCtion:OFF": lambda *names: unit.functions.difference_update(_functions(names)),
        f"{sense}:FUNCtion:OFF:ALL": lambda: unit.functions.clear(),
        f"{sense}:REMote": lambda value: nothing(boolean(value)),
        f"{sense}:WAIT[:STATe]": lambda value: nothing(boolean(value)),
        **_setting(f"{amperes}:PROTection[:LEVel]", unit.set_limit, lambda: shown(channel.i_limit_a)),
        f"{amperes}:PROTection:TRIPped?": lambda: bit(channel.on and unit.measure().limited),
        **_setting(
            f"{amperes}:RANGe[:UPPer]",
            lambda value: channel.set_range(abs(real(value, -I_MAX_A, I_MAX_A))),
            lambda: shown(channel.i_range_a or 1e-4),
        ),
        **_setting(
            f"{amperes}:RANGe:AUTO",
            lambda value: channel.set_range(None if boolean(value) else channel.i_limit_a),
            lambda: bit(channel.i_range_a is None),
        ),
    }
    for function in (amperes, f"{sense}:VOLTage[:DC]", f"{sense}:RESistance"):  # one time for all
        commands |= _aperture(unit, f"{function}:APERture", 1.0)
        commands |= _aperture(unit, f"{function}:NPLCycles", 1.0 / LINE_HZ)
    return commands


def _aperture(unit: ChannelB2900, header: str, each_s: float) -> Commands:
    """In units of `each_s`, and how it is told that the instrument shall choose it."""
    return {
        **_setting(
            header,
            lambda value: unit.set_aperture(each_s * real(value, 0.0, 1e9)),
            lambda: shown(unit.channel.nplc / LINE_HZ / each_s),
        ),
        f"{header}:AUTO": lambda value: nothing(boolean(value)),
    }


def _setting(header: str, take: Callable[[str], None], tell: Callable[[], str]) -> Commands:
    """A command and its query."""
    return {header: take, f"{header}?": tell}


def _switch(unit: ChannelB2900, name: str, header: str) -> Commands:
    return _setting(
        header, lambda value: setattr(unit, name, boolean(value)), lambda: bit(getattr(unit, name))
    )


def _words(unit: ChannelB2900, name: str, header: str, *allowed: str) -> Commands:
    return _setting(
        header, lambda value: setattr(unit, name, choice(value, *allowed)), lambda: str(getattr(unit, name))
    )


def _number(
    unit: ChannelB2900, name: str, header: str, least: float, most: float, digits: int | None = None
) -> Commands:
    """digits: what is taken is rounded to so many behind the point; 0 for a whole number."""

    def take(value: str) -> None:
        number = real(value, least, most)
        setattr(unit, name, number if digits is None else round(number, digits or None))

    def tell() -> str:
        number = getattr(unit, name)
        return f"{number:+d}" if isinstance(number, int) else shown(number or 0.0)

    return _setting(header, take, tell)


def _suffix(number: int) -> str:
    return "[1]" if number == 1 else str(number)


def _functions(values: Sequence[str]) -> set[str]:
    return {choice(unquoted(value).upper().removesuffix(":DC"), *_FUNCTIONS) for value in values}


def _trigger_source(value: str) -> None:
    nothing(choice(value, "AINT", "BUS", "TIMer", "LAN"))


def _period(value: str) -> None:
    nothing(real(value, 1e-5, _DELAY_MAX_S))  # triggers here follow at once


def _only_voltage(value: str) -> None:
    if choice(value, "VOLTage", "CURRent") != "VOLT":
        raise ScpiError(ILLEGAL_VALUE)  # this simulation sources voltages


def _only_text(value: str) -> None:
    if choice(value, "ASCii", "REAL") != "ASC":
        raise ScpiError(ILLEGAL_VALUE)  # and answers in text
