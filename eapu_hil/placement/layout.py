"""Where the weights of a run lie on the arrays, at first and now; kept in the run directory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.errors import one_line
from eapu_hil.base.sealed_directory import SealedDirectory
from eapu_hil.hal import HilError
from eapu_hil.placement.mapping import WeightTile
from eapu_hil.placement.row_moves import (
    MOVES,
    RowMove,
    Tiles,
    as_if_moved,
    ever_occupied,
    moved,
    read_moves,
    save_moves,
)

PLACEMENT = "placement.json"  # in a run directory: where the weights lay at first


class Layout:
    """The tiles of each matrix.

    placed: where they lay at first; chosen for a new run, later always the same. moves: what was moved since.
    """

    def __init__(self, placed: Mapping[str, Sequence[WeightTile]], moves: Sequence[RowMove] = ()) -> None:
        self._placed = {name: list(tiles) for name, tiles in placed.items()}
        self._moves = list(moves)
        self._tiles = moved(self._placed, self._moves)

    @classmethod
    def read(cls, files: SealedDirectory) -> Layout:
        """The layout of a run. Raises HilError when the run does not say where its weights are."""
        path = files.path / PLACEMENT
        content: Any = files.read_json(PLACEMENT, "placement")
        if content is None:
            raise HilError(f"{path}: missing; the cells of this run's weights are not known")
        try:
            placed = {
                name: [WeightTile.from_plain(tile) for tile in plain] for name, plain in content.items()
            }
            return cls(placed, read_moves(files))
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise HilError(f"{path}: damaged: {one_line(error)}") from error

    def save(self, files: SealedDirectory) -> None:
        """Puts where the weights lay at first on the disk, in one step."""
        plain = {name: [tile.to_plain() for tile in tiles] for name, tiles in self._placed.items()}
        files.write_json(PLACEMENT, plain, "placement")

    def require_on(
        self, cells: tuple[int, ...], shapes: Mapping[str, tuple[int, int]], run_dir: Path
    ) -> None:
        """Raises HilError where this is no place for matrices of `shapes` on `cells` (arrays, rows, columns).

        Each weight has its own two cells, before and after each move.
        """
        try:
            for tiles in self._at_each_move():
                _require_places(tiles, cells, shapes)
        except (ValueError, IndexError, KeyError, TypeError) as error:
            raise HilError(
                f"{run_dir / PLACEMENT} and {MOVES}: not those of this run's network on this bench: {error}"
            ) from error

    @property
    def tiles(self) -> Tiles:
        """Where the weights are now."""
        return self._tiles

    def after(self, moves: Sequence[RowMove]) -> Tiles:
        """Where they would be after `moves`."""
        return moved(self._tiles, moves)

    @property
    def moves(self) -> int:
        """Rows that were moved so far."""
        return len(self._moves)

    def move(self, moves: Sequence[RowMove], files: SealedDirectory) -> None:
        """Takes `moves` as made, once they are on the disk of the run."""
        save_moves(files, [*self._moves, *moves])
        self._tiles = moved(self._tiles, moves)
        self._moves += moves

    def ever_occupied(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Which cells hold weights or did so earlier. shape: (arrays, rows, columns)."""
        return ever_occupied(self._placed, self._moves, shape)

    def in_place(self, records: NDArray[np.void]) -> NDArray[np.void]:
        """`WRITE_DTYPE` records with the row of each cell that its weight has now; see `as_if_moved`."""
        return as_if_moved(records, self._tiles, self._moves)

    def _at_each_move(self) -> Iterator[Tiles]:
        yield self._placed
        for number in range(len(self._moves)):
            yield moved(self._placed, self._moves[: number + 1])


def _require_places(
    tiles: Mapping[str, Sequence[WeightTile]], cells: tuple[int, ...], shapes: Mapping[str, tuple[int, int]]
) -> None:
    """Raises ValueError or IndexError where a weight has no cells, or shares one."""
    if tiles.keys() != shapes.keys():
        raise ValueError(f"matrices {', '.join(tiles)}; expected {', '.join(shapes)}")
    taken = np.zeros(cells, np.int64)
    for name, shape in shapes.items():
        weights = np.zeros(shape, np.int64)
        for tile in tiles[name]:
            lines = [np.array([tile.array, tile.first_in, tile.first_out]), tile.rows, tile.plus, tile.minus]
            if tile.plus.size != tile.minus.size or any((line < 0).any() for line in lines):
                raise ValueError(f"{name}: a tile with no place")
            weights[np.ix_(np.arange(tile.first_in, tile.first_in + tile.rows.size),
                           np.arange(tile.first_out, tile.first_out + tile.plus.size))] += 1  # fmt: skip
            np.add.at(taken[tile.array], np.ix_(tile.rows, np.concatenate([tile.plus, tile.minus])), 1)
        if (weights != 1).any():
            raise ValueError(f"{name}: not each weight has its place")
    if taken.max(initial=0) > 1:
        raise ValueError("two weights share a cell")
