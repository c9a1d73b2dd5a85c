"""Classifies the cells that cannot be written, and tells faults of lines from faults of cells.

An open line carries no current: all its cells read next to nothing, whatever was asked. The cells of a shorted line all
conduct more than was asked. A cell can do either by itself, but hardly a whole line of them: with a tenth of the cells
stuck at random, 8 cells of a line all are with a probability of 1e-8. So a line on which `LINE_SHARE` of the cells are
stuck one way is itself at fault; the rest allows for readings disturbed by noise and for the lines that cross it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import CellStatus, FloatArray, StatusArray
from eapu_hil.hal.recipe import Recipe

LINE_SHARE = 0.9
ARRAY_SHARE = 0.5  # with more of the whole array stuck one way, its lines are not told apart


class CellFault(IntEnum):
    """Why a cell cannot be written."""

    NONE = 0
    STUCK_HIGH = 1
    STUCK_LOW = 2  # which a cell that does not form is too
    OFF_TARGET = 3  # it moves, but does not end in the band
    OPEN_LINE = 4
    SHORTED_LINE = 5


@dataclass(frozen=True, eq=False)
class FaultyCells:
    """of_cells: `CellFault`, (rows, columns). The others: indices of lines."""

    of_cells: NDArray[np.uint8]
    open_rows: list[int]
    open_columns: list[int]
    shorted_rows: list[int]
    shorted_columns: list[int]

    def counts(self) -> dict[str, int]:
        """Cells of each fault, by its name in small letters."""
        return {
            fault.name.lower(): int((self.of_cells == fault).sum())
            for fault in CellFault
            if fault is not CellFault.NONE
        }

    def lines(self) -> dict[str, list[int]]:
        """The lines at fault, by kind."""
        return {name: value for name, value in vars(self).items() if name != "of_cells"}


def classify(status: StatusArray, g_formed_S: FloatArray, g_low_S: FloatArray, recipe: Recipe) -> FaultyCells:
    """The fault of each cell, from what forming and exercise left; all arrays (rows, columns).

    status: what the writes ended with. g_formed_S: read after forming, S. g_low_S: read at the end, when the lowest
    state had been asked of all cells, S.
    """
    bad = status != CellStatus.OK
    high = bad & (g_low_S > (recipe.g_min_S + recipe.g_max_S) / 2)
    unmoved = ((status & CellStatus.STUCK) != 0) | (g_formed_S < recipe.form.g_formed_S)
    low = bad & ~high & unmoved
    of_cells = np.full(status.shape, CellFault.NONE, np.uint8)
    of_cells[bad] = CellFault.OFF_TARGET
    of_cells[high] = CellFault.STUCK_HIGH
    of_cells[low] = CellFault.STUCK_LOW
    shorted, opened = _lines(high), _lines(low)
    for (rows, columns), fault, stuck in (
        (shorted, CellFault.SHORTED_LINE, high),
        (opened, CellFault.OPEN_LINE, low),
    ):
        on_line = np.zeros(status.shape, np.bool_)
        on_line[rows, :] = True
        on_line[:, columns] = True
        of_cells[on_line & stuck] = fault
    return FaultyCells(of_cells, *opened, *shorted)


def _lines(stuck: NDArray[np.bool_]) -> tuple[list[int], list[int]]:
    """Rows and columns on which nearly all cells are stuck."""
    if stuck.mean() > ARRAY_SHARE:
        return [], []
    rows, columns = (np.flatnonzero(stuck.mean(axis=axis) >= LINE_SHARE).tolist() for axis in (1, 0))
    return rows, columns
