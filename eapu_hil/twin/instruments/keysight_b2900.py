"""A simulated Keysight B2900: its SCPI dialect, for one or two channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from eapu_hil.twin.instruments.channel import LINE_HZ, Channel, Sample
from eapu_hil.twin.instruments.probe import Probe
from eapu_hil.twin.instruments.scpi import (
    ILLEGAL_VALUE,
    OUT_OF_RANGE,
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

IDENTITY = "Keysight Technologies,{model},{serial},5.1.2029.2142"
V_RANGES_V = (0.2, 2.0, 20.0, 200.0)
I_RANGES_A = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1.5, 3.0)
_V_MAX_V, _I_MAX_A, _I_MIN_A = 210.0, 3.03, 1e-9
_LIST_MAX = 2500
_PULSE_MIN_S, _PULSE_MAX_S = 50e-6, 1e5
_NPLC_MIN, _NPLC_MAX = 4e-4, 100.0
_ELEMENTS = ("VOLTage", "CURRent", "RESistance", "TIME", "STATus", "SOURce")
_NOT_A_NUMBER = 9.91e37
_OUTPUT_OFF = (213, "Illegal operation: output is off")
_STALE = (-230, "Data corrupt or stale")
_POINT_S = 20e-6  # what a point takes besides delay and integration


class _Unit:
    """One channel and what was set for it."""

    def __init__(self, probe: Probe, bus: str, seed: int) -> None:
        self.channel = Channel(probe, bus, I_RANGES_A, seed)
        self.samples: list[Sample] = []
        self.reset()

    def reset(self) -> None:
        self.channel.reset()
        self.channel.nplc = 0.1
        self.v_range_v = 2.0
        self.mode, self.shape = "FIX", "DC"
        self.levels_v = [0.0]
        self.start_v = self.stop_v = 0.0
        self.points, self.count = 1, 1
        self.width_s, self.pulse_delay_s, self.measure_after_s = 50e-6, 0.0, 0.0
        self.auto_on = True
        self.samples = []

    def sequence_v(self) -> list[float]:
        """The levels of a run."""
        if self.mode == "LIST":
            source = self.levels_v
        elif self.mode == "SWE":
            step_v = (self.stop_v - self.start_v) / max(self.points - 1, 1)
            source = [self.start_v + k * step_v for k in range(self.points)]
        else:
            source = [self.channel.level_v]
        return [source[k % len(source)] for k in range(self.count)]

    def run(self) -> None:
        """What INIT does. In a pulse the reading begins `measure_after_s` after its edge."""
        if not self.channel.on:
            if not self.auto_on:
                raise ScpiError(_OUTPUT_OFF)
            self.channel.drive(on=True)
        base_v, self.samples = self.channel.level_v, []
        for level_v in self.sequence_v():
            self.channel.elapse(self.pulse_delay_s)
            self.channel.drive(level_v=level_v)
            self.channel.elapse(self.measure_after_s + _POINT_S)
            self.samples.append(self.channel.sample())
            if self.shape == "PULS":
                spent_s = self.measure_after_s + _POINT_S + self.channel.nplc / LINE_HZ
                self.channel.elapse(max(self.width_s - spent_s, 0.0))
                self.channel.drive(level_v=base_v)


class KeysightB2900(ScpiDevice):
    """A B2901B, or with two buses a B2902B."""

    def __init__(self, probe: Probe, buses: Sequence[str], serial: str = "MY61390001") -> None:
        self.units = [_Unit(probe, bus, seed=10 + k) for k, bus in enumerate(buses)]
        self._identity = IDENTITY.format(model=f"B290{len(buses)}B", serial=serial)
        self._elements: list[str] = []
        commands = self._common()
        for number, unit in enumerate(self.units, start=1):
            commands |= self._of_channel(unit, number)
        super().__init__(commands, errors_max=100)
        self._reset()

    def _reset(self) -> None:
        for unit in self.units:
            unit.reset()
        self._elements = ["VOLT", "CURR", "TIME", "STAT", "SOUR"]

    def _common(self) -> dict[str, Callable[..., str | None]]:
        return {
            "*IDN?": lambda: self._identity,
            "*RST": self._reset,
            "*CLS": self.clear_errors,
            "*OPC?": lambda: "1",
            "*WAI": lambda: None,
            ":SYSTem:ERRor[:NEXT]?": self._error,
            ":SYSTem:ERRor:COUNt?": lambda: f"+{self.error_count}",
            ":SYSTem:BEEPer:STATe": lambda value: nothing(boolean(value)),
            ":SYSTem:LFRequency?": lambda: f"{LINE_HZ:.0f}",
            ":FORMat:ELEMents:SENSe": self._set_elements,
            ":FORMat:ELEMents:SENSe?": lambda: ",".join(self._elements),
            ":MEASure?": self._measure,
            ":INITiate[:IMMediate][:ALL]": self._initiate,
            ":ABORt[:ALL]": lambda channels="(@1)": nothing(self._chosen(channels)),
            ":FETCh:ARRay?": self._fetch,
        }

    def _of_channel(self, unit: _Unit, number: int) -> dict[str, Callable[..., str | None]]:
        """Commands whose headers carry the number of the channel; channel 1 goes without, too."""
        suffix = "[1]" if number == 1 else str(number)
        channel = unit.channel
        source, sense = f":SOURce{suffix}", f":SENSe{suffix}:CURRent[:DC]"
        output, trigger = f":OUTPut{suffix}", f":TRIGger{suffix}"
        level = f"{source}:VOLTage[:LEVel][:IMMediate][:AMPLitude]"

        def keep(name: str, least: float, most: float, whole: bool = False) -> Callable[[str], None]:
            def act(value: str) -> None:
                taken = real(value, least, most)
                setattr(unit, name, round(taken) if whole else taken)

            return act

        return {
            f"{output}[:STATe]": lambda value: channel.drive(on=boolean(value)),
            f"{output}[:STATe]?": lambda: bit(channel.on),
            f"{output}:ON:AUTO": lambda value: setattr(unit, "auto_on", boolean(value)),
            f"{output}:ON:AUTO?": lambda: bit(unit.auto_on),
            f"{output}:OFF:MODE": lambda value: nothing(choice(value, "ZERO", "HIZ", "NORMal")),
            f"{source}:FUNCtion:MODE": _only_voltage,
            f"{source}:FUNCtion:MODE?": lambda: "VOLT",
            f"{source}:FUNCtion[:SHAPe]": lambda value: setattr(unit, "shape", choice(value, "DC", "PULSe")),
            f"{source}:FUNCtion[:SHAPe]?": lambda: unit.shape,
            f"{source}:FUNCtion:TRIGger:CONTinuous": lambda value: nothing(boolean(value)),
            f"{source}:VOLTage:MODE": lambda v: setattr(unit, "mode", choice(v, "FIXed", "SWEep", "LIST")),
            f"{source}:VOLTage:MODE?": lambda: unit.mode,
            level: lambda value: channel.drive(level_v=real(value, -_V_MAX_V, _V_MAX_V, {"DEF": 0.0})),
            f"{level}?": lambda: shown(channel.level_v),
            f"{source}:VOLTage:STARt": keep("start_v", -_V_MAX_V, _V_MAX_V),
            f"{source}:VOLTage:STOP": keep("stop_v", -_V_MAX_V, _V_MAX_V),
            f"{source}:SWEep:POINts": keep("points", 1, _LIST_MAX, whole=True),
            f"{source}:VOLTage:RANGe": lambda value: _set_source_range(unit, value),
            f"{source}:VOLTage:RANGe?": lambda: shown(unit.v_range_v),
            f"{source}:VOLTage:RANGe:AUTO": lambda value: nothing(boolean(value)),
            f"{source}:LIST:VOLTage": lambda *values: setattr(unit, "levels_v", _levels(values)),
            f"{source}:LIST:VOLTage:APPend": lambda *values: _append(unit, values),
            f"{source}:LIST:VOLTage:POINts?": lambda: f"+{len(unit.levels_v)}",
            f"{source}:PULSe:WIDTh": keep("width_s", _PULSE_MIN_S, _PULSE_MAX_S),
            f"{source}:PULSe:WIDTh?": lambda: shown(unit.width_s),
            f"{source}:PULSe:DELay": keep("pulse_delay_s", 0.0, 99999.9),
            f":SENSe{suffix}:FUNCtion[:ON]": _only_current,
            f":SENSe{suffix}:REMote": lambda value: nothing(boolean(value)),
            f"{sense}:PROTection[:LEVel]": lambda value: _set_limit(channel, value),
            f"{sense}:PROTection[:LEVel]?": lambda: shown(channel.i_limit_a),
            f"{sense}:PROTection:TRIPped?": lambda: bit(channel.on and channel.sample(0.01).limited),
            f"{sense}:RANGe[:UPPer]": lambda v: channel.set_range(abs(real(v, -_I_MAX_A, _I_MAX_A))),
            f"{sense}:RANGe[:UPPer]?": lambda: shown(channel.i_range_a or 1e-4),
            f"{sense}:RANGe:AUTO": lambda v: channel.set_range(None if boolean(v) else channel.i_limit_a),
            f"{sense}:RANGe:AUTO?": lambda: bit(channel.i_range_a is None),
            f"{sense}:NPLCycles": lambda v: setattr(channel, "nplc", real(v, _NPLC_MIN, _NPLC_MAX)),
            f"{sense}:NPLCycles?": lambda: shown(channel.nplc),
            f"{sense}:APERture": lambda v: setattr(channel, "nplc", LINE_HZ * real(v, 8e-6, 2.0)),
            f"{sense}:APERture?": lambda: shown(channel.nplc / LINE_HZ),
            f"{trigger}[:ALL]:SOURce": lambda v: nothing(choice(v, "AINT", "BUS", "TIMer", "LAN")),
            f"{trigger}[:ALL]:COUNt": keep("count", 1, 100_000, whole=True),
            f"{trigger}[:ALL]:TIMer": lambda value: nothing(real(value, 1e-5, 1e5)),
            f"{trigger}:TRANsient:DELay": lambda value: nothing(real(value, 0.0, 1e5)),
            f"{trigger}:ACQuire:DELay": keep("measure_after_s", 0.0, 1e5),
        }

    def _error(self) -> str:
        code, text = self.take_error() or (0, "No error")
        return f'{code:+d},"{text}"'

    def _set_elements(self, *names: str) -> None:
        asked = {choice(name, *_ELEMENTS) for name in names}
        self._elements = [short_form(name) for name in _ELEMENTS if short_form(name) in asked]

    def _chosen(self, channels: str) -> list[_Unit]:
        numbers = [int(name) for name in channel_list(channels)]
        if not all(1 <= number <= len(self.units) for number in numbers):
            raise ScpiError(OUT_OF_RANGE)
        return [self.units[number - 1] for number in numbers]

    def _measure(self, channels: str = "(@1)") -> str:
        units = self._chosen(channels)
        for unit in units:
            if not unit.channel.on:
                if not unit.auto_on:
                    raise ScpiError(_OUTPUT_OFF)
                unit.channel.drive(on=True)
            unit.samples = [unit.channel.sample()]
        return self._shown(units)

    def _initiate(self, channels: str = "(@1)") -> None:
        for unit in self._chosen(channels):
            unit.run()

    def _fetch(self, channels: str = "(@1)") -> str:
        units = self._chosen(channels)
        if not all(unit.samples for unit in units):
            raise ScpiError(_STALE)
        return self._shown(units)

    def _shown(self, units: Sequence[_Unit]) -> str:
        return ",".join(self._one(sample) for unit in units for sample in unit.samples)

    def _one(self, sample: Sample) -> str:
        status = (0b01 << 1) * sample.limited | (1 << 13) * sample.overflow
        values = {
            "VOLT": sample.voltage_v,
            "CURR": _NOT_A_NUMBER if sample.overflow else sample.current_a,
            "RES": _NOT_A_NUMBER,
            "TIME": sample.time_s,
            "STAT": status,
            "SOUR": sample.voltage_v,
        }
        return ",".join(shown(values[name]) for name in self._elements)


def _only_voltage(value: str) -> None:
    if choice(value, "VOLTage", "CURRent") != "VOLT":
        raise ScpiError(ILLEGAL_VALUE)  # this simulation sources voltages


def _only_current(*values: str) -> None:
    for value in values:
        nothing(choice(unquoted(value).removesuffix(":DC"), "CURRent", "VOLTage", "RESistance"))


def _set_source_range(unit: _Unit, value: str) -> None:
    asked_v = abs(real(value, -_V_MAX_V, _V_MAX_V))
    unit.v_range_v = next((one for one in V_RANGES_V if 1.05 * one >= asked_v), V_RANGES_V[-1])


def _set_limit(channel: Channel, value: str) -> None:
    limit_a = abs(real(value, -_I_MAX_A, _I_MAX_A, {"DEF": 1e-4}))
    if limit_a < _I_MIN_A:
        raise ScpiError(OUT_OF_RANGE)
    channel.drive(i_limit_a=limit_a)


def _levels(values: Sequence[str]) -> list[float]:
    return [real(value, -_V_MAX_V, _V_MAX_V) for value in values]


def _append(unit: _Unit, values: Sequence[str]) -> None:
    levels_v = unit.levels_v + _levels(values)
    if len(levels_v) > _LIST_MAX:
        raise ScpiError(OUT_OF_RANGE)
    unit.levels_v = levels_v
