from __future__ import annotations

import numpy as np
from eapu_drivers.controller.blocks import GAP_MAX, Block, blocks_of
from hypothesis import given
from hypothesis import strategies as st

from eapu_hil.hal import Cells

POSITIONS = st.lists(st.tuples(st.integers(0, 127), st.integers(0, 127)), max_size=200)


def cells_at(positions: list[tuple[int, int]]) -> Cells:
    rows, columns = np.array(positions, dtype=np.int64).reshape(-1, 2).T
    return Cells(rows, columns)


@given(POSITIONS, st.integers(1, 128))
def test_every_cell_is_covered_and_no_block_is_too_large(
    positions: list[tuple[int, int]], codes_max: int
) -> None:
    covered: set[tuple[int, int]] = set()
    for block in blocks_of(cells_at(positions), codes_max):
        assert 0 < block.rows * block.cols <= codes_max
        inside = {
            (row, col)
            for row in range(block.row, block.row + block.rows)
            for col in range(block.col, block.col + block.cols)
        }
        assert not covered & inside, "a cell is read twice"
        covered |= inside
    assert set(positions) <= covered


@given(POSITIONS)
def test_only_gaps_are_read_besides_the_cells(positions: list[tuple[int, int]]) -> None:
    read = sum(block.rows * block.cols for block in blocks_of(cells_at(positions), 117))
    assert read <= len(set(positions)) * GAP_MAX


def test_a_whole_array_takes_as_few_blocks_as_there_can_be() -> None:
    blocks = list(blocks_of(Cells.all((16, 8)), 117))
    assert blocks == [Block(0, 0, 14, 8), Block(14, 0, 2, 8)]


def test_wide_rows_are_split() -> None:
    blocks = list(blocks_of(Cells.all((2, 128)), 117))
    assert blocks == [Block(0, 0, 1, 117), Block(1, 0, 1, 117), Block(0, 117, 2, 11)]


def test_a_column_is_one_block() -> None:
    assert list(blocks_of(Cells.block(3, 90, 5, 6), 117)) == [Block(3, 5, 87, 1)]


def test_small_gaps_are_read_over_and_large_ones_are_not() -> None:
    near, far = GAP_MAX, GAP_MAX + 1
    assert list(blocks_of(cells_at([(0, 0), (0, near)]), 117)) == [Block(0, 0, 1, near + 1)]
    assert list(blocks_of(cells_at([(0, 0), (0, far)]), 117)) == [Block(0, 0, 1, 1), Block(0, far, 1, 1)]


def test_repeated_cells_are_read_once() -> None:
    assert list(blocks_of(cells_at([(1, 2), (1, 2)]), 117)) == [Block(1, 2, 1, 1)]


def test_nothing() -> None:
    assert list(blocks_of(Cells.all((0, 0)), 117)) == []
