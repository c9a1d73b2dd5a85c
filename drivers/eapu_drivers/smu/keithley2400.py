"""Keithley 2400, SCPI: commands as in its manual; what was put together from them is marked in `drivers/README.md`."""

from __future__ import annotations

import re

import numpy as np

from eapu_drivers.instrument import ScpiInstrument, UnsupportedError, number, require_range
from eapu_drivers.smu.contract import Abilities, Setup, Sweep
from eapu_drivers.transport import Transport
from eapu_hil.hal import FloatArray, InstrumentError

_LIST_A_COMMAND = 100
_PULSE_NPLC = 0.01
_LINE_HZ = 50.0  # the slower of the two: for timeouts
_OVERHEAD_S = 5e-3  # of a point; for timeouts
_SAFE_S = 0.3  # timeout of what is asked on the way out
_NOT_A_NUMBER = 9.0e37
_OVERFLOW, _COMPLIANCE, _RANGE_COMPLIANCE = 1 << 0, 1 << 3, 1 << 14  # of the status element


class Keithley2400(ScpiInstrument):
    """The one channel of a 2400. It has no pulses of its own: a list `V, 0` gives widths of milliseconds, inexact."""

    family = "Keithley 2400"
    models = re.compile(r"24[0-4]0(-\w+)?")
    abilities = Abilities(
        v_max_v=210.0,
        i_limit_min_a=1e-9,
        i_limit_max_a=1.05,
        pulse_min_s=2e-3,
        pulse_max_s=9999.0,
        points_max=2500,
        hardware_timed=False,
    )

    def __init__(self, transport: Transport, channel: str = "") -> None:
        """Resets the instrument: output off, 0 V. channel: it has one, without a name."""
        super().__init__(transport)
        self.require_channel(channel)
        self._setup: Setup | None = None
        self.send("*RST;*CLS")
        self.send(":SYST:BEEP:STAT OFF")
        self.send(":SOUR:CLE:AUTO OFF")
        self.send(":SENS:FUNC:CONC OFF;:SOUR:FUNC VOLT;:SOUR:VOLT:MODE FIX;:SENS:FUNC 'CURR:DC'")
        self.send(":FORM:ELEM VOLT,CURR,TIME,STAT")
        self.send(":SOUR:DEL 0")

    def set_up(self, setup: Setup) -> None:
        can = self.abilities
        require_range(self.name, "a source range", setup.v_range_v, 0.0, can.v_max_v, "V")
        require_range(self.name, "a compliance", setup.i_limit_a, can.i_limit_min_a, can.i_limit_max_a, "A")
        require_range(self.name, "an integration time", setup.nplc, 0.01, 10.0, "power line periods")
        self._setup = None  # not known until it is read back
        limit = number(setup.i_limit_a)
        self.send(f":SOUR:VOLT:LEV 0;:SOUR:VOLT:RANG {number(setup.v_range_v)}")
        self.send(f":SENS:CURR:PROT {limit};:SENS:CURR:RANG {limit};:SENS:CURR:NPLC {number(setup.nplc)}")
        message = ":SOUR:VOLT:RANG?;:SENS:CURR:PROT?;:SENS:CURR:RANG?;:SENS:CURR:NPLC?"
        v_range_v, limit_a, i_range_a, nplc = self._ask_each(message, 4)
        self.require_taken("compliance, A (:SENS:CURR:PROT)", setup.i_limit_a, limit_a)
        self.require_taken("integration time, periods (:SENS:CURR:NPLC)", setup.nplc, nplc)
        for what, asked, taken in (
            ("source range, V (:SOUR:VOLT:RANG)", setup.v_range_v, v_range_v),
            ("current range, A (:SENS:CURR:RANG)", setup.i_limit_a, i_range_a),
        ):
            if taken < 0.999 * asked:
                raise InstrumentError(
                    0, f"{what}: {number(asked)} asked, but it took {taken}", what, self.name
                )
        self._setup = setup

    def output(self, on: bool) -> None:
        self.send(f":SOUR:VOLT:LEV 0;:OUTP {'ON' if on else 'OFF'}")

    def hold(self, level_v: float) -> None:
        self._require_level(level_v)
        self.send(f":SOUR:VOLT:LEV {number(level_v)}")

    def held(self) -> Sweep:
        return self._readings(":READ?", 1, self._required().nplc)

    def sweep(self, levels_v: FloatArray) -> Sweep:
        setup = self._required()
        for level_v in (levels_v.min(), levels_v.max()):
            self._require_level(float(level_v))
        if levels_v.size == 1:
            found = self._readings(
                f":SOUR:VOLT:LEV {number(levels_v[0])};:READ?;:SOUR:VOLT:LEV 0", 1, setup.nplc
            )
            self.check_errors("sweep")
            return found
        swept = self._run_list([*map(float, levels_v), 0.0], 0.0, setup.nplc)
        return Sweep(swept.current_a[:-1], swept.limited[:-1], swept.overflow[:-1])

    def pulse(self, level_v: float, width_s: float, count: int = 1) -> bool:
        setup = self._required()
        can = self.abilities
        require_range(self.name, "a pulse width", width_s, can.pulse_min_s, can.pulse_max_s, "s")
        self._require_level(level_v)
        self.send(f":SENS:CURR:NPLC {number(_PULSE_NPLC)}")
        try:
            swept = self._run_list([level_v, 0.0] * count, width_s - _PULSE_NPLC / _LINE_HZ, _PULSE_NPLC)
        finally:
            self.send(f":SENS:CURR:NPLC {number(setup.nplc)}")
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
        """Levels one after another, each held for the delay and one reading; the last has to be 0 V."""
        if len(levels_v) > self.abilities.points_max:
            raise UnsupportedError(
                f"{self.name}: {len(levels_v)} levels asked; it can do {self.abilities.points_max} in one list"
            )
        for first in range(0, len(levels_v), _LIST_A_COMMAND):
            part = ",".join(number(level_v) for level_v in levels_v[first : first + _LIST_A_COMMAND])
            self.send(f":SOUR:LIST:VOLT{':APP' if first else ''} {part}")
        self.send(
            f":SOUR:VOLT:MODE LIST;:SOUR:SWE:RANG FIX;:SOUR:SWE:CAB NEV;:TRIG:COUN {len(levels_v)};"
            f":SOUR:DEL {number(delay_s)}"
        )
        swept = self._readings(":READ?", len(levels_v), nplc, delay_s)
        self.send(":SOUR:VOLT:MODE FIX;:SOUR:VOLT:LEV 0;:TRIG:COUN 1;:SOUR:DEL 0")
        return swept

    def _readings(self, message: str, count: int, nplc: float, delay_s: float = 0.0) -> Sweep:
        timeout_s = 2.0 + 1.5 * count * (nplc / _LINE_HZ + delay_s + _OVERHEAD_S)
        values = np.array(self.ask_numbers(message, 4 * count, timeout_s)).reshape(count, 4)
        status = values[:, 3].astype(np.int64)
        overflow = (status & _OVERFLOW != 0) | (values[:, 1] > _NOT_A_NUMBER)
        limited = status & (_COMPLIANCE | _RANGE_COMPLIANCE) != 0
        return Sweep(np.where(overflow, self._required().i_limit_a, values[:, 1]), limited, overflow)

    def _ask_each(self, message: str, count: int) -> list[float]:
        """Answers of a message of several queries, which are separated by semicolons."""
        answer = self.ask(message)
        try:
            values = [float(part) for part in answer.split(";")]
        except ValueError:
            values = []
        if len(values) != count:
            raise self.wrong_answer(message, answer, f"{count} numbers")
        return values

    def _required(self) -> Setup:
        if self._setup is None:
            raise UnsupportedError(
                f"{self.name}: nothing can be sourced before set_up has told range and compliance"
            )
        return self._setup

    def _require_level(self, level_v: float) -> None:
        most_v = self._required().v_range_v
        require_range(self.name, "a level", level_v, -most_v, most_v, "V")

    def _require_off(self) -> None:
        answer = self.ask(":OUTP?", _SAFE_S)
        if answer.strip() != "0":
            raise self.wrong_answer(":OUTP?", answer, "0: the output is still on")
