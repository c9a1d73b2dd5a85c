"""Forming: the first, one-way SET of each cell, and the map of cells that cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eapu_hil.bench.array import BenchArray
from eapu_hil.bench.forming_record import FormingRecord
from eapu_hil.hal import Cells, CellStatus, Crossbar, FloatArray, Polarity, Pulses, StatusArray, Targets
from eapu_hil.hal.recipe import Recipe


@dataclass(frozen=True, eq=False)
class FormedCells:
    """Per cell, shape (n,): fresh conductance, voltage that formed it (NaN: none needed or none enough), after."""

    g_fresh_S: FloatArray
    v_form_v: FloatArray
    g_formed_S: FloatArray

    @classmethod
    def fresh(cls, g_S: FloatArray) -> FormedCells:
        """Of cells that read `g_S` and got no pulse yet."""
        return cls(g_S, np.full(g_S.shape, np.nan), g_S.copy())


def form(
    array: Crossbar,
    cells: Cells,
    recipe: Recipe,
    began: Callable[[FormedCells], None] = lambda _: None,
    *,
    again: bool = False,
    tell: Callable[[int], None] = lambda _: None,
) -> FormedCells:
    """Ramps the forming amplitude over all cells side by side until each reads `form.g_formed_S`.

    A cell that conducts as much from the start gets no forming pulse. On an open bench no cell that the passport knows
    as formed gets one either, unless `again` says so; the passport notes what was formed, also when this is cut short.
    began: is given the result before the first pulse; its arrays then change with each reading, so that they tell what
        was done when forming is stopped.
    tell: is told, after each amplitude, how many cells get no further pulse.
    Raises ConfigError, before a pulse, where cells are not fresh and the passport does not know them.
    """
    law = recipe.form
    g_fresh_S = array.read(cells, recipe.v_read_v).g_S
    found = FormedCells.fresh(g_fresh_S)
    if not isinstance(array, BenchArray) or array.forming is None:
        began(found)
        return _ramped(array, cells, recipe, found, g_fresh_S < law.g_formed_S, tell)
    record = array.forming
    allowed = record.cells_to_form(cells, g_fresh_S, array.pulses(cells), recipe, again=again)
    began(found)
    if allowed.any():
        record.begin(cells[allowed])
    try:
        return _ramped(array, cells, recipe, found, allowed, tell)
    finally:
        record.finish(cells, found.v_form_v, found.g_fresh_S, found.g_formed_S, law.g_formed_S)


def note_formed(array: BenchArray, record: FormingRecord, cells: Cells, recipe: Recipe) -> FormedCells:
    """Notes in the passport that `cells` were formed elsewhere, or under another passport. No cell is pulsed."""
    found = FormedCells.fresh(array.read(cells, recipe.v_read_v).g_S)
    record.note(cells, found.g_formed_S)
    return found


def _ramped(
    array: Crossbar,
    cells: Cells,
    recipe: Recipe,
    found: FormedCells,
    allowed: NDArray[np.bool_],
    tell: Callable[[int], None],
) -> FormedCells:
    """`found`, filled in while the cells that are `allowed` to are formed."""
    law, g_S = recipe.form, found.g_formed_S
    steps = round((law.amplitude.stop_v - law.amplitude.start_v) / law.amplitude.step_v)
    for step in range(steps + 1):
        open_cells = np.flatnonzero(allowed & ~(g_S >= law.g_formed_S))
        tell(len(cells) - open_cells.size)
        if open_cells.size == 0:
            break
        amplitude_v = min(law.amplitude.start_v + step * law.amplitude.step_v, law.amplitude.stop_v)
        chosen = cells[open_cells]
        array.pulse(Pulses.same(chosen, Polarity.FORM, amplitude_v, law.gate_v, law.width_s))
        g_S[open_cells] = array.read(chosen, recipe.v_read_v).g_S
        found.v_form_v[open_cells[g_S[open_cells] >= law.g_formed_S]] = amplitude_v
    return found


def exercise(array: Crossbar, cells: Cells, recipe: Recipe) -> StatusArray:
    """Writes every cell to a high and then to the lowest state of the window: what both writes ended with.

    A cell that cannot do both is not worth a weight. The array is left in its low state.
    """
    high_S = recipe.g_min_S + 0.75 * (recipe.g_max_S - recipe.g_min_S)
    up = array.program(Targets(cells, np.full(len(cells), high_S)), recipe)
    down = array.program(Targets(cells, np.full(len(cells), recipe.g_min_S)), recipe)
    return np.where(down.status != CellStatus.OK, down.status, up.status)
