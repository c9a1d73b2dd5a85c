"""Write-verify inside a 2600B: the whole loop of a cell for one short message. The loop is in `eapu.lua`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from eapu_drivers.visa.instrument import number
from eapu_drivers.visa.smu.contract import CellWrite, Setup
from eapu_hil.hal import InstrumentError
from eapu_hil.hal.recipe import Recipe

_WRONG = {
    0: "an output has gone off, or the gate leaks",
    2: "a limit was not taken",
    3: "a reading was no number",
}
_BESIDES_s = 5.0  # of the timeout, beside what the recipe allows


class Script(Protocol):
    """The instrument that runs the script. name: its name in messages."""

    name: str

    def send(self, message: str) -> None: ...

    def ask_numbers(self, message: str, count: int, timeout_s: float) -> list[float]: ...

    def next_number(self) -> int: ...

    def require_own_answer(self, number: int, told: str, message: str, answer: str) -> None: ...

    def require_no_errors(self, message: str, count: float) -> None: ...


class TspVerify:
    """A `Verifier`. source, gate: names of the channels at the cell and at its gate, `smua` and `smub`."""

    def __init__(self, script: Script, source: str, gate: str) -> None:
        self._script = script
        self._source, self._gate = source, gate
        self._sent: str | None = None  # the recipe that the instrument has

    def write(
        self, g_target_S: float, recipe: Recipe, read: Setup, pulse: Setup, gate_read_v: float
    ) -> CellWrite:
        """One epoch of `recipe` on the cell that is connected; source and gate are on, at 0 V before and after."""
        statement = f"eapu_recipe = {{{lua_fields(recipe_fields(recipe, read, pulse, gate_read_v))}}}"
        if statement != self._sent:
            self._sent = None
            self._script.send(statement)
            self._sent = statement
        tied = self._script.next_number()
        message = f"eapu_write({self._source}, {self._gate}, {number(g_target_S)}, {tied})"
        *found, state, errors, told = self._script.ask_numbers(message, 9, recipe.time_max_s + _BESIDES_s)
        self._script.require_own_answer(tied, str(told), message, f"... {told}")
        self._script.require_no_errors(message, errors)
        if state != 1:
            what = _WRONG.get(round(state), f"state {state}")
            raise InstrumentError(0, f"{what}: the cell is not written", message, self._script.name)
        before_S, after_S, pulses, reads, energy_j, status = found
        return CellWrite(before_S, after_S, round(pulses), round(reads), energy_j, round(status))


def recipe_fields(
    recipe: Recipe, read: Setup, pulse: Setup, gate_read_v: float
) -> Mapping[str, float | bool]:
    """The fields of a recipe that `eapu.lua` uses, by their names there; SI units."""
    up, down = recipe.set, recipe.reset
    return {
        "band": recipe.band_S,
        "v_read": recipe.v_read_v,
        "pulses_max": recipe.pulses_max,
        "flips_max": recipe.flips_max,
        "pulses_at_cap_max": recipe.pulses_at_cap_max,
        "time_max": recipe.time_max_s,
        "rewrite_in_band": recipe.rewrite_in_band,
        "set_gate_offset": up.gate_offset_v,
        "set_gate_slope": up.gate_slope_S_per_v,
        "set_gate_start": up.gate.start_v,
        "set_gate_step": up.gate.step_v,
        "set_gate_stop": up.gate.stop_v,
        "set_start": up.amplitude.start_v,
        "set_step": up.amplitude.step_v,
        "set_stop": up.amplitude.stop_v,
        "set_width": up.width_s,
        "reset_gate": down.gate_v,
        "reset_start": down.amplitude.start_v,
        "reset_step": down.amplitude.step_v,
        "reset_stop": down.amplitude.stop_v,
        "reset_width": down.width_s,
        "read_range": read.v_range_v,
        "read_limit": read.i_limit_a,
        "pulse_range": pulse.v_range_v,
        "pulse_limit": pulse.i_limit_a,
        "read_gate": gate_read_v,
    }


def lua_fields(fields: Mapping[str, float | bool]) -> str:
    """The inside of a Lua table."""
    return ", ".join(f"{name} = {_lua(value)}" for name, value in fields.items())


def _lua(value: float | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(float(value))  # every digit: decisions are the host's to the last bit
