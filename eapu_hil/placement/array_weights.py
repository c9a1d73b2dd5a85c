"""Products with a matrix that lies on arrays (`eapu_hil.placement.mapping`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eapu_hil.bench.wide import BenchArrays
from eapu_hil.hal import Direction, IntArray, ProductRequest
from eapu_hil.network.finite import NotFiniteError
from eapu_hil.network.layers import Float32Array
from eapu_hil.placement.mapping import WeightTile

# Vectors of 0 V in a batch of products: at least some, and one more for so many others.
ZERO_VECTORS = 8
VECTORS_PER_ZERO = 128
_BLOCK = 32768  # numbers of a product that a processor keeps at hand, with the currents that they come from


# For which lines of a product currents are, with those at 0 V behind them, and their sign.
_Signed = tuple[slice, NDArray[np.floating], int]


@dataclass(frozen=True, eq=False)
class _Block:
    """Tiles of one size, as they lie in the matrix: k parts of its inputs, m of its outputs.

    tiles: k rows of m. rows, columns: lines of each, (k, m, lines), the two columns of a pair side by side; None where
    all arrays are used whole.
    """

    tiles: list[list[WeightTile]]
    arrays: IntArray
    rows: IntArray | None
    columns: IntArray | None

    @classmethod
    def of(cls, tiles: Sequence[WeightTile], shape: tuple[int, int]) -> _Block:
        """tiles: of one size, one for each pair of a part of the inputs and one of the outputs. shape: of an array."""
        grid: dict[int, list[WeightTile]] = {}
        for tile in sorted(tiles, key=lambda tile: (tile.first_in, tile.first_out)):
            grid.setdefault(tile.first_in, []).append(tile)
        rows = np.array([[tile.rows for tile in line] for line in grid.values()])
        columns = np.array([[_columns(tile) for tile in line] for line in grid.values()])
        return cls(
            list(grid.values()),
            np.array([[tile.array for tile in line] for line in grid.values()]),
            None if _are_all(rows, shape[0]) else rows,
            None if _are_all(columns, shape[1]) else columns,
        )

    def forward(self, x: Float32Array, volt: np.float32) -> ProductRequest:
        """The products of inputs (batch, n_in), of which `volt` stands for 1."""
        driven_v = _at_rest(len(self.tiles), len(x), self.tiles[0][0].rows.size)
        for at, (tile, *_) in enumerate(self.tiles):
            np.multiply(x[:, tile.inputs], volt, out=driven_v[at, : len(x)])
        return ProductRequest(self.arrays, driven_v, Direction.FORWARD, self.rows, self.columns)

    def backward(self, d: Float32Array, volt: np.float32) -> ProductRequest:
        """The products of (batch, n_out) with the transpose: the two columns of a pair get opposite voltages."""
        driven_v = _at_rest(len(self.tiles[0]), len(d), 2 * self.tiles[0][0].plus.size)
        for at, tile in enumerate(self.tiles[0]):
            plus, minus = driven_v[at, : len(d), 0::2], driven_v[at, : len(d), 1::2]
            np.multiply(d[:, tile.outputs], volt, out=plus)
            np.negative(plus, out=minus)
        columns, rows = (
            None if lines is None else lines.swapaxes(0, 1) for lines in (self.columns, self.rows)
        )
        return ProductRequest(self.arrays.T, driven_v, Direction.TRANSPOSED, columns, rows)


class ArrayWeights:
    """One layer's matrix as conductances: products run on the arrays, in the units of the network.

    r_wg: weight per siemens of differential conductance. v_in_max_v: the voltage that the largest input gets;
    inputs are scaled to it for each batch, so that the input converters use their range.

    Each batch ends with a few vectors of 0 V, which measure the offset of every line in the range in use; it is
    subtracted. Small as it is, an offset is the same for every pixel of a gradient and adds up over all of them.
    All tiles are asked in one request.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        arrays: BenchArrays,
        tiles: Sequence[WeightTile],
        r_wg: float,
        v_in_max_v: float,
    ) -> None:
        self._shape = shape
        self._arrays = arrays
        self._r_wg = r_wg
        self._v_in_max_v = v_in_max_v
        self.move(tiles)

    def move(self, tiles: Sequence[WeightTile]) -> None:
        """From now on the matrix lies on `tiles`."""
        by_size: dict[tuple[int, int], list[WeightTile]] = {}
        for tile in tiles:
            by_size.setdefault((tile.rows.size, tile.plus.size), []).append(tile)
        self._blocks = [_Block.of(alike, self._arrays[0].shape) for alike in by_size.values()]

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    @property
    def r_wg(self) -> float:
        return self._r_wg

    def forward(self, x: Float32Array) -> Float32Array:
        """`x @ W` on the arrays: rows are driven, the currents of each column pair subtracted."""
        volt = self._volt(x)
        currents = self._arrays.products([block.forward(x, volt) for block in self._blocks])
        signed: list[_Signed] = []
        for block, grid_a in zip(self._blocks, currents, strict=True):
            for tile, current_a in zip(block.tiles[0], _total(grid_a), strict=True):
                signed += [(tile.outputs, current_a[:, 0::2], 1), (tile.outputs, current_a[:, 1::2], -1)]
        return _summed((len(x), self._shape[1]), signed, float(self._r_wg / volt))

    def backward(self, d: Float32Array) -> Float32Array:
        """`d @ W.T` on the arrays: column pairs are driven with opposite signs, rows measured."""
        volt = self._volt(d)
        currents = self._arrays.products([block.backward(d, volt) for block in self._blocks])
        signed: list[_Signed] = []
        for block, grid_a in zip(self._blocks, currents, strict=True):
            for (tile, *_), current_a in zip(block.tiles, _total(grid_a), strict=True):
                signed.append((tile.inputs, current_a, 1))
        return _summed((len(d), self._shape[0]), signed, float(self._r_wg / volt))

    def _volt(self, values: Float32Array) -> np.float32:
        """The voltage that stands for 1, so that the largest of `values` gets the full scale.

        Raises NotFiniteError for inputs that are not finite.
        """
        largest = float(max(values.max(initial=0.0), -values.min(initial=0.0)))
        if not math.isfinite(largest):
            raise NotFiniteError("a product was asked of numbers that are not finite")
        return np.float32(self._v_in_max_v / largest if largest > 0 else 1.0)


def _columns(tile: WeightTile) -> IntArray:
    return np.stack([tile.plus, tile.minus], axis=1).ravel()


def _are_all(lines: IntArray, count: int) -> bool:
    """Whether each of `lines` (k, m, lines) are all `count` lines of an array, in their order."""
    return lines.shape[-1] == count and bool((lines == np.arange(count)).all())


def _total(grid_a: NDArray[np.floating]) -> NDArray[np.floating]:
    """The currents of a grid of arrays, (k, m, batch, lines), added up over k: those are parts of the same sums."""
    total_a: NDArray[np.floating] = grid_a[0] if len(grid_a) == 1 else grid_a.sum(axis=0)
    return total_a


def _at_rest(sets: int, vectors: int, lines: int) -> Float32Array:
    """Room for so many `sets` of `vectors` of voltages, with the vectors of 0 V behind those of each."""
    zeros = ZERO_VECTORS + vectors // VECTORS_PER_ZERO
    driven_v = np.empty((sets, vectors + zeros, lines), np.float32)
    driven_v[:, vectors:] = 0.0
    return driven_v


def _summed(shape: tuple[int, int], signed: Sequence[_Signed], weight_per_a: float) -> Float32Array:
    """The products of `shape` of the currents of all tiles, less their offsets.

    A block of vectors at a time, so that all that is done to one finds it in the cache.
    """
    vectors, lines = shape
    at_rest_a = np.zeros((len(signed[0][1]) - vectors, lines), np.float32)
    _add_up(at_rest_a, signed, slice(vectors, None))
    offset_a = at_rest_a.mean(axis=0)
    total, left = np.zeros(shape, np.float32), signed
    if len(signed) == 1:
        alone_a = signed[0][1]
        if alone_a.dtype == np.float32 and alone_a.flags.c_contiguous:  # the product, but for what follows
            total, left = alone_a[:vectors], []
    block = max(1, _BLOCK // lines)
    for start in range(0, vectors, block):
        rows = slice(start, min(start + block, vectors))
        part = total[rows]
        _add_up(part, left, rows)
        part -= offset_a
        part *= np.float32(weight_per_a)
    return total


def _add_up(total_a: Float32Array, signed: Sequence[_Signed], rows: slice) -> None:
    """Adds the currents of some vectors to `total_a`."""
    for place, current_a, sign in signed:
        add, part = np.add if sign > 0 else np.subtract, total_a[:, place]
        add(part, current_a[rows], out=part, casting="same_kind")


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
