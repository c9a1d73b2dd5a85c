"""Gate voltage to SET conductance: where a SET of full strength from the lowest state ends, by gate voltage.

The access transistor limits the current of a SET, so the gate sets the conductance it ends at, but never below the
state it began at: voltages that lead no higher than a RESET ends say nothing of the transistor. The order of the gate
voltages is drawn anew for each repeat, so that wear and drift do not look like the curve.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from eapu_calibration.measurement import Progress, Result, Settings
from eapu_calibration.statistics import bootstrap
from eapu_hil.hal import Cells, CellStatus, Crossbar, FloatArray, HilError, Polarity, Pulses
from eapu_hil.hal.recipe import Recipe

CELLS_MIN = 20
RESETS = 3  # one leaves a cell wherever its spread takes it, up to half of the window; the next begin there


class GateCurveSettings(Settings):
    """cells: how many. steps: gate voltages, evenly over the recipe's ramp. repeats: SETs of each cell at each."""

    cells: PositiveInt
    steps: Annotated[int, Field(ge=4)]
    repeats: Annotated[int, Field(ge=2)]


def measure_gate_curve(
    array: Crossbar,
    cells: Cells,
    recipe: Recipe,
    settings: GateCurveSettings,
    rng: np.random.Generator,
    progress: Progress,
) -> Result:
    """RESETs and SETs `cells` with the recipe's strongest pulses at each gate voltage. Overwrites them.

    Values, by gate voltage: `g_S`, mean over the cells; `cell_sd_S`, sd of the cells' means (cycle-to-cycle part taken
    off); `cycle_sd_S`, root mean square over the cells of the sd of their repeats. `slope_S_per_v` and `threshold_v` of
    the straight line through the means inside the recipe's window and above `g_reset_S`, below which 95 of 100 RESETs
    end. With intervals. Raises HilError when fewer than 20 cells can be read, or fewer than 3 gate voltages lead into
    the window.
    """
    gate_v = np.linspace(recipe.set.gate.start_v, recipe.set.gate.stop_v, settings.steps)
    g_S = np.full((settings.repeats, settings.steps, len(cells)), np.nan)
    lowest_S = np.full_like(g_S, np.nan)
    lower = Pulses.same(
        cells,
        Polarity.RESET,
        recipe.reset.amplitude.stop_v,
        recipe.reset.gate_v,
        recipe.reset.width_s,
        RESETS,
    )
    done = 0
    for number, repeat in enumerate(g_S):
        for step in rng.permutation(settings.steps):
            array.pulse(lower)
            lowest_S[number, step] = array.read(cells, recipe.v_read_v).g_S
            array.pulse(
                Pulses.same(
                    cells, Polarity.SET, recipe.set.amplitude.stop_v, float(gate_v[step]), recipe.set.width_s
                )
            )
            reading = array.read(cells, recipe.v_read_v)
            repeat[step] = np.where(reading.status == CellStatus.OK, reading.g_S, np.nan)
            done += 1
            progress(done / (settings.repeats * settings.steps))
    usable = np.isfinite(g_S).all(axis=(0, 1))
    if usable.sum() < CELLS_MIN:
        raise HilError(
            f"{array.identity.serial}: only {int(usable.sum())} cells could be read after every SET; {CELLS_MIN} are "
            "needed. Does the gate's ramp end beyond the range of a reading?"
        )
    mean_S, cycle_S2 = g_S[:, :, usable].mean(axis=0), g_S[:, :, usable].var(axis=0, ddof=1)
    g_reset_S = float(np.nanpercentile(lowest_S[:, :, usable], 95))
    inside = (mean_S.mean(axis=1) >= max(recipe.g_min_S, g_reset_S)) & (mean_S.mean(axis=1) <= recipe.g_max_S)
    if inside.sum() < 3:
        raise HilError(
            f"{array.identity.serial}: only {int(inside.sum())} of the {settings.steps} gate voltages lead into the "
            "window of the recipe; 3 are needed. Take more steps, or another ramp (recipe.set.gate)"
        )
    line = bootstrap(_Line(gate_v[inside]), mean_S[inside], rng).plain()
    values: dict[str, Any] = {
        "gate_v": gate_v,
        "cells": int(usable.sum()),
        "g_reset_S": g_reset_S,
        "g_S": bootstrap(np.mean, mean_S, rng).plain(),
        "cell_sd_S": bootstrap(_CellSd(settings.repeats), np.stack([mean_S, cycle_S2]), rng).plain(),
        "cycle_sd_S": bootstrap(_root_mean, cycle_S2, rng).plain(),
        "slope_S_per_v": {end: ends[0] for end, ends in line.items()},
        "threshold_v": {end: ends[1] for end, ends in line.items()},
    }
    arrays: dict[str, NDArray[Any]] = {
        "row": cells.row,
        "col": cells.col,
        "usable": usable,
        "g_S": g_S,
        "lowest_S": lowest_S,
    }
    return Result(values, arrays)


def _root_mean(squares: FloatArray, axis: int = -1) -> FloatArray:
    return np.asarray(np.sqrt(np.mean(squares, axis=axis)))


class _CellSd:
    """sd of the cells' true means: the variance of the measured means less what the cycles leave in them."""

    def __init__(self, repeats: int) -> None:
        self._repeats = repeats

    def __call__(self, sample: FloatArray, axis: int = -1) -> FloatArray:
        between = np.var(sample[0], axis=axis, ddof=1) - np.mean(sample[1], axis=axis) / self._repeats
        return np.asarray(np.sqrt(np.maximum(between, 0.0)))


class _Line:
    """Slope, and where the line meets 0 S, of the means over the cells against the gate voltage."""

    def __init__(self, gate_v: FloatArray) -> None:
        self._middle_v = float(gate_v.mean())
        self._weights = (gate_v - gate_v.mean()) / np.square(gate_v - gate_v.mean()).sum()

    def __call__(self, g_S: FloatArray, axis: int = -1) -> FloatArray:
        means = np.mean(g_S, axis=axis)
        slope = np.tensordot(self._weights, means, axes=1)
        return np.stack([slope, self._middle_v - means.mean(axis=0) / slope])
