"""The commands of one channel of a simulated Keysight B2900: output, source and trigger, sense."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from eapu_drivers.simulated.instruments.channel import LINE_HZ
from eapu_drivers.simulated.instruments.scpi import (
    Act,
    bit,
    boolean,
    choice,
    nothing,
    real,
    shown,
    unquoted,
)
from eapu_drivers.simulated.instruments.sim_keysight_b2900_channel import (
    COUNT_MAX,
    I_MAX_A,
    V_MAX_V,
    ChannelB2900,
)

FUNCTIONS = ("VOLTage", "CURRent", "RESistance")
_PULSE_MIN_s, _PULSE_MAX_s, _PULSE_DIGITS = 50e-6, 1e5, 6  # in steps of 1 us
_DELAY_MAX_s = 1e5

Commands = dict[str, Act]


def of_output(unit: ChannelB2900, number: int) -> Commands:
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


def of_source(unit: ChannelB2900, number: int) -> Commands:
    source = "[:SOURce[1]]" if number == 1 else f":SOURce{number}"
    volts, function = f"{source}:VOLTage", f"{source}:FUNCtion"
    trigger, arm = f":TRIGger{_suffix(number)}", f":ARM{_suffix(number)}[:ALL]"
    level = f"{volts}[:LEVel][:IMMediate][:AMPLitude]"
    return {
        **_setting(f"{function}:MODE", unit.set_function, lambda: unit.function),
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
        **_number(unit, "width_s", f"{source}:PULSe:WIDTh", _PULSE_MIN_s, _PULSE_MAX_s, digits=_PULSE_DIGITS),
        **_number(unit, "pulse_delay_s", f"{source}:PULSe:DELay", 0.0, 99999.9),
        f"{source}:SWEep:RANGing": lambda value: nothing(choice(value, "BEST", "AUTO", "FIXed")),
        f"{source}:SWEep:SPACing": lambda value: nothing(choice(value, "LINear")),
        f"{source}:SWEep:STAir": lambda value: nothing(choice(value, "SINGle")),
        f"{source}:WAIT[:STATe]": lambda value: nothing(boolean(value)),
        f"{trigger}[:ALL]:COUNt": unit.set_count,
        **_number(unit, "count", f"{trigger}:TRANsient:COUNt", 1, COUNT_MAX, digits=0),
        **_number(unit, "readings", f"{trigger}:ACQuire:COUNt", 1, COUNT_MAX, digits=0),
        **_number(unit, "measure_after_s", f"{trigger}:ACQuire:DELay", 0.0, _DELAY_MAX_s),
        **_number(unit, "start_after_s", f"{trigger}:TRANsient:DELay", 0.0, _DELAY_MAX_s),
        **{f"{trigger}{of}:TIMer": _period for of in ("[:ALL]", ":TRANsient", ":ACQuire")},
        f"{arm}:COUNt": lambda value: nothing(real(value, 1, COUNT_MAX)),
        f"{arm}:DELay": lambda value: nothing(real(value, 0.0, _DELAY_MAX_s)),
        f"{arm}:SOURce": _trigger_source,
        f"{trigger}[:ALL]:SOURce": _trigger_source,
    }


def of_sense(unit: ChannelB2900, number: int) -> Commands:
    channel, sense = unit.channel, f":SENSe{_suffix(number)}"
    amperes = f"{sense}:CURRent[:DC]"
    commands: Commands = {
        f"{sense}:FUNCtion[:ON]": lambda *names: unit.functions.update(_functions(names)),
        f"{sense}:FUNCtion:OFF": lambda *names: unit.functions.difference_update(_functions(names)),
        f"{sense}:FUNCtion:OFF:ALL": lambda: unit.functions.clear(),
        **_switch(unit, "four_wire", f"{sense}:REMote"),
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
    return {choice(unquoted(value).upper().removesuffix(":DC"), *FUNCTIONS) for value in values}


def _trigger_source(value: str) -> None:
    nothing(choice(value, "AINT", "BUS", "TIMer", "LAN"))


def _period(value: str) -> None:
    nothing(real(value, 1e-5, _DELAY_MAX_s))  # triggers here follow at once
