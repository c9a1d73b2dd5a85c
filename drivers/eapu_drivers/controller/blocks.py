"""Cells of an array as rectangles: a board reads blocks, and one request carries a limited number of codes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import Cells

# A gap of this many cells costs less to read over than another request: its row is driven anyway.
GAP_MAX = 16


@dataclass(frozen=True)
class Block:
    """A rectangle of cells: its first row and column, and how many of each."""

    row: int
    col: int
    rows: int
    cols: int


def blocks_of(cells: Cells, codes_max: int) -> Iterator[Block]:
    """Rectangles of at most `codes_max` cells that cover `cells`.

    The cells wanted of each row are joined over gaps of up to `GAP_MAX`, and neighbouring rows over equal columns;
    so whole arrays and row ranges take few blocks, and scattered cells about one block each.
    """
    if len(cells) == 0:
        return
    for row, rows, col, cols in _merged(cells):
        for first_col in range(col, col + cols, codes_max):
            width = min(codes_max, col + cols - first_col)
            height = codes_max // width
            for first_row in range(row, row + rows, height):
                yield Block(first_row, first_col, min(height, row + rows - first_row), width)


def _merged(cells: Cells) -> Iterator[tuple[int, int, int, int]]:
    """Rectangles (row, rows, col, cols) of any size."""
    open_: dict[tuple[int, int], tuple[int, int]] = {}  # (col, cols) -> (row, rows) that may still grow
    for row, col, cols in _segments(cells):
        for key in [key for key, (start, rows) in open_.items() if start + rows < row]:
            start, rows = open_.pop(key)
            yield start, rows, *key
        start, rows = open_.get((col, cols), (row, 0))
        open_[col, cols] = (start, rows + 1)
    for (col, cols), (start, rows) in open_.items():
        yield start, rows, col, cols


def _segments(cells: Cells) -> Iterator[tuple[int, int, int]]:
    """Pieces of rows (row, col, cols), by row and column."""
    order = np.lexsort((cells.col, cells.row))
    row, col = cells.row[order], cells.col[order]
    apart: NDArray[np.bool_] = (np.diff(row) != 0) | (np.diff(col) > GAP_MAX)
    first = np.concatenate(([0], np.flatnonzero(apart) + 1))
    last = np.concatenate((np.flatnonzero(apart), [row.size - 1]))
    yield from zip(
        row[first].tolist(), col[first].tolist(), (col[last] - col[first] + 1).tolist(), strict=True
    )
