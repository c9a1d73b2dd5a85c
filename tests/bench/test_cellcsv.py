"""Targets in people's own tables: every dialect, each fault with its line, and nothing outside the recipe's window."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pandas
import pytest

from eapu_hil.base.tables import read_table
from eapu_hil.bench.cellcsv import RESULT_HEADER, read_targets, write_cells
from eapu_hil.bench.limits import LimitCheck
from eapu_hil.hal import Cells, ConfigError, LimitError, Limits, Targets
from eapu_hil.hal.recipe import Recipe

SHAPE = (128, 64)


def targets_of(tmp_path: Path, content: str | bytes, recipe: Recipe) -> Targets:
    (tmp_path / "t.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    return read_targets(tmp_path / "t.csv", SHAPE, recipe)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", r"t\.csv: holds no row"),
        (
            "row,col,g\n0,0,1\n",
            r"t\.csv:1: expected the header row,col,g_target_uS, or g_target_S .* found row,col,g",
        ),
        ("0,0,20\n", r"t\.csv:1: expected the header .* found no header"),
        ("row,col,g_target_mS\n0,0,1\n", r"t\.csv:1: expected the header"),
        ("row,col,r_kOhm\n0,0,50\n", r"t\.csv:1: expected the header"),
        ("row,col,array,g_target_uS\n0,0,1,20\n", r"t\.csv:1: expected the header"),
        ("row,col,g_target_uS\n", r"t\.csv: holds no row but its header"),
        ("row,col,g_target_uS\n0,0,1\n0,1\n", r"t\.csv:3: 2 fields"),
        ("row,col,g_target_uS\n0,0,1\n\n0,1.5,1\n", r"t\.csv:4: cell 0,1\.5: expected two whole numbers"),
        (
            "row,col,g_target_uS\n# one\n0,64,1\n",
            r"t\.csv:3: cell \(0, 64\) is outside the array of 128 x 64",
        ),
        ("row,col,g_target_uS\n-1,0,1\n", r"t\.csv:2: cell \(-1, 0\) is outside"),
        ("row,col,g_target_uS\n0,0,1\n\n0,0,2\n", r"t\.csv:4: cell \(0, 0\) is given twice, first in line 2"),
        ("row,col,g_target_uS\n0,0,nan\n", r"t\.csv:2: column 'g_target_uS': nan is not finite"),
        ("row,col,g_target_uS\n0,0,9.91E37\n", r"t\.csv:2: column 'g_target_uS': 9.91E37 is too large"),
        ("row,col,g_target_uS\n0,0,-3\n", r"t\.csv:2: cell \(0, 0\): -3 uS is outside the recipe's window"),
        ("row,col,g_target_uS\n0,0,0\n", r"t\.csv:2: cell \(0, 0\): 0 uS is outside the recipe's window"),
        (
            "row,col,g_target_uS\n\n0,0,20\n0,1,500\n",
            r"t\.csv:4: cell \(0, 1\): 500 uS is outside the recipe's window of 1 to 40 uS \(g_min_S, g_max_S\)$",
        ),
        (
            "row,col,g_target_uS\n0,0,2e-5\n0,1,1e-5\n",
            r"t\.csv:2: .*2e-05 uS is outside .*; is it in siemens\? Here targets are in uS$",
        ),
        ("row,col,g_target_uS\n0,0,0.02\n", r"; is it in mS\? Here targets are in uS$"),
        (
            "row,col,g_target_S\n0,0,20\n",
            r"20 siemens is outside .*; is it in uS\? Here targets are in siemens$",
        ),
    ],
)
def test_a_bad_line_of_a_file_is_named(tmp_path: Path, recipe: Recipe, content: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        targets_of(tmp_path, content, recipe)


@pytest.mark.parametrize(
    "content",
    [
        "row,col,g_target_uS\n0,1,20\n2,3,10.5\n",
        "g_target_uS;col;row\r\n20;1;0\r\n10,5;3;2\r\n",
        '"row"\t"col"\t"g_target_uS"\n\n0\t1\t20,0\n2\t3\t10,5\n',
        "# row col g_target_uS\n0 1 20\n2 3 10.5\n",
        "row,col,g_target_S\n0,1,20e-6\n2,3,10.5e-6\n",
        "row,col,g_target_uS\n0,1,20\n2,3,10.5\n".encode("utf-16"),
        "row,col,g_target_uS\n0,1,20\n2,3,10.5\n".encode("utf-8-sig"),
        "% Größe\nrow,col,g_target_uS\n0,1,20\n2,3,10.5\n".encode("latin-1"),
    ],
)
def test_every_dialect_is_read(tmp_path: Path, recipe: Recipe, content: str | bytes) -> None:
    found = targets_of(tmp_path, content, recipe)
    assert found.cells.row.tolist() == [0, 2]
    assert found.cells.col.tolist() == [1, 3]
    np.testing.assert_allclose(found.g_target_S, [20e-6, 10.5e-6])


def test_what_is_written_is_read_again_also_at_the_ends_of_the_window(tmp_path: Path, recipe: Recipe) -> None:
    odd = recipe.model_copy(update={"g_min_S": 1.2345678e-6, "g_max_S": 34.567891e-6})
    g_target_S = np.array([odd.g_min_S, odd.g_max_S])
    found = targets_of(tmp_path, written(g_target_uS=1e6 * g_target_S), odd)
    np.testing.assert_allclose(found.g_target_S, g_target_S, rtol=1e-6)
    assert (found.cells.row.tolist(), found.cells.col.tolist()) == ([0, 1], [1, 0])


def written(**columns: object) -> str:
    """A result of two cells of array 0, as a command writes it."""
    known = {
        "row": [0, 1],
        "col": [1, 0],
        "g_uS": [20.5, np.nan],
        "status": ["OK", "STUCK|LIMIT"],
        "array": [0, 0],
    }
    text = io.StringIO()
    write_cells(text, {**known, "chip": ["W12, #7", "W12, #7"], **columns})  # type: ignore[arg-type]  # kinds of lists
    return text.getvalue()


def test_a_result_has_its_units_in_its_header_and_begins_as_it_always_did(tmp_path: Path) -> None:
    text = written(pulses=np.array([3, 0]), v_form_v=[2.8, np.nan], v_read_v=[0.2, 0.2])
    (tmp_path / "r.csv").write_text(text)
    rows = list(csv.reader(text.splitlines()))
    assert rows[0] == RESULT_HEADER
    assert rows[0][:4] == ["row", "col", "g_uS", "status"]
    assert rows[1] == ["0", "1", "20.5000", "OK", "", "", "3", "", "2.8", "0.2", "0", "W12, #7", ""]
    assert rows[2][:9] == ["1", "0", "nan", "STUCK|LIMIT", "", "", "0", "", ""]
    table = read_table(tmp_path / "r.csv")
    assert table.names == tuple(RESULT_HEADER)
    assert table.numbers([table.column("v_read_v")]).ravel().tolist() == [0.2, 0.2]
    frame = pandas.read_csv(tmp_path / "r.csv")
    assert frame["pulses"].tolist() == [3, 0]
    assert np.isnan(frame["g_uS"][1])


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({}, r"t\.csv:2: column 'g_target_uS': empty"),
        ({"g_target_uS": [20, 20], "array": [1, 1]}, r"t\.csv:2: a cell of array 1; array 0 is asked"),
        ({"g_target_uS": [20, 500]}, r"t\.csv:3: cell \(1, 0\): 500 uS is outside"),
    ],
)
def test_of_a_result_only_what_fits_is_programmed(
    tmp_path: Path, recipe: Recipe, columns: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        targets_of(tmp_path, written(**columns), recipe)


@pytest.mark.parametrize(
    ("g_S", "hint"),
    [(0.9e-6, ""), (40.1e-6, ""), (20.0, r"; is it in uS\?"), (2e-2, r"; is it in mS\?"), (2e-11, "")],
)
def test_the_interlock_refuses_targets_outside_the_window(
    recipe: Recipe, limits: Limits, g_S: float, hint: str
) -> None:
    check = LimitCheck("array 0", SHAPE, limits.__class__(**{**vars(limits), "i_max_a": 1e9}))
    with pytest.raises(LimitError, match=r"array 0, cell \(0, 1\): a target of .* S asked; allowed is the recipe's "
                                         r"window of 1 to 40 uS \(g_min_S, g_max_S\)" + hint):  # fmt: skip
        check.program(Targets(Cells(np.zeros(2, int), np.arange(2)), np.array([2e-5, g_S])), recipe)
    ends = Targets(Cells(np.zeros(2, int), np.arange(2)), np.array([1e-6 * 1.0, 1e-6 * 40.0]))
    check.program(ends, recipe)
