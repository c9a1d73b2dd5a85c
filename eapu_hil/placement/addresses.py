"""Which cells hold which weights: the addresses of all pairs of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import Cells, FloatArray, IntArray
from eapu_hil.placement.mapping import WeightTile, cell_indices
from eapu_hil.rules.contract import MINUS, PLUS


class PairAddresses:
    """A weight is named by its index over all matrices, in their order; a cell of it by its side, `PLUS` or `MINUS`.

    chip: (arrays, rows, columns). tiles, shapes: by matrix, where it lies and its (n_in, n_out).
    """

    def __init__(
        self,
        chip: tuple[int, int, int],
        tiles: Mapping[str, Sequence[WeightTile]],
        shapes: Mapping[str, tuple[int, int]],
    ) -> None:
        self.shapes = dict(shapes)
        self._chip = chip
        self._columns = chip[2]
        located = [cell_indices(shape, tiles[name], self._columns) for name, shape in shapes.items()]
        self._array = np.concatenate([array.ravel() for array, _, _ in located]).astype(np.int64)
        plus = np.concatenate([cells.ravel() for _, cells, _ in located])
        minus = np.concatenate([cells.ravel() for _, _, cells in located])
        self._cell = np.stack([plus, minus], axis=1)
        edges = np.cumsum([0] + [shape[0] * shape[1] for shape in shapes.values()])
        self._slices = {
            name: slice(int(a), int(b)) for name, a, b in zip(shapes, edges, edges[1:], strict=False)
        }

    @property
    def count(self) -> int:
        """Number of weights."""
        return int(self._array.size)

    def weights_of(self, matrix: str) -> slice:
        """Which weights belong to a matrix."""
        return self._slices[matrix]

    def pick(self, values: NDArray[Any], weights: slice | IntArray = np.s_[:]) -> NDArray[Any]:
        """The values of a map of all cells, (arrays, rows, columns), at both cells of each weight, (n_weights, 2)."""
        found: NDArray[Any] = values.reshape(self._chip[0], -1)[
            self._array[weights, None], self._cell[weights]
        ]
        return found

    def cells(self, weights: IntArray, side: IntArray) -> Cells:
        """One cell of each of `weights`, on the array that `array_of` says."""
        flat = self._cell[weights, side]
        return Cells(flat // self._columns, flat % self._columns)

    def array_of(self, weights: IntArray) -> IntArray:
        """The number of the array of each of `weights`."""
        found: IntArray = self._array[weights]
        return found

    def in_weights(self, array: IntArray, cells: Cells, change_S: FloatArray) -> tuple[IntArray, FloatArray]:
        """Changes `change_S` (S) of cells as changes of weights: their indices and differential change.

        array: where each of the cells is. Cells that hold no weight are left out.
        """
        size = int(self._chip[1] * self._columns)
        owner = np.full(self._chip[0] * size, -1)
        sign = np.zeros(owner.size)
        for side, direction in ((PLUS, 1.0), (MINUS, -1.0)):
            at = self._array * size + self._cell[:, side]
            owner[at] = np.arange(self.count)
            sign[at] = direction
        flat = array * size + cells.row * self._columns + cells.col
        known = owner[flat] >= 0
        return owner[flat][known], (sign[flat] * change_S)[known]

    def elsewhere(self, matrix: str, tiles: Sequence[WeightTile]) -> IntArray:
        """The weights of a matrix that `tiles` have in other cells."""
        here = self._slices[matrix]
        gone = (self._cells_in(matrix, tiles) != self._cell[here]).any(axis=1)
        return np.flatnonzero(gone) + here.start

    def move(self, matrix: str, tiles: Sequence[WeightTile]) -> None:
        """From now on the matrix lies on `tiles`, on the same arrays."""
        self._cell[self._slices[matrix]] = self._cells_in(matrix, tiles)

    def _cells_in(self, matrix: str, tiles: Sequence[WeightTile]) -> IntArray:
        _, plus, minus = cell_indices(self.shapes[matrix], tiles, self._columns)
        return np.stack([plus.ravel(), minus.ravel()], axis=1)
