"""Wear levelling by moving: the weights of a worn row go to a row that holds none and is less worn.

A tile is a part of a layer's matrix on the crossings of some rows and columns; where its columns cross other rows,
cells may be free. A row is moved when its hottest cell has taken `WEAR_RATIO` times the pulses of the hottest cell of a
free row, and `WEAR_MARGIN` more: a move costs a write of each cell, some two pulses. The row that becomes free may be
moved to later, so that rows take turns, more and more rarely.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.sealed_directory import SealedDirectory
from eapu_hil.hal import HilError, IntArray
from eapu_hil.placement.mapping import WeightTile

WEAR_RATIO = 2.0
WEAR_MARGIN = 20
MOVES = "moves.json"  # in a run directory

Tiles = dict[str, list[WeightTile]]


@dataclass(frozen=True)
class RowMove:
    """After `step` the weights in row `old` of the `tile`-th tile of `layer` went to row `new` of the same array."""

    step: int
    layer: str
    tile: int
    old: int
    new: int


def choose_moves(
    step: int,
    tiles: Mapping[str, Sequence[WeightTile]],
    pulses: Sequence[IntArray] | IntArray,
    bad: Sequence[NDArray[np.bool_]] | NDArray[np.bool_],
) -> list[RowMove]:
    """Which rows are moved, the most worn of each tile first.

    pulses, bad: of all cells, (rows, columns) of each array. A row with a bad cell at the tile's columns takes nothing.
    """
    moves: list[RowMove] = []
    for layer, its in tiles.items():
        for number, tile in enumerate(its):
            columns = np.concatenate([tile.plus, tile.minus])
            worn = pulses[tile.array][:, columns].max(axis=1)
            taken = np.asarray(bad[tile.array][:, columns].any(axis=1))
            for other, rows in _held(tiles, moves):
                if other.array == tile.array and np.isin([other.plus, other.minus], columns).any():
                    taken[rows] = True
            free = np.flatnonzero(~taken)
            free = free[np.argsort(worn[free], kind="stable")]
            hottest = tile.rows[np.argsort(-worn[tile.rows], kind="stable")]
            for old, new in zip(hottest, free, strict=False):
                if worn[old] < WEAR_RATIO * worn[new] + WEAR_MARGIN:
                    break
                moves.append(RowMove(step, layer, number, int(old), int(new)))
    return moves


def _held(
    tiles: Mapping[str, Sequence[WeightTile]], moves: Sequence[RowMove]
) -> Iterator[tuple[WeightTile, IntArray | int]]:
    """Each tile with its rows, and with the row that each of `moves` takes besides."""
    for its in tiles.values():
        for tile in its:
            yield tile, tile.rows
    for move in moves:
        yield tiles[move.layer][move.tile], move.new


def moved(tiles: Mapping[str, Sequence[WeightTile]], moves: Sequence[RowMove]) -> Tiles:
    """Where the weights lie after `moves`, in their order."""
    after = {layer: list(its) for layer, its in tiles.items()}
    for move in moves:
        tile = after[move.layer][move.tile]
        after[move.layer][move.tile] = replace(
            tile, rows=np.where(tile.rows == move.old, move.new, tile.rows)
        )
    return after


def occupied(tiles: Mapping[str, Sequence[WeightTile]], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which cells hold weights. shape: (arrays, rows, columns)."""
    cells = np.zeros(shape, bool)
    for its in tiles.values():
        for tile in its:
            for columns in (tile.plus, tile.minus):
                cells[tile.array, tile.rows[:, None], columns] = True
    return cells


def ever_occupied(
    tiles: Mapping[str, Sequence[WeightTile]], moves: Sequence[RowMove], shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Which cells held weights before, between or after `moves`. tiles: before all of them."""
    cells = occupied(tiles, shape)
    for move in moves:
        tile = tiles[move.layer][move.tile]
        cells[tile.array, move.new, np.concatenate([tile.plus, tile.minus])] = True
    return cells


def as_if_moved(
    records: NDArray[np.void], tiles: Mapping[str, Sequence[WeightTile]], moves: Sequence[RowMove]
) -> NDArray[np.void]:
    """Records of writes with the row of each cell that its weight has now, after `moves`.

    So that what was written before a move is found to be that weight's.
    records: fields step, array, row, col; not those of the moves themselves, which are in place already.
    tiles: the columns count, their rows do not.
    """
    found = records.copy()
    for move in moves:
        tile = tiles[move.layer][move.tile]
        inside = np.isin(found["col"], np.concatenate([tile.plus, tile.minus])) & (
            found["array"] == tile.array
        )
        before = found["step"] <= move.step
        found["row"][inside & before & (found["row"] == move.old)] = move.new
    return found


def read_moves(files: SealedDirectory) -> list[RowMove]:
    """The moves of a run so far. Raises HilError when the file is damaged, or of another run."""
    content: Any = files.read_json(MOVES, "moves")
    try:
        return [RowMove(**move) for move in content["moves"]] if content is not None else []
    except (KeyError, TypeError) as error:
        raise HilError(f"{files.path / MOVES}: damaged: {error}") from error


def save_moves(files: SealedDirectory, moves: Sequence[RowMove]) -> None:
    """Puts all moves of a run on the disk, in one step."""
    files.write_json(MOVES, {"moves": [vars(move) for move in moves]}, "moves")
