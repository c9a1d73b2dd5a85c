"""Keithley 2600B series, in TSP; one object a channel.

Names are those of its manual, pulses follow the vendor's example of a pulsed sweep by trigger timers. Put together from
them, and not run on an instrument: everything in `eapu.lua`, which is loaded into it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from eapu_drivers.visa.instrument import TspInstrument, number
from eapu_drivers.visa.smu.base import SAFE_s
from eapu_drivers.visa.smu.contract import Abilities, Setup, SourceMeter, Sweep, Taken
from eapu_drivers.visa.smu.state import AskedMeter, StateQueries
from eapu_drivers.visa.smu.tsp_verify import TspVerify
from eapu_drivers.visa.transport import Transport
from eapu_hil.hal import ConfigError, FloatArray, InstrumentError

SCRIPT = "eapu_tools"
_LEVELS_A_MESSAGE = 50


class Keithley2600B(AskedMeter, TspInstrument):
    """One channel. Pulses are timed by the instrument, 100 us and longer."""

    family = "Keithley 2600B"
    models = re.compile(r"26[0-3][124-6]B")
    channels = ("a", "b")
    abilities = Abilities(
        v_max_v=200.0,
        i_limit_min_a=1e-9,
        i_limit_max_a=1.5,
        pulse_min_s=100e-6,
        pulse_max_s=10_000.0,
        points_max=10_000,
    )
    nplc = (0.001, 25.0)

    def __init__(self, transport: Transport, channel: str = "a") -> None:
        """Resets the channel: output off, 0 V. Raises ConfigError for one that the model does not have."""
        super().__init__(transport)
        self.require_channel(channel)
        if channel == "b" and self.identity.model[3] in "15":
            raise ConfigError(f"{self.name}: channel 'b' asked; a {self.identity.model} has one")
        self.name += f", channel {channel}"
        self.smu = smu = f"smu{channel}"
        self.state_queries = StateQueries(
            output=f"{smu}.source.output",
            function=f"{smu}.source.func",
            level=f"{smu}.source.levelv",
            v_range=f"{smu}.source.rangev",
            limit=f"{smu}.source.limiti",
            i_range=f"{smu}.measure.rangei",
            four_wires=f"{smu}.sense",
            voltage=1.0,  # smuX.OUTPUT_DCVOLTS
        )
        self.send("errorqueue.clear() format.asciiprecision = 10")
        self._establish()
        self.load(
            SCRIPT, resources.files("eapu_drivers.visa.smu").joinpath("eapu.lua").read_text(encoding="utf-8")
        )

    def _establish(self) -> None:
        """Output off, 0 V, and settings that hold as long as nobody else changes them."""
        smu = self.smu
        self.send(
            f"{smu}.reset() {smu}.source.func = {smu}.OUTPUT_DCVOLTS {smu}.sense = {smu}.SENSE_LOCAL "
            f"{smu}.source.autorangev = {smu}.AUTORANGE_OFF {smu}.measure.autorangei = {smu}.AUTORANGE_OFF"
        )
        self._established = True

    def load(self, name: str, source: str) -> None:
        """Loads a script and runs it once; an older one of the same name is deleted first."""
        self.write(f'if {name} ~= nil then script.delete("{name}") end')
        self.send(f"loadscript {name}\n{source.rstrip()}\nendscript")
        self.send(f"{name}()")

    def set_up(self, setup: Setup) -> None:
        self.require_setup(setup)
        self._setup, smu = None, self.smu
        if not self._established:
            self._establish()
        limit = number(setup.i_limit_a)
        message = (
            f"{smu}.source.levelv = 0 {smu}.source.rangev = {number(setup.v_range_v)} {smu}.source.limiti = {limit} "
            f"{smu}.measure.rangei = {limit} {smu}.measure.nplc = {number(setup.nplc)} "
            f"print({smu}.source.rangev, {smu}.source.limiti, {smu}.measure.rangei, {smu}.measure.nplc, "
            "errorqueue.count)"
        )
        *taken, errors = self.ask_numbers(message, 5)
        self.require_no_errors(message, errors)
        v_range_v, limit_a, i_range_a, nplc = taken
        self.require_setup_taken(setup, v_range_v, limit_a, i_range_a, nplc)
        self._taken, self._level_v = Taken(v_range_v, limit_a, i_range_a), 0.0
        self._setup = setup

    def output(self, on: bool) -> None:
        state = f"{self.smu}.OUTPUT_{'ON' if on else 'OFF'}"
        self._do(f"{self.smu}.source.levelv = 0 {self.smu}.source.output = {state}")
        self._on, self._level_v = on, 0.0

    def hold(self, level_v: float) -> None:
        self.require_levels(level_v)
        self._do(f"{self.smu}.source.levelv = {number(level_v)}")
        self._level_v = level_v

    def held(self) -> Sweep:
        return self._one_reading("", np.array([self._level_v]), "")

    def ask_states(self, queries: Sequence[str]) -> list[str]:
        return self.ask_tied("", ", ".join(queries))

    def sweep(self, levels_v: FloatArray) -> Sweep:
        self.require_sweep(levels_v)
        smu, nplc = self.smu, self.ready.nplc
        if levels_v.size == 1:
            level = number(levels_v[0])
            return self._one_reading(f"{smu}.source.levelv = {level} ", levels_v, f"{smu}.source.levelv = 0 ")
        rows: list[float] = []
        for first in range(0, levels_v.size, _LEVELS_A_MESSAGE):
            part = levels_v[first : first + _LEVELS_A_MESSAGE]
            tied = self.next_number()
            message = f"eapu_sweep({smu}, {{{', '.join(map(number, part))}}}, {part.size}, {tied})"
            count = 3 * part.size + 3
            *threes, on, errors, told = self.ask_numbers(message, count, self.timeout_s(part.size, nplc))
            self.require_own_answer(tied, str(told), message, f"... {told}")
            self.require_done(message, on, errors)
            rows += threes
        values = np.array(rows).reshape(-1, 3)
        return self._sweep("eapu_sweep", levels_v, values[:, 2], values[:, 0], values[:, 1] != 0)

    def pulse(self, level_v: float, width_s: float, count: int = 1) -> bool:
        self.require_pulse(level_v, width_s, count)
        call = f"eapu_pulse({self.smu}, {number(level_v)}, {number(width_s)}, {count})"
        values = f"{call} and 1 or 0, {self.smu}.source.output"
        hit, on = self._numbers("", values, 2, self.timeout_s(count, 0.001, 2 * width_s))
        self.require_done(call, on, 0)
        return bool(hit)

    def off_messages(self) -> tuple[str, ...]:
        smu = self.smu
        return f"{smu}.abort()", f"{smu}.source.levelv = 0", f"{smu}.source.output = {smu}.OUTPUT_OFF"

    def safe_off(self) -> None:
        self._setup = None
        self._on = self._established = False
        self.try_each(
            self._transport.clear,
            *self.writing(self.off_messages()),
            self.clear_errors,
            self._require_off,
        )

    def verifier(self, gate: SourceMeter) -> TspVerify | None:
        """Write-verify in the instrument, where `gate` is its other channel."""
        if isinstance(gate, Keithley2600B) and gate._transport is self._transport:
            return TspVerify(self, self.smu, gate.smu)
        return None

    def require_done(self, message: str, on: float, errors: float) -> None:
        """For messages that end in output state and error count: a tripped output would read as no current."""
        self.require_no_errors(message, errors)
        if on != 1:
            raise InstrumentError(0, "the output is off, so nothing was measured", message, self.name)

    def _do(self, statements: str) -> None:
        message = f"{statements} print(errorqueue.count)"
        self.require_no_errors(message, self.ask_numbers(message, 1)[0])

    def _one_reading(self, before: str, levels_v: FloatArray, after: str) -> Sweep:
        smu = self.smu
        statements = (
            f"{before}local i = {smu}.measure.i() local c = {smu}.source.compliance and 1 or 0 "
            f"local v = {smu}.source.levelv {after}"
        )
        timeout_s = self.timeout_s(1, self.ready.nplc)
        current_a, limited, sourced_v, on = self._numbers(
            statements, f"i, c, v, {smu}.source.output", 4, timeout_s
        )
        self.require_done(statements, on, 0)
        return self._sweep(
            statements, levels_v, np.array([sourced_v]), np.array([current_a]), np.array([limited != 0])
        )

    def _numbers(self, before: str, values: str, count: int, timeout_s: float) -> list[float]:
        told = self.ask_tied(before, values, timeout_s)
        try:
            found = [float(one) for one in told]
        except ValueError:
            found = []
        if len(found) != count:
            raise self.wrong_answer(f"{before}print({values})", "\t".join(told), f"{count} numbers")
        return found

    def _sweep(
        self,
        message: str,
        levels_v: FloatArray,
        sourced_v: FloatArray,
        current_a: FloatArray,
        limited: NDArray[np.bool_],
    ) -> Sweep:
        overflow = np.zeros(current_a.size, np.bool_)
        return self.readings(message, levels_v, sourced_v, current_a, limited, overflow)

    def _require_off(self) -> None:
        message = f"print({self.smu}.source.output)"
        answer = self.ask(message, SAFE_s)
        try:
            off = float(answer) == 0.0
        except ValueError:
            off = False
        if not off:
            raise self.wrong_answer(message, answer, "0: the output is still on")
