"""Keysight B2900 series, in SCPI; one object a channel.

Messages are those of its command reference (2011) and of drivers that others use. Put together from them, and not run
on an instrument: the pulsed sweep of equal levels, and messages with a query inside.

There is no *RST, so that opening one channel leaves the other alone; every setting that matters is made by hand.
`:OUTP:PROT` is off: it would take the output away for good when a pulse touches the compliance, and what is measured
after it would be an open line. The compliance limits as well without it, and is a status of each reading.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from eapu_drivers.visa.instrument import ScpiInstrument, number, require_range
from eapu_drivers.visa.smu.base import LINE_HZ, SAFE_s
from eapu_drivers.visa.smu.contract import Abilities, Setup, Sweep, Taken
from eapu_drivers.visa.smu.state import NOT_A_NUMBER, AskedMeter, StateQueries
from eapu_drivers.visa.transport import Transport
from eapu_hil.hal import ConfigError, FloatArray, InstrumentError

_V_RANGES_V = (0.2, 2.0, 20.0, 200.0)
_OVER_RANGE = 1.05  # a source range sources so much of its name
_I_MOST_A = ((6.0, 3.03), (21.0, 1.515), (210.0, 0.105))  # with levels up to so many volts
_PULSE_MAX_V = 200.0
_LIST_A_COMMAND = 100
_APERTURE_MIN_s = 8e-6
_APERTURE_OF_PULSE = 0.2  # of its width, near its end
_APERTURE_MAX_NPLC = 0.01
# Of the status element: compliance, and over-voltage and over-current, which end in the same; overflow of the range.
_LIMITED, _OVERFLOW = 0b1111 << 1, 1 << 13

_Asked = tuple[str, str, float]  # what it is, the query for it, the value that was sent


class KeysightB2900(AskedMeter, ScpiInstrument):
    """One channel. Pulses are timed by the instrument, 50 us and longer, in steps of 1 us."""

    family = "Keysight B2900"
    models = re.compile(r"B29(0[12]|1[0-2])[AB]L?")
    channels = ("1", "2")
    abilities = Abilities(
        v_max_v=210.0,
        i_limit_min_a=1e-9,
        i_limit_max_a=3.03,
        pulse_min_s=50e-6,
        pulse_max_s=100_000.0,
        points_max=2499,  # and the 0 V that ends a list
    )
    nplc = (4e-4, 100.0)

    def __init__(self, transport: Transport, channel: str = "1") -> None:
        """Puts the channel to 0 V and off. Raises ConfigError for a channel that the model does not have.

        transport: two objects for the two channels of one instrument may share it.
        """
        super().__init__(transport)
        self.require_channel(channel)
        if channel == "2" and self.identity.model[4] != "2":
            raise ConfigError(f"{self.name}: channel '2' asked; a {self.identity.model} has one")
        self.name += f", channel {channel}"
        self._c = c = channel
        self._fixed = False  # sources a fixed level, not pulses or a list
        # level, width and count of the pulses that are prepared, as read back
        self._prepared: tuple[float, float, int] | None = None
        self.state_queries = StateQueries(
            output=f":OUTP{c}?",
            function=f":SOUR{c}:FUNC:MODE?",
            level=f":SOUR{c}:VOLT?",
            v_range=f":SOUR{c}:VOLT:RANG?",
            limit=f":SENS{c}:CURR:PROT?",
            i_range=f":SENS{c}:CURR:RANG?",
            four_wires=f":SENS{c}:REM?",
        )
        self._establish("*CLS;")

    def _establish(self, before: str = "") -> None:
        """Output off, and settings that hold as long as nobody else changes them."""
        c = self._c
        source, sense, output = f":SOUR{c}", f":SENS{c}", f":OUTP{c}"
        self.send(f"{before}:ABOR (@{c});{output} OFF;{source}:FUNC:MODE VOLT;{self._steady()}")
        self.send(
            f"{source}:FUNC:TRIG:CONT OFF;{source}:SWE:RANG FIX;{source}:SWE:SPAC LIN;{source}:SWE:STA SING;"
            f"{source}:WAIT ON;:ARM{c}:ALL:SOUR AINT;:ARM{c}:ALL:COUN 1;:ARM{c}:ALL:DEL 0;"
            f":TRIG{c}:ALL:SOUR AINT;:TRIG{c}:ALL:TIM MIN;:TRIG{c}:TRAN:DEL 0"
        )
        self.send(f'{sense}:FUNC:OFF:ALL;{sense}:FUNC:ON "CURR";{sense}:REM OFF;{sense}:WAIT ON')
        self.send(f"{output}:ON:AUTO OFF;{output}:OFF:AUTO OFF;{output}:PROT OFF")
        self.send(":FORM ASC;:FORM:ELEM:SENS CURR,STAT,SOUR")
        self._established = True

    def set_up(self, setup: Setup) -> None:
        self.require_setup(setup)
        most_a = next(most_a for up_to_v, most_a in _I_MOST_A if setup.v_range_v <= up_to_v)
        with_levels = f"a compliance, with levels up to {number(setup.v_range_v)} V,"
        require_range(self.name, with_levels, setup.i_limit_a, self.abilities.i_limit_min_a, most_a, "A")
        self._setup, c, limit = None, self._c, number(setup.i_limit_a)
        if not self._established:
            self._establish()
        range_v = next(one for one in _V_RANGES_V if setup.v_range_v <= _OVER_RANGE * one)
        self.send(
            f"{self._steady()};:SOUR{c}:VOLT:RANG:AUTO OFF;:SOUR{c}:VOLT:RANG {number(range_v)};"
            f":SENS{c}:CURR:PROT {limit};:SENS{c}:CURR:RANG:AUTO OFF;:SENS{c}:CURR:RANG {limit};"
            f":SENS{c}:CURR:APER:AUTO OFF;:SENS{c}:CURR:NPLC {number(setup.nplc)}"
        )
        message = f":SOUR{c}:VOLT:RANG?;:SENS{c}:CURR:PROT?;:SENS{c}:CURR:RANG?;:SENS{c}:CURR:NPLC?"
        v_taken_v, limit_a, i_taken_a, nplc = self.ask_each(message, 4)
        self.require_setup_taken(replace(setup, v_range_v=range_v), v_taken_v, limit_a, i_taken_a, nplc)
        self._taken, self._level_v = Taken(v_taken_v, limit_a, i_taken_a), 0.0
        self._setup, self._fixed = setup, True

    def output(self, on: bool) -> None:
        self.send(f"{self._again()}:SOUR{self._c}:VOLT 0;:OUTP{self._c} {'ON' if on else 'OFF'}")
        self._on, self._level_v = on, 0.0

    def hold(self, level_v: float) -> None:
        self.require_levels(level_v)
        self.send(f"{self._again()}:SOUR{self._c}:VOLT {number(level_v)}")
        self._level_v = level_v

    def held(self) -> Sweep:
        levels_v = np.array([self._level_v])
        return self._measured(self._again(), ":MEAS?", levels_v, self.timeout_s(1, self.ready.nplc))

    def ask_states(self, queries: Sequence[str]) -> list[str]:
        message = ";".join(queries)
        answers = self.ask_tied(message, checked=False).split(";")
        if len(answers) != len(queries):
            raise self.wrong_answer(message, ";".join(answers), f"{len(queries)} answers")
        return answers

    def sweep(self, levels_v: FloatArray) -> Sweep:
        self.require_sweep(levels_v)
        c, nplc = self._c, self.ready.nplc
        if levels_v.size == 1:
            before = f"{self._again()}:SOUR{c}:VOLT {number(levels_v[0])};"
            return self._measured(
                before, ":MEAS?", levels_v, self.timeout_s(1, nplc), after=f";:SOUR{c}:VOLT 0"
            )
        listed_v = np.append(levels_v, 0.0)
        self._prepare_list(listed_v.tolist())
        swept = self._measured("", ":READ:ARR?", listed_v, self.timeout_s(listed_v.size, nplc))
        return Sweep(swept.current_a[:-1], swept.limited[:-1], swept.overflow[:-1])

    def pulse(self, level_v: float, width_s: float, count: int = 1) -> bool:
        """Its currents are measured near the end of each pulse. Pulses like those before are not sent again, but read
        back: those in the instrument may be another program's by now.
        """
        self.require_pulse(level_v, width_s, count)
        require_range(self.name, "a pulse", level_v, -_PULSE_MAX_V, _PULSE_MAX_V, "V")
        self._prepare_pulses(level_v, width_s, count)
        timeout_s = self.timeout_s(count, _APERTURE_MAX_NPLC, 2 * width_s)
        return bool(self._measured("", ":READ:ARR?", np.full(count, level_v), timeout_s).limited.any())

    def off_messages(self) -> tuple[str, ...]:
        c = self._c
        return f":ABOR (@{c})", self._steady(), f":OUTP{c} OFF"

    def safe_off(self) -> None:
        self._setup = None
        self._on = self._established = False
        self.try_each(
            self._transport.clear,
            *self.writing(self.off_messages()),
            self.clear_errors,
            self._require_off,
        )

    def _steady(self) -> str:
        """Settings: no pulses, no list, 0 V. What is prepared no longer holds."""
        self._prepared, self._fixed, source = None, False, f":SOUR{self._c}"
        return f"{source}:FUNC:SHAP DC;{source}:VOLT:MODE FIX;{source}:VOLT 0"

    def _again(self) -> str:
        """Commands that must precede a level after pulses or a list; they go with the next message."""
        if self._fixed or self._setup is None:
            return ""
        steady, self._fixed = self._steady(), True
        return f"{steady};:SENS{self._c}:CURR:NPLC {number(self._setup.nplc)};"

    def _prepare_list(self, levels_v: Sequence[float]) -> None:
        c, count = self._c, len(levels_v)
        first, *rest = [
            ",".join(map(number, levels_v[start : start + _LIST_A_COMMAND]))
            for start in range(0, count, _LIST_A_COMMAND)
        ]
        before = self._again()
        self._fixed = False
        arm = (
            f":SOUR{c}:VOLT:MODE LIST;:TRIG{c}:ALL:COUN {count};:TRIG{c}:ACQ:DEL 0;:SOUR{c}:LIST:VOLT {first}"
        )
        self.write(f"{before}{arm}")
        for more in rest:
            self.write(f":SOUR{c}:LIST:VOLT:APP {more}")
        asked = [
            ("levels", f":SOUR{c}:LIST:VOLT:POIN?", count),
            ("triggers", f":TRIG{c}:TRAN:COUN?", count),
            ("readings", f":TRIG{c}:ACQ:COUN?", count),
        ]
        self._require_taken(arm, asked)

    def _prepare_pulses(self, level_v: float, width_s: float, count: int) -> None:
        c = self._c
        aperture_s = max(min(_APERTURE_OF_PULSE * width_s, _APERTURE_MAX_NPLC / LINE_HZ), _APERTURE_MIN_s)
        asked = [
            ("pulse width, s", f":SOUR{c}:PULS:WIDT", width_s),
            ("first pulse, V", f":SOUR{c}:VOLT:STAR", level_v),
            ("last pulse, V", f":SOUR{c}:VOLT:STOP", level_v),
            ("pulses", f":SOUR{c}:SWE:POIN", count),
            ("aperture, s", f":SENS{c}:CURR:APER", aperture_s),
        ]
        settings = ";".join(f"{header} {number(value)}" for _, header, value in asked)
        message = (
            f":SOUR{c}:VOLT 0;:SOUR{c}:FUNC:SHAP PULS;:SOUR{c}:VOLT:MODE SWE;:SOUR{c}:PULS:DEL 0;{settings};"
            f":TRIG{c}:ALL:COUN {count};:TRIG{c}:ACQ:DEL {number(width_s - 1.5 * aperture_s)}"
        )
        if self._prepared != (level_v, width_s, count):
            self._prepared, self._fixed = None, False
            self.write(message)
        taken = [(what, f"{header}?", value) for what, header, value in asked]
        self._require_taken(message, [*taken, ("triggers", f":TRIG{c}:TRAN:COUN?", count)])
        self._prepared = (level_v, width_s, count)

    def _require_taken(self, message: str, asked: Sequence[_Asked]) -> None:
        """Reads back what `message` has set, before anything is triggered. The instrument's own word comes first."""
        answers = self.ask_each(";".join(query for _, query, _ in asked), len(asked))
        try:
            for (what, _, value), taken in zip(asked, answers, strict=True):
                self.require_taken(what, value, taken)
        except InstrumentError:
            self.check_errors(message)
            raise

    def _measured(
        self, before: str, query: str, levels_v: FloatArray, timeout_s: float, after: str = ""
    ) -> Sweep:
        """Readings, and with them whether the output is still on: one that has tripped would read as no current."""
        message = f"{before}{query} (@{self._c});:OUTP{self._c}?{after}"
        answer = self.ask_tied(message, timeout_s, checked=False)
        readings, _, state = answer.partition(";")
        try:
            values = np.array([float(value) for value in readings.split(",")])
        except ValueError:
            values = np.zeros(0)
        if values.size != 3 * levels_v.size or not np.isfinite(values).all() or state not in ("0", "1"):
            raise self.wrong_answer(message, answer, f"{3 * levels_v.size} numbers; 0 or 1")
        self.check_errors(message)
        if state == "0":
            raise InstrumentError(0, "the output is off, so nothing was measured", message, self.name)
        current_a, sourced_v = values[::3], values[2::3]
        status = np.where(values[1::3] < NOT_A_NUMBER, values[1::3], 0).astype(np.int64)
        limited, overflow = (status & _LIMITED) != 0, status & _OVERFLOW != 0
        return self.readings(message, levels_v, sourced_v, current_a, limited, overflow)

    def _require_off(self) -> None:
        message = f":OUTP{self._c}?;:SOUR{self._c}:VOLT?"
        answer = self.ask(message, SAFE_s)
        if re.fullmatch(r"0;[+-]?0*(\.0*)?(E[+-]?\d+)?", answer.strip()) is None:
            raise self.wrong_answer(message, answer, "0;0: the output is still on, or not at 0 V")
