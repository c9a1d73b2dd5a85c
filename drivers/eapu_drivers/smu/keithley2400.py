"""Keithley 2400, in SCPI.

Messages are those of its manual (table 10-6). Put together from them, and not run on an instrument: compound messages
with a query inside, and the list `V, 0` in place of a pulse, which the 2400 does not have. Bit 3 of the status element
is from memory.
"""

from __future__ import annotations

import re

import numpy as np

from eapu_drivers.instrument import ScpiInstrument, number
from eapu_drivers.smu.base import LINE_HZ, SAFE_S, SourceMeterBase
from eapu_drivers.smu.contract import Abilities, Setup, Sweep
from eapu_drivers.transport import Transport
from eapu_hil.hal import FloatArray

_LIST_A_COMMAND = 100
_PULSE_NPLC = 0.01
_NOT_A_NUMBER = 9.0e37
_OVERFLOW, _COMPLIANCE, _RANGE_COMPLIANCE = 1 << 0, 1 << 3, 1 << 14  # of the status element


class Keithley2400(SourceMeterBase, ScpiInstrument):
    """The one channel of a 2400. A pulse is a list of two levels, timed by delay and reading: milliseconds, inexact."""

    family = "Keithley 2400"
    models = re.compile(r"24[0-4]0(-\w+)?")
    abilities = Abilities(
        v_max_v=210.0,
        i_limit_min_a=1e-9,
        i_limit_max_a=1.05,
        pulse_min_s=2e-3,
        pulse_max_s=9999.0,
        points_max=2499,  # and the 0 V that ends a list
        hardware_timed=False,
    )
    nplc = (0.01, 10.0)

    def __init__(self, transport: Transport, channel: str = "") -> None:
        """Resets the instrument: output off, 0 V. channel: it has one, without a name."""
        super().__init__(transport)
        self.require_channel(channel)
        self.send("*RST;*CLS")
        self.send(":SYST:BEEP:STAT OFF;:SYST:RSEN OFF;:SOUR:CLE:AUTO OFF")
        self.send(":SENS:FUNC:CONC OFF;:SOUR:FUNC VOLT;:SOUR:VOLT:MODE FIX;:SENS:FUNC 'CURR:DC'")
        self.send(":FORM:ELEM VOLT,CURR,TIME,STAT;:SOUR:DEL 0")

    def set_up(self, setup: Setup) -> None:
        self.require_setup(setup)
        self._setup = None
        limit = number(setup.i_limit_a)
        self.send(
            f":SOUR:VOLT:LEV 0;:SOUR:VOLT:RANG {number(setup.v_range_v)};:SENS:CURR:PROT {limit};"
            f":SENS:CURR:RANG {limit};:SENS:CURR:NPLC {number(setup.nplc)}"
        )
        message = ":SOUR:VOLT:RANG?;:SENS:CURR:PROT?;:SENS:CURR:RANG?;:SENS:CURR:NPLC?"
        self.require_setup_taken(setup, *self.ask_each(message, 4))
        self._setup = setup

    def output(self, on: bool) -> None:
        self.send(f":SOUR:VOLT:LEV 0;:OUTP {'ON' if on else 'OFF'}")

    def hold(self, level_v: float) -> None:
        self.require_levels(level_v)
        self.send(f":SOUR:VOLT:LEV {number(level_v)}")

    def held(self) -> Sweep:
        return self._readings(":READ?", 1, self.ready.nplc)

    def sweep(self, levels_v: FloatArray) -> Sweep:
        self.require_sweep(levels_v)
        nplc = self.ready.nplc
        if levels_v.size > 1:
            return self._run_list([*map(float, levels_v), 0.0], 0.0, nplc)
        found = self._readings(f":SOUR:VOLT:LEV {number(levels_v[0])};:READ?;:SOUR:VOLT:LEV 0", 1, nplc)
        self.check_errors("a reading")
        return found

    def pulse(self, level_v: float, width_s: float, count: int = 1) -> bool:
        self.require_pulse(level_v, width_s, count)
        swept = self._run_list([level_v, 0.0] * count, width_s - _PULSE_NPLC / LINE_HZ, _PULSE_NPLC)
        return bool(swept.limited[::2].any())

    def safe_off(self) -> None:
        self._setup = None
        self.try_each(
            self._transport.clear,
            lambda: self.write(":ABOR"),
            lambda: self.write(":SOUR:VOLT:MODE FIX;:SOUR:VOLT:LEV 0"),
            lambda: self.write(":OUTP OFF"),
            self._require_off,
        )

    def _run_list(self, levels_v: list[float], delay_s: float, nplc: float) -> Sweep:
        """Levels one after another, each for the delay and one reading. The last is 0 V, and is not in the result."""
        count = len(levels_v)
        first, *rest = [
            ",".join(map(number, levels_v[start : start + _LIST_A_COMMAND]))
            for start in range(0, count, _LIST_A_COMMAND)
        ]
        arm = (
            f":SOUR:VOLT:MODE LIST;:SOUR:SWE:RANG FIX;:SOUR:SWE:CAB NEV;:TRIG:COUN {count};"
            f":SOUR:DEL {number(delay_s)};:SENS:CURR:NPLC {number(nplc)}"
        )
        if not rest:
            self.send(f":SOUR:LIST:VOLT {first};{arm}")
        else:
            self.send(f":SOUR:LIST:VOLT {first}")
            for more in rest:
                self.send(f":SOUR:LIST:VOLT:APP {more}")
            self.send(arm)
        swept = self._readings(":READ?", count, nplc, delay_s)
        self.send(
            ":SOUR:VOLT:MODE FIX;:SOUR:VOLT:LEV 0;:TRIG:COUN 1;:SOUR:DEL 0;"
            f":SENS:CURR:NPLC {number(self.ready.nplc)}"
        )
        return Sweep(swept.current_a[:-1], swept.limited[:-1], swept.overflow[:-1])

    def _readings(self, message: str, count: int, nplc: float, delay_s: float = 0.0) -> Sweep:
        answers = self.ask_numbers(message, 4 * count, self.timeout_s(count, nplc, delay_s))
        values = np.array(answers).reshape(count, 4)
        status = values[:, 3].astype(np.int64)
        overflow = (status & _OVERFLOW != 0) | (values[:, 1] > _NOT_A_NUMBER)
        limited = status & (_COMPLIANCE | _RANGE_COMPLIANCE) != 0
        return Sweep(np.where(overflow, self.ready.i_limit_a, values[:, 1]), limited, overflow)

    def _require_off(self) -> None:
        answer = self.ask(":OUTP?", SAFE_S)
        if answer.strip() != "0":
            raise self.wrong_answer(":OUTP?", answer, "0: the output is still on")
