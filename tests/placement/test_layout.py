"""Where weights lie comes back from the run directory, with the moves that were made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eapu_hil.base.sealed_directory import SealedDirectory
from eapu_hil.hal import HilError
from eapu_hil.placement.layout import Layout
from eapu_hil.placement.mapping import WeightTile
from eapu_hil.placement.row_moves import RowMove

SHAPE = (1, 4, 2)


def _layout() -> Layout:
    return Layout({"a": [WeightTile(0, np.array([0, 1]), np.array([0]), np.array([1]), 0, 0)]})


def test_a_layout_comes_back_with_its_moves(tmp_path: Path) -> None:
    layout = _layout()
    files = SealedDirectory(tmp_path, {"run": "r"})
    layout.save(files)
    moves = [RowMove(3, "a", 0, 1, 3)]
    assert list(layout.after(moves)["a"][0].rows) == [0, 3]
    assert list(layout.tiles["a"][0].rows) == [0, 1]
    layout.move(moves, files)
    for one in (layout, Layout.read(files)):
        [tile] = one.tiles["a"]
        assert list(tile.rows) == [0, 3]
        assert one.ever_occupied(SHAPE)[0].any(axis=1).tolist() == [True, True, False, True]


def test_a_run_that_does_not_say_where_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HilError, match=r"placement\.json: missing; the cells .* are not known"):
        Layout.read(SealedDirectory(tmp_path, {"run": "r"}))
