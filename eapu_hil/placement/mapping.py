"""Weights on arrays: each weight is a pair of cells, each layer a few tiles, each tile a part of one array.

A weight is `(g_plus - g_minus) * r_wg`, with the two cells of a pair in one row and two columns, so that the
difference of two column currents is the product. Tiles avoid bad cells: columns and rows with the fewest are
taken first, and what is left over is spare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import (
    Cells,
    CellStatus,
    ConfigError,
    Crossbar,
    FloatArray,
    IntArray,
    StatusArray,
)
from eapu_hil.hal.recipe import Recipe


@dataclass(frozen=True, eq=False)
class WeightTile:
    """Part of a layer's matrix on one array.

    rows: row line of each input, shape (inputs,). plus, minus: column lines of each output, shape (outputs,).
    first_in, first_out: where the tile starts in the layer's matrix.
    """

    array: int
    rows: IntArray
    plus: IntArray
    minus: IntArray
    first_in: int
    first_out: int

    def to_plain(self) -> dict[str, Any]:
        """For a JSON file; `from_plain` takes it back."""
        return {key: v.tolist() if isinstance(v, np.ndarray) else v for key, v in vars(self).items()}

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> WeightTile:
        """The inverse of `to_plain`."""
        lines = {key: np.array(data[key], dtype=np.int64) for key in ("rows", "plus", "minus")}
        return cls(**{**data, **lines})

    @property
    def inputs(self) -> slice:
        return slice(self.first_in, self.first_in + self.rows.size)

    @property
    def outputs(self) -> slice:
        return slice(self.first_out, self.first_out + self.plus.size)


@dataclass(eq=False)
class _Strip:
    """A set of columns of one array and the rows of it that are still free."""

    array: int
    columns: IntArray
    free_rows: IntArray


def cell_cost(array: Crossbar, status: StatusArray, recipe: Recipe) -> FloatArray:
    """The cost of placing a weight on each cell, shape (rows, columns), read now: 0 for a good cell.

    status: of each cell, the same shape. A bad cell costs more, the more it conducts beyond what its partner could
    balance.
    """
    g_S = array.read(Cells.all(array.shape), recipe.v_read_v).g_S.reshape(array.shape)
    return np.where(
        status != CellStatus.OK, 1.0 + np.abs(g_S - recipe.g_min_S) / (recipe.g_max_S - recipe.g_min_S), 0.0
    )


def place(layers: Mapping[str, tuple[int, int]], costs: Sequence[FloatArray]) -> dict[str, list[WeightTile]]:
    """Places the matrices of `layers` (name: (n_in, n_out)) on arrays.

    costs: one map (rows, columns) an array, 0 for a good cell, larger for a worse one. Large matrices go first;
    a matrix that is too tall or too wide for one array is cut into equal parts.
    Returns the tiles of each layer. Raises ConfigError when they do not fit.
    """
    n_rows, n_columns = costs[0].shape
    if n_columns < 2:
        raise ConfigError(
            f"the network does not fit: arrays of {n_rows} x {n_columns} have no pair of columns for a weight"
        )
    free_columns = [np.arange(n_columns) for _ in costs]
    strips: list[_Strip] = []
    placed: dict[str, list[WeightTile]] = {name: [] for name in layers}
    parts = [
        (name, first_in, height, first_out, width)
        for name, (n_in, n_out) in layers.items()
        for first_in, height in _cuts(n_in, n_rows)
        for first_out, width in _cuts(n_out, n_columns // 2)
    ]
    for name, first_in, height, first_out, width in sorted(parts, key=lambda part: -part[2] * part[4]):
        strip = _find_strip(strips, height, 2 * width) or _new_strip(free_columns, costs, 2 * width)
        if strip is None:
            needed = ", ".join(f"{layer} {n_in} x {2 * n_out}" for layer, (n_in, n_out) in layers.items())
            raise ConfigError(
                f"the network does not fit: its cells ({needed}) need more columns than {len(costs)} "
                f"array(s) of {n_rows} x {n_columns} have; use fewer channels or more arrays"
            )
        if strip not in strips:
            strips.append(strip)
        cost = costs[strip.array]
        columns = strip.columns[: 2 * width]
        worst_last = np.argsort(cost[np.ix_(strip.free_rows, columns)].sum(axis=1), kind="stable")
        rows = np.sort(strip.free_rows[worst_last[:height]])
        strip.free_rows = np.setdiff1d(strip.free_rows, rows)
        placed[name].append(WeightTile(strip.array, rows, columns[0::2], columns[1::2], first_in, first_out))
    return placed


def _cuts(length: int, largest: int) -> list[tuple[int, int]]:
    """(start, size) of the fewest nearly equal parts no longer than `largest`."""
    edges = np.linspace(0, length, -(-length // largest) + 1).round().astype(int)
    return [(int(a), int(b - a)) for a, b in pairwise(edges)]


def _find_strip(strips: Sequence[_Strip], height: int, width: int) -> _Strip | None:
    """The strip with the least room to spare that still takes a tile of height x width."""
    fitting = [strip for strip in strips if strip.columns.size >= width and strip.free_rows.size >= height]
    return min(fitting, key=lambda strip: strip.columns.size * strip.free_rows.size, default=None)


def _new_strip(free_columns: list[IntArray], costs: Sequence[FloatArray], width: int) -> _Strip | None:
    """Takes the best `width` free columns of the first array that has as many."""
    for array, free in enumerate(free_columns):
        if free.size >= width:
            order = np.argsort(costs[array][:, free].sum(axis=0), kind="stable")
            columns = np.sort(free[order[:width]])
            free_columns[array] = np.setdiff1d(free, columns)
            return _Strip(array, columns, np.arange(costs[array].shape[0]))
    return None


def cell_indices(
    shape: tuple[int, int], tiles: Sequence[WeightTile], columns: int
) -> tuple[NDArray[np.int16], IntArray, IntArray]:
    """Array number and flat index of the plus and minus cell of each weight, all of shape `shape`.

    columns: column count of an array (flat indices are row * columns + column).
    """
    array = np.zeros(shape, np.int16)
    plus, minus = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for tile in tiles:
        where = (tile.inputs, tile.outputs)
        array[where] = tile.array
        plus[where] = tile.rows[:, None] * columns + tile.plus
        minus[where] = tile.rows[:, None] * columns + tile.minus
    return array, plus, minus
