"""Keithley 2450, in its SCPI command set.

Messages are those of its manual and of drivers that others use. Put together from them, and not run on an instrument:
the list sweep as a pulse, several queries in one message, and that a sweep leaves the output off. The current range
comes before the limit: a change of range that does not fit moves the limit, with no more than a warning.
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
_PULSE_NPLC = 0.01
_BUFFER = '"defbuffer1"'
_AT_LIMIT = 0.99  # of the limit: a list tells the current of each level, not whether it was limited
_NOT_A_NUMBER = 9.0e37


class Keithley2450(SourceMeterBase, ScpiInstrument):
    """The one channel of a 2450. A pulse is a list sweep of two levels, timed by the trigger model and one reading."""

    family = "Keithley 2450"
    models = re.compile(r"2450(-\w+)*")
    abilities = Abilities(
        v_max_v=210.0,
        i_limit_min_a=1e-9,
        i_limit_max_a=1.05,
        pulse_min_s=1e-3,
        pulse_max_s=9999.0,
        points_max=2499,  # and the 0 V that ends a list
        hardware_timed=True,
    )
    nplc = (0.01, 10.0)

    def __init__(self, transport: Transport, channel: str = "") -> None:
        """Resets the instrument: output off, 0 V. Raises ConfigError where it speaks another command set."""
        super().__init__(transport)
        self.require_channel(channel)
        language = self.ask("*LANG?").strip()
        if language != "SCPI":
            raise ConfigError(
                f"{self.name}: its command set is {language}; send *LANG SCPI, or choose SCPI in its menu, "
                "and restart it"
            )
        self.send("*RST;*CLS")
        self.send(':SOUR:FUNC VOLT;:SENS:FUNC "CURR";:SENS:CURR:RSEN OFF')
        self.send(":SOUR:VOLT:READ:BACK OFF;:SOUR:VOLT:DEL 0")

    def set_up(self, setup: Setup) -> None:
        self.require_setup(setup)
        self._setup = None
        limit = number(setup.i_limit_a)
        self.send(
            f":SOUR:VOLT 0;:SOUR:VOLT:RANG {number(setup.v_range_v)};:SENS:CURR:RANG {limit};"
            f":SOUR:VOLT:ILIM {limit};:SENS:CURR:NPLC {number(setup.nplc)}"
        )
        message = ":SOUR:VOLT:RANG?;:SOUR:VOLT:ILIM?;:SENS:CURR:RANG?;:SENS:CURR:NPLC?"
        self.require_setup_taken(setup, *self.ask_each(message, 4))
        self._setup = setup

    def output(self, on: bool) -> None:
        self.send(f":SOUR:VOLT 0;:OUTP {'ON' if on else 'OFF'}")

    def hold(self, level_v: float) -> None:
        self.require_levels(level_v)
        self.send(f":SOUR:VOLT {number(level_v)}")

    def held(self) -> Sweep:
        return self._one_reading("", "")

    def sweep(self, levels_v: FloatArray) -> Sweep:
        self.require_sweep(levels_v)
        if levels_v.size > 1:
            return self._run_list([*map(float, levels_v), 0.0], 0.0, self.ready.nplc)
        return self._one_reading(f":SOUR:VOLT {number(levels_v[0])};", ";:SOUR:VOLT 0")

    def pulse(self, level_v: float, width_s: float, count: int = 1) -> bool:
        self.require_pulse(level_v, width_s, count)
        swept = self._run_list([level_v, 0.0] * count, width_s - _PULSE_NPLC / LINE_HZ, _PULSE_NPLC)
        return bool(swept.limited[::2].any())

    def safe_off(self) -> None:
        self._setup = None
        self.try_each(
            self._transport.clear,
            lambda: self.write(":ABOR"),
            lambda: self.write(":SOUR:VOLT 0"),
            lambda: self.write(":OUTP OFF"),
            self._require_off,
        )

    def _one_reading(self, before: str, after: str) -> Sweep:
        message = f"{before}:READ? {_BUFFER}, SOUR, READ;:SOUR:VOLT:ILIM:TRIP?{after}"
        answer = self.ask(message, self.timeout_s(1, self.ready.nplc))
        found = re.fullmatch(r"([^,;]+),([^,;]+);([01])", answer.strip())
        try:
            current_a = float(found[2]) if found is not None else None
        except ValueError:
            current_a = None
        if found is None or current_a is None:
            raise self.wrong_answer(message, answer, "source value, reading; 0 or 1")
        self.check_errors("a reading")
        overflow = abs(current_a) > _NOT_A_NUMBER
        shown_a = self.ready.i_limit_a if overflow else current_a
        return Sweep(np.array([shown_a]), np.array([found[3] == "1"]), np.array([overflow]))

    def _run_list(self, levels_v: list[float], delay_s: float, nplc: float) -> Sweep:
        """Levels one after another, each for the delay and one reading. The last is 0 V, and is not in the result."""
        count, limit_a = len(levels_v), self.ready.i_limit_a
        first, *rest = [
            ",".join(map(number, levels_v[start : start + _LIST_A_COMMAND]))
            for start in range(0, count, _LIST_A_COMMAND)
        ]
        self.send(f":SOUR:LIST:VOLT {first};:SENS:CURR:NPLC {number(nplc)}")
        for more in rest:
            self.send(f":SOUR:LIST:VOLT:APP {more}")
        self.send(f":TRAC:CLE {_BUFFER};:SOUR:SWE:VOLT:LIST 1, {number(delay_s)};:INIT;*WAI")
        message = f":TRAC:DATA? 1, {count}, {_BUFFER}, SOUR, READ"
        answers = self.ask_numbers(message, 2 * count, self.timeout_s(count, nplc, delay_s))
        # A sweep ends with the output off.
        self.send(f":SOUR:VOLT 0;:SENS:CURR:NPLC {number(self.ready.nplc)};:OUTP ON")
        current_a = np.array(answers).reshape(count, 2)[:-1, 1]
        overflow = np.abs(current_a) > _NOT_A_NUMBER
        current_a = np.where(overflow, limit_a, current_a)
        return Sweep(current_a, np.abs(current_a) >= _AT_LIMIT * limit_a, overflow)

    def _require_off(self) -> None:
        answer = self.ask(":OUTP?", SAFE_S)
        if answer.strip() != "0":
            raise self.wrong_answer(":OUTP?", answer, "0: the output is still on")
