"""Which cells hold which weights: the addresses of all pairs of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import Cells, IntArray
from eapu_hil.placement.mapping import WeightTile, cell_indices

Maps = Sequence[NDArray[Any]] | NDArray[Any]


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
        self._columns, self._size = chip[2], chip[1] * chip[2]
        located = [cell_indices(shape, tiles[name], self._columns) for name, shape in shapes.items()]
        self._array = np.concatenate([array.ravel() for array, _, _ in located]).astype(np.int64)
        plus = np.concatenate([cells.ravel() for _, cells, _ in located])
        minus = np.concatenate([cells.ravel() for _, _, cells in located])
        self._cell = np.stack([plus, minus], axis=1)
        self._sort()
        edges = np.cumsum([0] + [shape[0] * shape[1] for shape in shapes.values()])
        self._slices = {
            name: slice(int(a), int(b)) for name, a, b in zip(shapes, edges, edges[1:], strict=False)
        }
        self._on_array = {name: self._by_array(self._array[here]) for name, here in self._slices.items()}

    @property
    def count(self) -> int:
        """Number of weights."""
        return int(self._array.size)

    def weights_of(self, matrix: str) -> slice:
        """Which weights belong to a matrix."""
        return self._slices[matrix]

    def pick(self, maps: Maps, matrix: str) -> NDArray[Any]:
        """The values of all cells at both cells of each weight of a matrix, (n_weights, 2).

        maps: of each array, (rows, columns).
        """
        cell = self._cell[self._slices[matrix]]
        found = np.empty(cell.shape, maps[0].dtype)
        for number, here in self._on_array[matrix]:
            found[here] = maps[number].reshape(-1)[cell[here]]
        return found

    def cells(self, weights: IntArray, side: IntArray) -> Cells:
        """One cell of each of `weights`, which are on one array."""
        flat = self._cell[weights, side]
        return Cells(flat // self._columns, flat % self._columns)

    def by_array(self, weights: IntArray) -> list[tuple[int, IntArray]]:
        """Positions in `weights` of the weights on each array that holds any of them."""
        return self._by_array(self._array[weights])

    def find(self, array: int | IntArray, cells: Cells) -> tuple[IntArray, IntArray, NDArray[np.bool_]]:
        """Weight and side of each of `cells`, and whether it holds a weight: without it, the others say nothing.

        array: where the cells are, one number for all or one each.
        """
        flat = array * self._size + cells.row * self._columns + cells.col
        place = np.minimum(np.searchsorted(self._sorted, flat), self._sorted.size - 1)
        weights, side = np.divmod(self._order[place], 2)
        return weights, side, self._sorted[place] == flat

    def elsewhere(self, matrix: str, tiles: Sequence[WeightTile]) -> IntArray:
        """The weights of a matrix that `tiles` have in other cells."""
        here = self._slices[matrix]
        gone = (self._cells_in(matrix, tiles) != self._cell[here]).any(axis=1)
        return np.flatnonzero(gone) + here.start

    def move(self, matrix: str, tiles: Sequence[WeightTile]) -> None:
        """From now on the matrix lies on `tiles`, on the same arrays."""
        self._cell[self._slices[matrix]] = self._cells_in(matrix, tiles)
        self._sort()

    def _sort(self) -> None:
        """So that the weight of a cell is found without a map of all cells."""
        flat = (self._array[:, None] * self._size + self._cell).ravel()
        self._order = np.argsort(flat)
        self._sorted = flat[self._order]

    @staticmethod
    def _by_array(array: IntArray) -> list[tuple[int, IntArray]]:
        return [(int(number), np.flatnonzero(array == number)) for number in np.unique(array)]

    def _cells_in(self, matrix: str, tiles: Sequence[WeightTile]) -> IntArray:
        _, plus, minus = cell_indices(self.shapes[matrix], tiles, self._columns)
        return np.stack([plus.ravel(), minus.ravel()], axis=1)
