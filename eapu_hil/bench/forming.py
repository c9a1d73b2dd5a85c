"""Forming: the first, one-way SET of each cell, and the map of cells that cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from eapu_hil.hal import Cells, CellStatus, Crossbar, FloatArray, Polarity, Pulses, StatusArray, Targets
from eapu_hil.hal.recipe import Recipe


@dataclass(frozen=True, eq=False)
class FormedCells:
    """Per cell, shape (n,): fresh conductance, voltage that formed it (NaN: none needed or none enough), after."""

    g_fresh_S: FloatArray
    v_form_v: FloatArray
    g_formed_S: FloatArray


def form(
    array: Crossbar,
    cells: Cells,
    recipe: Recipe,
    began: Callable[[FormedCells], None] = lambda _: None,
) -> FormedCells:
    """Ramps the forming amplitude over all cells side by side until each reads `form.g_formed_S`.

    A cell that conducts as much from the start gets no forming pulse. began: is given the result before the first
    pulse; its arrays then change with each reading, so that they tell what was done when forming is stopped.
    """
    law = recipe.form
    g_fresh_S = array.read(cells, recipe.v_read_v).g_S
    g_S, v_form_v = g_fresh_S.copy(), np.full(len(cells), np.nan)
    formed = FormedCells(g_fresh_S, v_form_v, g_S)
    began(formed)
    steps = round((law.amplitude.stop_v - law.amplitude.start_v) / law.amplitude.step_v)
    for step in range(steps + 1):
        open_cells = np.flatnonzero(g_S < law.g_formed_S)
        if open_cells.size == 0:
            break
        amplitude_v = min(law.amplitude.start_v + step * law.amplitude.step_v, law.amplitude.stop_v)
        chosen = cells[open_cells]
        array.pulse(Pulses.same(chosen, Polarity.FORM, amplitude_v, law.gate_v, law.width_s))
        g_S[open_cells] = array.read(chosen, recipe.v_read_v).g_S
        v_form_v[open_cells[g_S[open_cells] >= law.g_formed_S]] = amplitude_v
    return formed


def exercise(array: Crossbar, cells: Cells, recipe: Recipe) -> StatusArray:
    """Writes every cell to a high and then to the lowest state of the window: what both writes ended with.

    A cell that cannot do both is not worth a weight. The array is left in its low state.
    """
    high_S = recipe.g_min_S + 0.75 * (recipe.g_max_S - recipe.g_min_S)
    up = array.program(Targets(cells, np.full(len(cells), high_S)), recipe)
    down = array.program(Targets(cells, np.full(len(cells), recipe.g_min_S)), recipe)
    return np.where(down.status != CellStatus.OK, down.status, up.status)
