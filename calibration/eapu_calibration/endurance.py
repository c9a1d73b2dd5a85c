"""Endurance: full SET and RESET cycles of cells that are set aside for it, until they fail or the cycles are done.

It wears the cells out, so no plan of the package has it, and the cells are named one by one: never drawn.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt

from eapu_calibration.measurement import Progress, Result, Settings
from eapu_calibration.statistics import bootstrap, share
from eapu_hil.hal import Cells, CellStatus, Crossbar, FloatArray, IntArray, Polarity, Pulses
from eapu_hil.hal.recipe import Recipe

LEAST_RATIO = 2.0  # of the high to the low state; a cell with less has failed


class EnduranceSettings(Settings):
    """cells: row and column of each that may be lost. cycles: how many. looks_per_decade: when they are read."""

    cells: Annotated[list[tuple[NonNegativeInt, NonNegativeInt]], Field(min_length=1)]
    cycles: PositiveInt
    looks_per_decade: PositiveInt = 3

    def chosen(self) -> Cells:
        """The cells that are named."""
        row, col = np.array(self.cells).T
        return Cells(row, col)


def measure_endurance(
    array: Crossbar,
    cells: Cells,
    recipe: Recipe,
    settings: EnduranceSettings,
    rng: np.random.Generator,
    progress: Progress,
) -> Result:
    """Cycles `cells` with the recipe's strongest pulses and reads both states on a logarithmic schedule.

    Values, by `cycles`: `g_high_S` and `g_low_S`, medians over the cells, with intervals; `failed`, the share of cells
    whose high state was at some look less than twice the low one, with interval. `cycles_to_failure`: of each cell,
    null for those that lasted. Array `failed`: the cells that did not. A cell that failed is pulsed no more.
    """
    looks = _schedule(settings.cycles, settings.looks_per_decade)
    gate_v = recipe.set.gate_offset_v + recipe.g_max_S / recipe.set.gate_slope_S_per_v
    gate_v = float(np.clip(gate_v, recipe.set.gate.start_v, recipe.set.gate.stop_v))
    high_S, low_S = np.full((2, looks.size, len(cells)), np.nan)
    lasted = np.zeros(len(cells))
    alive = np.ones(len(cells), np.bool_)
    done = 0
    for number, cycles in enumerate(looks):
        chosen = cells[alive]
        up = Pulses.same(chosen, Polarity.SET, recipe.set.amplitude.stop_v, gate_v, recipe.set.width_s)
        down = Pulses.same(
            chosen, Polarity.RESET, recipe.reset.amplitude.stop_v, recipe.reset.gate_v, recipe.reset.width_s
        )
        while len(chosen) and done < cycles:
            array.pulse(up)
            done += 1
            if done == cycles:
                high_S[number] = _read_S(array, cells, recipe)
            array.pulse(down)
            if done % 100 == 0:
                progress(done / settings.cycles)
        low_S[number] = _read_S(array, cells, recipe)
        if not len(chosen):
            high_S[number] = low_S[number]  # nothing was pulsed since
        # A cell that reads beyond the range conducts more than any low state.
        ratio = high_S[number] / np.maximum(low_S[number], 1e-9)
        alive &= ratio >= LEAST_RATIO
        lasted[alive] = cycles
        done = int(cycles)
    progress(1.0)
    failed_by = lasted[None, :] < looks[:, None]
    values: dict[str, Any] = {
        "cycles": looks,
        "g_high_S": bootstrap(np.median, high_S, rng).plain() if len(cells) > 1 else None,
        "g_low_S": bootstrap(np.median, low_S, rng).plain() if len(cells) > 1 else None,
        "failed": [share(int(row.sum()), row.size).plain() for row in failed_by],
        "cycles_to_failure": [None if ok else int(last) for ok, last in zip(alive, lasted, strict=True)],
    }
    arrays: dict[str, NDArray[Any]] = {
        "row": cells.row,
        "col": cells.col,
        "high_S": high_S,
        "low_S": low_S,
        "failed": ~alive,
    }
    return Result(values, arrays)


def _schedule(cycles: int, per_decade: int) -> IntArray:
    count = int(np.ceil(np.log10(cycles) * per_decade)) + 1
    return np.unique(np.geomspace(1, cycles, max(count, 2)).round().astype(np.int64))


def _read_S(array: Crossbar, cells: Cells, recipe: Recipe) -> FloatArray:
    """Conductances; the top of the range where a cell reads beyond it."""
    reading = array.read(cells, recipe.v_read_v)
    beyond = (reading.status != CellStatus.OK) & ~np.isfinite(reading.g_S)
    return np.where(beyond, recipe.g_max_S, reading.g_S)
