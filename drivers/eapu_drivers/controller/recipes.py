"""A recipe as the board takes it."""

from __future__ import annotations

from eapu_drivers.controller import messages
from eapu_hil.hal import UnsupportedError
from eapu_hil.hal.recipe import Recipe


def recipe_message(recipe: Recipe, id_: int, slot: int) -> messages.Recipe:
    """The part of `recipe` that the board needs; epochs and forming stay with the host.

    Raises UnsupportedError for a count that a message cannot carry.
    """
    up, down = recipe.set, recipe.reset
    return messages.Recipe(
        id=id_,
        slot=slot,
        rewrite_in_band=int(recipe.rewrite_in_band),
        pulses_max=_u16(recipe.pulses_max, "pulses_max"),
        flips_max=_u16(recipe.flips_max, "flips_max"),
        pulses_at_cap_max=_u16(recipe.pulses_at_cap_max, "pulses_at_cap_max"),
        g_min_S=recipe.g_min_S,
        g_max_S=recipe.g_max_S,
        band_S=recipe.band_S,
        v_read_v=recipe.v_read_v,
        set_gate_start_v=up.gate.start_v,
        set_gate_step_v=up.gate.step_v,
        set_gate_stop_v=up.gate.stop_v,
        set_gate_offset_v=up.gate_offset_v,
        set_gate_slope_S_per_v=up.gate_slope_S_per_v,
        set_start_v=up.amplitude.start_v,
        set_step_v=up.amplitude.step_v,
        set_stop_v=up.amplitude.stop_v,
        set_width_s=up.width_s,
        reset_gate_v=down.gate_v,
        reset_start_v=down.amplitude.start_v,
        reset_step_v=down.amplitude.step_v,
        reset_stop_v=down.amplitude.stop_v,
        reset_width_s=down.width_s,
        time_max_s=recipe.time_max_s,
    )


def _u16(value: int, key: str) -> int:
    most = 0xFFFF
    if value > most:
        raise UnsupportedError(
            f"recipe {key} of {value} asked; allowed is at most {most}, what a message carries"
        )
    return value
