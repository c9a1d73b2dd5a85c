"""Products with a matrix that lies on arrays (`eapu_hil.placement.mapping`)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eapu_hil.bench.wide import BenchArrays
from eapu_hil.hal import Direction, ProductRequest
from eapu_hil.network.finite import NotFiniteError
from eapu_hil.network.layers import Float32Array
from eapu_hil.placement.mapping import WeightTile

# Vectors of 0 V in a batch of products: at least some, and one more for so many others.
ZERO_VECTORS = 8
VECTORS_PER_ZERO = 128
_BLOCK = 32768  # numbers of a product that a processor keeps at hand, with the currents that they come from


# For which lines of a product currents are, with those at 0 V behind them, and their sign.
_Signed = tuple[slice, NDArray[np.floating], int]


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
        self._tiles = list(tiles)
        self._columns = [np.concatenate([tile.plus, tile.minus]) for tile in tiles]

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    @property
    def r_wg(self) -> float:
        return self._r_wg

    def forward(self, x: Float32Array) -> Float32Array:
        """`x @ W` on the arrays: rows are driven, the currents of each column pair subtracted."""
        volt = self._volt(x)
        driven_v: dict[int, Float32Array] = {}
        for tile in self._tiles:
            if tile.first_in not in driven_v:
                driven_v[tile.first_in] = driven = _at_rest(len(x), tile.rows.size)
                np.multiply(x[:, tile.inputs], volt, out=driven[: len(x)])
        currents = self._arrays.products(
            [
                ProductRequest(tile.array, driven_v[tile.first_in], Direction.FORWARD, tile.rows, columns)
                for tile, columns in zip(self._tiles, self._columns, strict=True)
            ]
        )
        signed: list[_Signed] = []
        for tile, current_a in zip(self._tiles, currents, strict=True):
            pairs = tile.plus.size
            signed += [(tile.outputs, current_a[:, :pairs], 1), (tile.outputs, current_a[:, pairs:], -1)]
        return _summed((len(x), self._shape[1]), signed, float(self._r_wg / volt))

    def backward(self, d: Float32Array) -> Float32Array:
        """`d @ W.T` on the arrays: column pairs are driven with opposite signs, rows measured."""
        volt = self._volt(d)
        driven_v: dict[int, Float32Array] = {}
        for tile in self._tiles:
            if tile.first_out not in driven_v:
                pairs = tile.plus.size
                driven_v[tile.first_out] = driven = _at_rest(len(d), 2 * pairs)
                np.multiply(d[:, tile.outputs], volt, out=driven[: len(d), :pairs])
                np.negative(driven[: len(d), :pairs], out=driven[: len(d), pairs:])
        currents = self._arrays.products(
            [
                ProductRequest(tile.array, driven_v[tile.first_out], Direction.TRANSPOSED, columns, tile.rows)
                for tile, columns in zip(self._tiles, self._columns, strict=True)
            ]
        )
        signed: list[_Signed] = [
            (tile.inputs, current_a, 1) for tile, current_a in zip(self._tiles, currents, strict=True)
        ]
        return _summed((len(d), self._shape[0]), signed, float(self._r_wg / volt))

    def _volt(self, values: Float32Array) -> np.float32:
        """The voltage that stands for 1, so that the largest of `values` gets the full scale.

        Raises NotFiniteError for inputs that are not finite.
        """
        largest = float(max(values.max(initial=0.0), -values.min(initial=0.0)))
        if not math.isfinite(largest):
            raise NotFiniteError("a product was asked of numbers that are not finite")
        return np.float32(self._v_in_max_v / largest if largest > 0 else 1.0)


def _at_rest(vectors: int, lines: int) -> Float32Array:
    """Room for so many `vectors` of voltages, with the vectors of 0 V behind them."""
    zeros = ZERO_VECTORS + vectors // VECTORS_PER_ZERO
    driven_v = np.empty((vectors + zeros, lines), np.float32)
    driven_v[vectors:] = 0.0
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
