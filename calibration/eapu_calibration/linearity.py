"""Converters line by line: offset and noise of the lines that are measured, linearity of both kinds of lines.

At 0 V a measured line shows its offset and its noise. A ramp of all driven lines together shows how far its current
bends away from a straight line; a ramp of one driven line alone, seen by all measured lines at once, how far that
line's voltage does. What the cells themselves bend is in both: `iv` tells how much that is.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat
from scipy import stats

from eapu_calibration.measurement import Progress, Result, Settings
from eapu_calibration.statistics import CONFIDENCE, Estimate
from eapu_hil.hal import Cells, Crossbar, Direction, FloatArray, Targets
from eapu_hil.hal.recipe import Recipe

LEVEL = 0.25  # of the window: what the cells are written to, so that every line carries a current


class LinearitySettings(Settings):
    """v_in_v: ends of the ramps, +-. steps: of a ramp. zeros: vectors of 0 V. repeats: of a ramp, averaged."""

    v_in_v: PositiveFloat
    steps: Annotated[int, Field(ge=5)]
    zeros: Annotated[int, Field(ge=16)]
    repeats: Annotated[int, Field(ge=1)]


def measure_linearity(
    array: Crossbar,
    cells: Cells,
    recipe: Recipe,
    settings: LinearitySettings,
    rng: np.random.Generator,
    progress: Progress,
) -> Result:
    """Writes `cells` to one level and measures ramps in both directions. Overwrites them.

    Values, for each direction: of each measured line `offset_a` and `noise_sd_a` in the range that nothing but 0 V is
    measured in, with intervals, and `bend`, the largest distance of its ramp to a straight line, of what it spans;
    `driven_bend`, the same of the voltage of each driven line; 0 for a line that carries nothing. Noise is in a
    bend, too.
    """
    g_S = recipe.g_min_S + LEVEL * (recipe.g_max_S - recipe.g_min_S)
    spread_S = rng.permutation(np.linspace(0.5, 1.5, len(cells))) * g_S
    array.program(Targets(cells, spread_S.clip(recipe.g_min_S, recipe.g_max_S)), recipe)
    ramp_v = np.linspace(-settings.v_in_v, settings.v_in_v, settings.steps)
    values: dict[str, Any] = {}
    arrays: dict[str, NDArray[Any]] = {"ramp_v": ramp_v}
    for number, direction in enumerate(Direction):
        lines = array.shape[0] if direction is Direction.FORWARD else array.shape[1]
        zero_a = array.vmm(np.zeros((settings.zeros, lines)), direction)
        together_v = np.repeat(ramp_v[:, None], lines, axis=1)
        together_a = np.mean([array.vmm(together_v, direction) for _ in range(settings.repeats)], axis=0)
        alone_a = np.zeros((settings.steps, lines))
        for line in range(lines):
            alone_v = np.zeros((settings.steps, lines))
            alone_v[:, line] = ramp_v
            # All that the line drives, added up: the noise of each converter counts little.
            for _ in range(settings.repeats):
                alone_a[:, line] += array.vmm(alone_v, direction).sum(axis=1) / settings.repeats
            progress((number + (line + 1) / lines) / 2)
        residual_a, bend = _bent(ramp_v, together_a)
        values[direction.value] = {
            **_at_rest(zero_a),
            "bend": bend,
            "driven_bend": _bent(ramp_v, alone_a)[1],
        }
        arrays |= {
            f"{direction.value}_together_a": together_a,
            f"{direction.value}_alone_a": alone_a,
            f"{direction.value}_residual_a": residual_a,
        }
    return Result(values, arrays)


def _at_rest(zero_a: NDArray[np.floating]) -> dict[str, Any]:
    """Mean and sd of each line over vectors of 0 V, with intervals by Student and by chi-squared."""
    count = len(zero_a)
    mean, sd = zero_a.mean(axis=0), zero_a.std(axis=0, ddof=1)
    reach = stats.t.ppf(0.5 + CONFIDENCE / 2, count - 1) * sd / np.sqrt(count)
    low, high = np.sqrt((count - 1) / stats.chi2.ppf([0.5 + CONFIDENCE / 2, 0.5 - CONFIDENCE / 2], count - 1))
    return {
        "offset_a": Estimate(mean, mean - reach, mean + reach).plain(),
        "noise_sd_a": Estimate(sd, low * sd, high * sd).plain(),
    }


def _bent(ramp_v: FloatArray, current_a: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Residuals of each column to its straight line, and the largest of them by what the line spans (0 if nothing)."""
    design = np.column_stack([np.ones(ramp_v.size), ramp_v])
    coefficients = np.linalg.lstsq(design, current_a, rcond=None)[0]
    residual_a = current_a - design @ coefficients
    spans_a = np.abs(coefficients[1]) * float(np.ptp(ramp_v))
    largest_a = np.abs(residual_a).max(axis=0)
    return residual_a, np.divide(largest_a, spans_a, out=np.zeros_like(largest_a), where=spans_a > 0)
