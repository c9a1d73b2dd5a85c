"""Where the weights of a run lie on the arrays, at first and now; kept in the run directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.storage import read_json, write_json
from eapu_hil.hal import HilError
from eapu_hil.placement.mapping import WeightTile
from eapu_hil.placement.row_moves import (
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
    def read(cls, run_dir: Path) -> Layout:
        """The layout of a run. Raises HilError when the run does not say where its weights are."""
        content = read_json(run_dir / PLACEMENT)
        if content is None:
            raise HilError(f"{run_dir / PLACEMENT}: missing; the cells of this run's weights are not known")
        placed = {name: [WeightTile.from_plain(tile) for tile in plain] for name, plain in content.items()}
        return cls(placed, read_moves(run_dir))

    def save(self, run_dir: Path) -> None:
        """Puts where the weights lay at first on the disk, in one step."""
        plain = {name: [tile.to_plain() for tile in tiles] for name, tiles in self._placed.items()}
        write_json(run_dir / PLACEMENT, plain)

    @property
    def tiles(self) -> Tiles:
        """Where the weights are now."""
        return self._tiles

    def after(self, moves: Sequence[RowMove]) -> Tiles:
        """Where they would be after `moves`."""
        return moved(self._tiles, moves)

    def move(self, moves: Sequence[RowMove], run_dir: Path) -> None:
        """Takes `moves` as made, once they are on the disk of the run."""
        save_moves(run_dir, [*self._moves, *moves])
        self._tiles = moved(self._tiles, moves)
        self._moves += moves

    def ever_occupied(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Which cells hold weights or did so earlier. shape: (arrays, rows, columns)."""
        return ever_occupied(self._placed, self._moves, shape)

    def in_place(self, records: NDArray[np.void]) -> NDArray[np.void]:
        """`WRITE_DTYPE` records with the row of each cell that its weight has now; see `as_if_moved`."""
        return as_if_moved(records, self._tiles, self._moves)
