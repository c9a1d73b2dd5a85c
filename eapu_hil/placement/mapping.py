"""Weights on arrays: each weight is a pair of cells, each layer a few tiles, each tile a part of one array.

A weight is `(g_plus - g_minus) * r_wg`, with the two cells of a pair in one row and two columns, so that the
difference of two column currents is the product. Tiles avoid bad cells: columns and rows with the fewest are
taken first, and what is left over is spare.
"""

from __future__ import annotations

import math
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
    Direction,
    FloatArray,
    IntArray,
    StatusArray,
)
from eapu_hil.hal.recipe import Recipe
from eapu_hil.network.finite import NotFiniteError
from eapu_hil.network.layers import Float32Array

# Vectors of 0 V in a batch of products: at least some, and one more for so many others.
ZERO_VECTORS = 8
VECTORS_PER_ZERO = 128


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


class ArrayWeights:
    """One layer's matrix as conductances: products run on the arrays, in the units of the network.

    r_wg: weight per siemens of differential conductance. v_in_max_v: the voltage that the largest input gets;
    inputs are scaled to it for each batch, so that the input converters use their range.

    Each batch ends with a few vectors of 0 V, which measure the offset of every line in the range in use; it is
    subtracted. Small as it is, an offset is the same for every pixel of a gradient and adds up over all of them.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        arrays: Sequence[Crossbar],
        tiles: Sequence[WeightTile],
        r_wg: float,
        v_in_max_v: float,
    ) -> None:
        self._shape = shape
        self._arrays = arrays
        self.tiles = tiles
        self._r_wg = r_wg
        self._v_in_max_v = v_in_max_v

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    @property
    def r_wg(self) -> float:
        return self._r_wg

    def forward(self, x: Float32Array) -> Float32Array:
        """`x @ W` on the arrays: rows are driven, the currents of each column pair subtracted."""
        v_v, weight_per_a = self._volts(x)
        y = np.zeros((x.shape[0], self._shape[1]), np.float32)
        for tile in self.tiles:
            columns = np.concatenate([tile.plus, tile.minus])
            array, half = self._arrays[tile.array], tile.plus.size
            driven_v = np.ascontiguousarray(v_v[:, tile.inputs])
            current_a = array.vmm(driven_v, Direction.FORWARD, tile.rows, columns)
            y[:, tile.outputs] += _without_offset(current_a[:, :half] - current_a[:, half:], len(x))
        y *= weight_per_a
        return y

    def backward(self, d: Float32Array) -> Float32Array:
        """`d @ W.T` on the arrays: column pairs are driven with opposite signs, rows measured."""
        v_v, weight_per_a = self._volts(d)
        x = np.zeros((d.shape[0], self._shape[0]), np.float32)
        for tile in self.tiles:
            columns = np.concatenate([tile.plus, tile.minus])
            driven_v = np.concatenate([v_v[:, tile.outputs], -v_v[:, tile.outputs]], axis=1)
            current_a = self._arrays[tile.array].vmm(driven_v, Direction.TRANSPOSED, columns, tile.rows)
            x[:, tile.inputs] += _without_offset(current_a, len(d))
        x *= weight_per_a
        return x

    def _volts(self, values: Float32Array) -> tuple[Float32Array, np.float32]:
        """Inputs as voltages with the vectors of 0 V behind them, and what a measured ampere stands for.

        Raises NotFiniteError for inputs that are not finite.
        """
        largest = float(max(values.max(initial=0.0), -values.min(initial=0.0)))
        if not math.isfinite(largest):
            raise NotFiniteError("a product was asked of numbers that are not finite")
        volt = self._v_in_max_v / largest if largest > 0 else 1.0
        zeros = ZERO_VECTORS + len(values) // VECTORS_PER_ZERO
        v_v = np.zeros((len(values) + zeros, values.shape[1]), np.float32)
        np.multiply(values, np.float32(volt), out=v_v[: len(values)])
        return v_v, np.float32(self._r_wg / volt)


def _without_offset(current_a: FloatArray, vectors: int) -> FloatArray:
    """The currents of the first `vectors` products, less the mean of those at 0 V behind them."""
    wanted = current_a[:vectors]
    wanted -= current_a[vectors:].mean(axis=0)
    return wanted


class HostBackward:
    """An `ArrayWeights` whose backward product uses the weights read back from the array (`backward: host`)."""

    def __init__(self, weights: ArrayWeights, matrix: Float32Array) -> None:
        self._weights = weights
        self.matrix = matrix

    @property
    def shape(self) -> tuple[int, int]:
        return self._weights.shape

    def forward(self, x: Float32Array) -> Float32Array:
        """`x @ W` on the arrays."""
        return self._weights.forward(x)

    def backward(self, d: Float32Array) -> Float32Array:
        """`d @ W.T` on the host."""
        return d @ self.matrix.T


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
