"""Keithley 2450, in its SCPI command set.

Messages are those of its manual (section 6; the blocks of the trigger model from the 2461's, which has them too). Put
together from them, and not run on an instrument: several queries in one message; a trigger model of one's own over the
list that `:SOUR:LIST:VOLT` makes. That list is used because its levels are not sourced while it is made: to store the
present settings into another list, each level would have to be at the terminals first.

The current range comes before the limit: a change of range that does not fit moves the limit, with no more than a
warning, which is not in the error queue.
"""

from __future__ import annotations

import re

import numpy as np

from eapu_drivers.visa.instrument import number, require_range
from eapu_drivers.visa.smu.base import LINE_HZ
from eapu_drivers.visa.smu.contract import Abilities, Setup, Sweep, Taken
from eapu_drivers.visa.smu.keithley_scpi import KeithleyScpi
from eapu_drivers.visa.smu.state import StateQueries
from eapu_drivers.visa.transport import Transport
from eapu_hil.hal import ConfigError, FloatArray, InstrumentError

_V_RANGES_V = (0.02, 0.2, 2.0, 20.0, 200.0)
_I_RANGES_A = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_OVER_RANGE = 1.05  # a range sources, measures and limits so much of its name
_HIGH_V, _HIGH_A = 21.0, 0.105  # above 21 V it can do no more
_PULSE_NPLC = 0.01
_BUFFER, _LIST = '"defbuffer1"', '"VoltCustomSweepList"'
_ELEMENTS = "SOUR, READ, SOURSTAT"
_SETTINGS = (
    ':SOUR:FUNC VOLT;:SENS:FUNC "CURR";:SENS:CURR:RSEN OFF;:SENS:CURR:AZER OFF;'
    ":SOUR:VOLT:READ:BACK OFF;:SOUR:VOLT:DEL 0"
)
_LIMITED, _OUTPUT = 1 << 5, 1 << 7  # of the source status of a reading
_AUTOZERO_NPLC = 2  # zero and reference, on top of a reading


class Keithley2450(KeithleyScpi):
    """The one channel of a 2450. Pulses are timed by the trigger model; each ends with a reading of 0.01 line periods.

    What recalling a level and a reading take besides is not known here, and lengthens a pulse: put it on an
    oscilloscope before widths below 10 ms are trusted. The converter's zero is taken at `set_up`, not with every
    reading.
    """

    family = "Keithley 2450"
    models = re.compile(r"2450(-\w+)*")
    abilities = Abilities(
        v_max_v=210.0,
        i_limit_min_a=1.06e-9,  # 10.6 % of the lowest range
        i_limit_max_a=1.05,
        pulse_min_s=1e-3,
        pulse_max_s=9999.0,
        points_max=2499,  # and the 0 V that ends a list
    )
    nplc = (0.01, 10.0)
    state_queries = StateQueries(
        output=":OUTP?",
        function=":SOUR:FUNC?",
        level=":SOUR:VOLT?",
        v_range=":SOUR:VOLT:RANG?",
        limit=":SOUR:VOLT:ILIM?",
        i_range=":SENS:CURR:RANG?",
        four_wires=":SENS:CURR:RSEN?",
        sense=":SENS:FUNC?",
    )

    def __init__(self, transport: Transport, channel: str = "") -> None:
        """Resets the instrument: output off, 0 V. Raises ConfigError where it speaks another command set.

        The terminals, front or rear, stay those that were chosen.
        """
        super().__init__(transport)
        self.require_channel(channel)
        language = self.ask("*LANG?").strip()
        if language != "SCPI":
            raise ConfigError(
                f"{self.name}: its command set is {language}; send *LANG SCPI, or choose SCPI in its menu, "
                "and restart it"
            )
        terminals = self.ask(":ROUT:TERM?").strip()
        if terminals not in ("FRON", "REAR"):
            raise self.wrong_answer(":ROUT:TERM?", terminals, "FRON or REAR")
        self.send("*RST;*CLS")
        self._terminals, self._established = terminals, True
        self.ask_checked(f":ROUT:TERM {terminals};{_SETTINGS}")

    def set_up(self, setup: Setup) -> None:
        self.require_setup(setup)
        v_range_v, i_range_a = _range(_V_RANGES_V, setup.v_range_v), _range(_I_RANGES_A, setup.i_limit_a)
        if v_range_v > _HIGH_V:
            what = f"a compliance, with levels beyond {number(_HIGH_V)} V,"
            require_range(self.name, what, setup.i_limit_a, self.abilities.i_limit_min_a, _HIGH_A, "A")
        self._setup = None
        self._establish()
        message = (
            f":SOUR:VOLT 0;:SOUR:VOLT:RANG {number(v_range_v)};:SENS:CURR:RANG {number(i_range_a)};"
            f":SOUR:VOLT:ILIM {number(setup.i_limit_a)};:SENS:CURR:NPLC {number(setup.nplc)};:SENS:AZER:ONCE;"
            ":SOUR:VOLT:RANG?;:SOUR:VOLT:ILIM?;:SENS:CURR:RANG?;:SENS:CURR:NPLC?"
        )
        answer = self.ask_checked(message, self.timeout_s(_AUTOZERO_NPLC, setup.nplc))
        try:
            v_taken_v, limit_a, i_taken_a, nplc = map(float, answer.split(";"))
        except ValueError:
            raise self.wrong_answer(message, answer, "4 numbers") from None
        self.require_setup_taken(setup, _OVER_RANGE * v_taken_v, limit_a, _OVER_RANGE * i_taken_a, nplc)
        self._taken, self._level_v = Taken(v_taken_v, limit_a, i_taken_a), 0.0
        self._setup = setup

    def output(self, on: bool) -> None:
        self.ask_checked(f":SOUR:VOLT 0;:OUTP {'ON' if on else 'OFF'}")
        self._on, self._level_v = on, 0.0

    def hold(self, level_v: float) -> None:
        self.require_levels(level_v)
        self.ask_checked(f":SOUR:VOLT {number(level_v)}")
        self._level_v = level_v

    def held(self) -> Sweep:
        levels_v = np.array([self._level_v])
        return self._readings(f":READ? {_BUFFER}, {_ELEMENTS}", levels_v, self.timeout_s(1, self.ready.nplc))

    def sweep(self, levels_v: FloatArray) -> Sweep:
        self.require_sweep(levels_v)
        nplc = self.ready.nplc
        if levels_v.size == 1:
            message = f":SOUR:VOLT {number(levels_v[0])};:READ? {_BUFFER}, {_ELEMENTS};:SOUR:VOLT 0"
            return self._readings(message, levels_v, self.timeout_s(1, nplc))
        listed_v = np.append(levels_v, 0.0)
        count = listed_v.size
        self.load_list(listed_v.tolist())
        self.ask_checked(
            _model(
                f"BUFF:CLE 1, {_BUFFER}",
                f"CONF:REC 2, {_LIST}, 1",
                "BRAN:ALW 3, 5",
                f"CONF:NEXT 4, {_LIST}",
                f"MEAS 5, {_BUFFER}",
                f"BRAN:COUN 6, {count}, 4",
            )
        )
        swept = self._run(listed_v, self.timeout_s(count, nplc))
        return Sweep(swept.current_a[:-1], swept.limited[:-1], swept.overflow[:-1])

    def pulse(self, level_v: float, width_s: float, count: int = 1) -> bool:
        """Between pulses the level is 0 V for as long as a pulse. Whether one limits is seen at its end.

        List and trigger model are sent anew each time: those in the instrument may be another program's by now.
        """
        self.require_pulse(level_v, width_s, count)
        self._arm(level_v, width_s, count)
        fast, slow = (f":SENS:CURR:NPLC {number(nplc)}" for nplc in (_PULSE_NPLC, self.ready.nplc))
        timeout_s = self.timeout_s(count, _PULSE_NPLC, 2 * width_s)
        levels_v = np.full(count, level_v)
        return bool(self._run(levels_v, timeout_s, before=f"{fast};", after=f";{slow}").limited.any())

    def off_messages(self) -> tuple[str, ...]:
        return ":ABOR", ":SOUR:VOLT 0", ":OUTP OFF"

    def safe_off(self) -> None:
        self._setup, self._on, self._established = None, False, False
        self.try_each(
            self._transport.clear,
            *self.writing(self.off_messages()),
            self.clear_errors,
            self.require_off,
        )

    def _arm(self, level_v: float, width_s: float, count: int) -> None:
        """Nothing is triggered before it is known that all this was taken: an old model would run."""
        blocks = [
            f"BUFF:CLE 1, {_BUFFER}",
            f"CONF:REC 2, {_LIST}, 1",
            f"DEL:CONS 3, {number(width_s - _PULSE_NPLC / LINE_HZ)}",
            f"MEAS 4, {_BUFFER}",
            f"CONF:REC 5, {_LIST}, 2",
        ]
        if count > 1:
            blocks += [f"DEL:CONS 6, {number(width_s)}", f"BRAN:COUN 7, {count}, 2"]
        self.ask_checked(f":SOUR:LIST:VOLT {number(level_v)},0;{_model(*blocks)}")

    def _establish(self) -> None:
        """Settings that hold as long as nobody else changes them; after the way out, whoever did is overruled."""
        if not self._established:
            self.ask_checked(f":ROUT:TERM {self._terminals};{_SETTINGS}")
            self._established = True

    def _run(self, levels_v: FloatArray, timeout_s: float, before: str = "", after: str = "") -> Sweep:
        """Runs the trigger model, which makes a reading at each of these levels."""
        data = f":TRAC:DATA? 1, {levels_v.size}, {_BUFFER}, {_ELEMENTS}"
        return self._readings(f"{before}:INIT;*WAI;{data}{after}", levels_v, timeout_s)

    def _readings(self, message: str, levels_v: FloatArray, timeout_s: float) -> Sweep:
        sourced_v, current_a, status = self.ask_threes(message, levels_v.size, timeout_s)
        if not (status & _OUTPUT).all():
            raise InstrumentError(0, "the output is off, so nothing was measured", message, self.name)
        limited, overflow = (status & _LIMITED) != 0, np.zeros(levels_v.size, np.bool_)
        return self.readings(message, levels_v, sourced_v, current_a, limited, overflow)


def _model(*blocks: str) -> str:
    """The messages that make a trigger model of these blocks."""
    return ";".join((':TRIG:LOAD "Empty"', *(f":TRIG:BLOC:{block}" for block in blocks)))


def _range(ranges: tuple[float, ...], value: float) -> float:
    """The lowest range that holds `value`."""
    return next(one for one in ranges if _OVER_RANGE * one * (1 + 1e-9) >= value)
