"""Keithley 2400, in SCPI.

Messages are those of its manual: table 10-6 for lists, section 18 for the rest. Put together from them, and not run on
an instrument: several queries in one message; a list of two levels in place of a pulse, which the 2400 does not have;
that with a list selected and before it runs, the fixed level, 0 V, is at the terminals.
"""

from __future__ import annotations

import re

import numpy as np

from eapu_drivers.visa.instrument import number, require_range
from eapu_drivers.visa.smu.contract import Abilities, Setup, Sweep, Taken
from eapu_drivers.visa.smu.keithley_scpi import KeithleyScpi
from eapu_drivers.visa.smu.state import StateQueries
from eapu_drivers.visa.transport import Transport
from eapu_hil.hal import FloatArray

_HIGH_V, _HIGH_A = 21.0, 0.105  # above 21 V it can do no more
_PULSE_NPLC = 0.01
_POINT_s = 1e-3  # of a list at that integration time and without autozero, by the maker's word
_OVERFLOW, _COMPLIANCE, _RANGE_COMPLIANCE = 1 << 0, 1 << 3, 1 << 16  # of the status element
_SETTINGS = (
    ":SYST:RSEN OFF;:SOUR:CLE:AUTO OFF;:SOUR:FUNC VOLT;:SENS:FUNC:CONC OFF;:SENS:FUNC 'CURR:DC';"
    ":FORM:ELEM VOLT,CURR,STAT;:SOUR:SWE:RANG FIX;:SOUR:SWE:CAB NEV"
)
_STEADY = ":SOUR:VOLT:MODE FIX;:SOUR:VOLT:LEV 0;:TRIG:COUN 1;:SOUR:DEL 0;:SYST:AZER:STAT ON"


class Keithley2400(KeithleyScpi):
    """The one channel of a 2400. A pulse is a list of two levels: milliseconds, and inexact by some 0.1 ms.

    The limits are those of a 2400; what another model of the series can do less, its error queue or the limits read
    back refuse.
    """

    family = "Keithley 2400"
    models = re.compile(r"24(0[01]|10|2[05]|30|40)(-\w+)?")
    abilities = Abilities(
        v_max_v=210.0,
        i_limit_min_a=1e-9,
        i_limit_max_a=1.05,
        pulse_min_s=2e-3,
        pulse_max_s=9999.0,
        points_max=2499,  # and the 0 V that ends a list
    )
    nplc = (0.01, 10.0)
    state_queries = StateQueries(
        output=":OUTP?",
        function=":SOUR:FUNC?",
        level=":SOUR:VOLT:LEV?",
        v_range=":SOUR:VOLT:RANG?",
        limit=":SENS:CURR:PROT?",
        i_range=":SENS:CURR:RANG?",
        four_wires=":SYST:RSEN?",
        sense=":SENS:FUNC?",
    )

    def __init__(self, transport: Transport, channel: str = "") -> None:
        """Resets the instrument: output off, 0 V. channel: it has one, without a name.

        The terminals, front or rear, stay those that were chosen; a reset alone would choose the front.
        """
        super().__init__(transport)
        self.require_channel(channel)
        terminals = self.ask(":ROUT:TERM?").strip()
        if terminals not in ("FRON", "REAR"):
            raise self.wrong_answer(":ROUT:TERM?", terminals, "FRON or REAR")
        self.send("*RST;*CLS")
        self._terminals, self._established = terminals, True
        self.ask_checked(f":ROUT:TERM {terminals};:SYST:BEEP:STAT OFF;{_SETTINGS}")

    def set_up(self, setup: Setup) -> None:
        self.require_setup(setup)
        if setup.v_range_v > _HIGH_V:
            what = f"a compliance, with levels beyond {number(_HIGH_V)} V,"
            require_range(self.name, what, setup.i_limit_a, self.abilities.i_limit_min_a, _HIGH_A, "A")
        self._setup = None
        self._establish()
        limit = number(setup.i_limit_a)
        # The compliance may be no less than 0.1 % of the measuring range, and that no higher than the compliance's
        # range. By way of the lowest range, both hold at every step, whatever was set before.
        message = (
            f"{_STEADY};:SENS:CURR:RANG 1e-06;:SOUR:VOLT:RANG {number(setup.v_range_v)};"
            f":SENS:CURR:PROT {limit};:SENS:CURR:RANG {limit};:SENS:CURR:NPLC {number(setup.nplc)};"
            ":SOUR:VOLT:RANG?;:SENS:CURR:PROT?;:SENS:CURR:RANG?;:SENS:CURR:NPLC?"
        )
        answer = self.ask_checked(message)
        try:
            v_range_v, limit_a, i_range_a, nplc = map(float, answer.split(";"))
        except ValueError:
            raise self.wrong_answer(message, answer, "4 numbers") from None
        self.require_setup_taken(setup, v_range_v, limit_a, i_range_a, nplc)
        self._taken, self._level_v = Taken(v_range_v, limit_a, i_range_a), 0.0
        self._setup = setup

    def output(self, on: bool) -> None:
        self.ask_checked(f":SOUR:VOLT:LEV 0;:OUTP {'ON' if on else 'OFF'}")
        self._on, self._level_v = on, 0.0

    def hold(self, level_v: float) -> None:
        self.require_levels(level_v)
        self.ask_checked(f":SOUR:VOLT:LEV {number(level_v)}")
        self._level_v = level_v

    def held(self) -> Sweep:
        levels_v = np.array([self._level_v])
        return self._readings(":READ?", levels_v, self.timeout_s(1, 3 * self.ready.nplc))

    def sweep(self, levels_v: FloatArray) -> Sweep:
        self.require_sweep(levels_v)
        nplc = self.ready.nplc
        if levels_v.size == 1:
            message = f":SOUR:VOLT:LEV {number(levels_v[0])};:READ?;:SOUR:VOLT:LEV 0"
            return self._readings(message, levels_v, self.timeout_s(1, 3 * nplc))
        listed_v = np.append(levels_v, 0.0)
        count = listed_v.size
        self.load_list(listed_v.tolist())
        self.ask_checked(f":SOUR:VOLT:MODE LIST;:TRIG:COUN {count}")
        swept = self._readings(f":READ?;{_STEADY}", listed_v, self.timeout_s(count, 3 * nplc))
        return Sweep(swept.current_a[:-1], swept.limited[:-1], swept.overflow[:-1])

    def pulse(self, level_v: float, width_s: float, count: int = 1) -> bool:
        """Between pulses the level is 0 V for as long as a pulse. Whether one limits is seen at its end."""
        self.require_pulse(level_v, width_s, count)
        triggers = 2 * count  # which run through the list of two again and again
        delay_s = width_s - _POINT_s
        # Nothing is triggered before it is known that all this was taken: an old list would run.
        self.ask_checked(
            f":SOUR:LIST:VOLT {number(level_v)},0;:SOUR:VOLT:MODE LIST;:TRIG:COUN {triggers};"
            f":SOUR:DEL {number(delay_s)};:SYST:AZER:STAT OFF;:SENS:CURR:NPLC {number(_PULSE_NPLC)}"
        )
        swept = self._readings(
            f":READ?;{_STEADY};:SENS:CURR:NPLC {number(self.ready.nplc)}",
            np.tile([level_v, 0.0], count),
            self.timeout_s(triggers, _PULSE_NPLC, delay_s),
        )
        return bool(swept.limited[::2].any())

    def off_messages(self) -> tuple[str, ...]:
        return ":ABOR", ":SOUR:VOLT:MODE FIX;:SOUR:VOLT:LEV 0", ":OUTP OFF"

    def safe_off(self) -> None:
        self._setup, self._on, self._established = None, False, False
        self.try_each(
            self._transport.clear,
            *self.writing(self.off_messages()),
            self.clear_errors,
            self.require_off,
        )

    def _establish(self) -> None:
        """Settings that hold as long as nobody else changes them; after the way out, whoever did is overruled."""
        if not self._established:
            self.ask_checked(f":ROUT:TERM {self._terminals};{_SETTINGS}")
            self._established = True

    def _readings(self, message: str, levels_v: FloatArray, timeout_s: float) -> Sweep:
        sourced_v, current_a, status = self.ask_threes(message, levels_v.size, timeout_s)
        limited = status & (_COMPLIANCE | _RANGE_COMPLIANCE) != 0
        return self.readings(message, levels_v, sourced_v, current_a, limited, status & _OVERFLOW != 0)
