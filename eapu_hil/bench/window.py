"""The window of a recipe: between which conductances targets may lie."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import FloatArray
from eapu_hil.hal.recipe import Recipe

_ROUNDING = 1e-6  # of a limit: a text file holds so many digits
_IN_SIEMENS = {"siemens": 1.0, "mS": 1e-3, "uS": 1e-6, "nS": 1e-9}


def outside_window(g_target_S: FloatArray, recipe: Recipe) -> NDArray[np.bool_]:
    """True for each target, of shape (n,), that lies outside the window of the recipe, and for NaN."""
    low_S, high_S = recipe.g_min_S * (1 - _ROUNDING), recipe.g_max_S * (1 + _ROUNDING)
    return ~((g_target_S >= low_S) & (g_target_S <= high_S))


def window_text(recipe: Recipe) -> str:
    """The window, as messages show it."""
    return f"the recipe's window of {1e6 * recipe.g_min_S:.6g} to {1e6 * recipe.g_max_S:.6g} uS (g_min_S, g_max_S)"


def unit_hint(number: float, unit: str, recipe: Recipe) -> str:
    """A question, where a target that lies outside the window would lie inside in another unit; else nothing."""
    for other, factor in _IN_SIEMENS.items():
        if other != unit and not outside_window(np.array([factor * number]), recipe)[0]:
            return f"; is it in {other}? Here targets are in {unit}"
    return ""
