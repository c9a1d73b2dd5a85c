"""Keysight B2900 series, in SCPI; one object a channel.

Messages are those of its manuals and of drivers that others use. Put together from them, and not run on an instrument:
the pulsed sweep with equal levels, and compound messages with a query inside. The instrument is not reset as a whole,
so that opening one channel leaves the other alone.
"""

from __future__ import annotations

import re

import numpy as np

from eapu_drivers.instrument import ScpiInstrument, number
from eapu_drivers.smu.base import LINE_HZ, SAFE_S, SourceMeterBase
from eapu_drivers.smu.contract import Abilities, Setup, Sweep
from eapu_drivers.transport import Transport
from eapu_hil.hal import ConfigError, FloatArray

_LIST_A_COMMAND = 100
_ELEMENTS = 5  # VOLT, CURR, TIME, STAT, SOUR
_APERTURE_MIN_S = 8e-6
_APERTURE_OF_PULSE = 0.2  # of its width, at its end
_NOT_A_NUMBER = 9.0e37
_COMPLIANCE, _OVERFLOW = 0b11 << 1, 1 << 13  # of the status element


class KeysightB2900(SourceMeterBase, ScpiInstrument):
    """One channel. Pulses are timed by the instrument, 50 us and longer."""

    family = "Keysight B2900"
    models = re.compile(r"B29[01][12][AB]L?")
    channels = ("1", "2")
    abilities = Abilities(
        v_max_v=210.0,
        i_limit_min_a=1e-9,
        i_limit_max_a=3.03,
        pulse_min_s=50e-6,
        pulse_max_s=100_000.0,
        points_max=2499,  # and the 0 V that ends a list
        hardware_timed=True,
    )
    nplc = (4e-4, 100.0)

    def __init__(self, transport: Transport, channel: str = "1") -> None:
        """Puts the channel to 0 V and off. Raises ConfigError for a channel that the model does not have."""
        super().__init__(transport)
        self.require_channel(channel)
        if channel == "2" and self.identity.model[4] == "1":
            raise ConfigError(f"{self.name}: channel '2' asked; a {self.identity.model} has one")
        self.name += f", channel {channel}"
        self._c = c = channel
        self.send(f"*CLS;:OUTP{c} OFF;:SOUR{c}:FUNC:MODE VOLT;:SOUR{c}:FUNC:SHAP DC;:SOUR{c}:VOLT:MODE FIX")
        self.send(f':SOUR{c}:VOLT 0;:SENS{c}:FUNC "CURR";:SENS{c}:REM OFF;:OUTP{c}:ON:AUTO OFF')
        self.send(":FORM:ELEM:SENS VOLT,CURR,TIME,STAT,SOUR")

    def set_up(self, setup: Setup) -> None:
        self.require_setup(setup)
        self._setup, c = None, self._c
        limit = number(setup.i_limit_a)
        self.send(
            f":SOUR{c}:VOLT 0;:SOUR{c}:VOLT:RANG:AUTO OFF;:SOUR{c}:VOLT:RANG {number(setup.v_range_v)};"
            f":SENS{c}:CURR:PROT {limit};:SENS{c}:CURR:RANG:AUTO OFF;:SENS{c}:CURR:RANG {limit};"
            f":SENS{c}:CURR:NPLC {number(setup.nplc)}"
        )
        message = f":SOUR{c}:VOLT:RANG?;:SENS{c}:CURR:PROT?;:SENS{c}:CURR:RANG?;:SENS{c}:CURR:NPLC?"
        self.require_setup_taken(setup, *self.ask_each(message, 4))
        self._setup = setup

    def output(self, on: bool) -> None:
        self.send(f":SOUR{self._c}:VOLT 0;:OUTP{self._c} {'ON' if on else 'OFF'}")

    def hold(self, level_v: float) -> None:
        self.require_levels(level_v)
        self.send(f":SOUR{self._c}:VOLT {number(level_v)}")

    def held(self) -> Sweep:
        return self._readings(f":MEAS? (@{self._c})", 1, self.timeout_s(1, self.ready.nplc))

    def sweep(self, levels_v: FloatArray) -> Sweep:
        self.require_sweep(levels_v)
        c, nplc = self._c, self.ready.nplc
        if levels_v.size == 1:
            message = f":SOUR{c}:VOLT {number(levels_v[0])};:MEAS? (@{c});:SOUR{c}:VOLT 0"
            found = self._readings(message, 1, self.timeout_s(1, nplc))
            self.check_errors("a reading")
            return found
        first, *rest = [
            ",".join(map(number, levels_v[start : start + _LIST_A_COMMAND]))
            for start in range(0, levels_v.size, _LIST_A_COMMAND)
        ]
        self.send(f":SOUR{c}:VOLT:MODE LIST;:SOUR{c}:LIST:VOLT {first}")
        for more in [*rest, "0"]:
            self.send(f":SOUR{c}:LIST:VOLT:APP {more}")
        count = levels_v.size + 1
        swept = self._run(count, f":TRIG{c}:ACQ:DEL 0", self.timeout_s(count, nplc))
        self.send(f":SOUR{c}:VOLT:MODE FIX;:SOUR{c}:VOLT 0")
        return Sweep(swept.current_a[:-1], swept.limited[:-1], swept.overflow[:-1])

    def pulse(self, level_v: float, width_s: float, count: int = 1) -> bool:
        self.require_pulse(level_v, width_s, count)
        c = self._c
        aperture_s = max(min(_APERTURE_OF_PULSE * width_s, 0.01 / LINE_HZ), _APERTURE_MIN_S)
        level = number(level_v)
        self.send(
            f":SOUR{c}:FUNC:SHAP PULS;:SOUR{c}:PULS:WIDT {number(width_s)};:SOUR{c}:PULS:DEL 0;"
            f":SOUR{c}:VOLT:MODE SWE;:SOUR{c}:VOLT:STAR {level};:SOUR{c}:VOLT:STOP {level};:SOUR{c}:SWE:POIN {count};"
            f":SENS{c}:CURR:APER {number(aperture_s)}"
        )
        arm = (
            f":TRIG{c}:ALL:TIM MIN;:TRIG{c}:TRAN:DEL 0;:TRIG{c}:ACQ:DEL {number(width_s - 1.5 * aperture_s)}"
        )
        swept = self._run(count, arm, self.timeout_s(count, 0.01, 2 * width_s))
        self.send(
            f":SOUR{c}:FUNC:SHAP DC;:SOUR{c}:VOLT:MODE FIX;:SOUR{c}:VOLT 0;"
            f":SENS{c}:CURR:NPLC {number(self.ready.nplc)}"
        )
        return bool(swept.limited.any())

    def safe_off(self) -> None:
        self._setup, c = None, self._c
        self.try_each(
            self._transport.clear,
            lambda: self.write(f":ABOR (@{c})"),
            lambda: self.write(f":SOUR{c}:FUNC:SHAP DC;:SOUR{c}:VOLT:MODE FIX;:SOUR{c}:VOLT 0"),
            lambda: self.write(f":OUTP{c} OFF"),
            self._require_off,
        )

    def _run(self, count: int, arm: str, timeout_s: float) -> Sweep:
        """Triggers `count` levels and fetches what was measured."""
        c = self._c
        self.send(f":TRIG{c}:ALL:SOUR AINT;:TRIG{c}:ALL:COUN {count};{arm};:INIT (@{c})")
        done = self.ask("*OPC?", timeout_s)
        if done.strip() not in ("1", "+1"):
            raise self.wrong_answer("*OPC?", done, "1")
        return self._readings(f":FETC:ARR? (@{c})", count, timeout_s)

    def _readings(self, message: str, count: int, timeout_s: float) -> Sweep:
        answers = self.ask_numbers(message, _ELEMENTS * count, timeout_s)
        values = np.array(answers).reshape(count, _ELEMENTS)
        status = values[:, 3].astype(np.int64)
        overflow = (status & _OVERFLOW != 0) | (np.abs(values[:, 1]) > _NOT_A_NUMBER)
        limited = status & _COMPLIANCE != 0
        return Sweep(np.where(overflow, self.ready.i_limit_a, values[:, 1]), limited, overflow)

    def _require_off(self) -> None:
        answer = self.ask(f":OUTP{self._c}?", SAFE_S)
        if answer.strip() != "0":
            raise self.wrong_answer(f":OUTP{self._c}?", answer, "0: the output is still on")
