"""The arrays of a measurement as tables that any tool reads."""

from __future__ import annotations

import io

import numpy as np
import pandas

from eapu_hil.bench.array_csv import csv_tables
from eapu_hil.hal import CellStatus


def test_one_line_a_cell_and_other_axes_in_files_of_their_own() -> None:
    arrays = {
        "row": np.array([1, 5, 7]),
        "col": np.array([0, 0, 2]),
        "usable": np.array([True, False, True]),
        "g_S": np.array([[1e-6, 2e-6, np.nan], [3e-6, 4e-6, 5e-6]]),
        "up_status": np.array([0, 16, 0], np.uint8),
        "clock_s": np.array([0.5, 1.5]),
    }
    found = csv_tables(arrays, (8, 3))
    assert list(found) == ["", "_2"]
    cells = pandas.read_csv(io.StringIO(found[""]))
    assert list(cells.columns) == ["row", "col", "usable", "g_S[0]", "g_S[1]", "up_status"]
    assert cells["usable"].tolist() == [1, 0, 1]
    assert cells["up_status"].tolist() == ["OK", "STUCK", "OK"]
    np.testing.assert_array_equal(cells["g_S[0]"], arrays["g_S"][0])
    assert found["_2"] == "clock_s\n0.5\n1.5\n"


def test_a_map_gives_the_place_of_each_cell() -> None:
    status = np.zeros((2, 3), np.uint8)
    status[1, 2] = CellStatus.STUCK
    found = csv_tables({"status": status, "v_form_v": np.full((2, 3), 2.5)}, (2, 3))
    table = pandas.read_csv(io.StringIO(found[""]))
    assert table.iloc[-1].tolist() == [1, 2, "STUCK", 2.5]
    assert len(table) == 6
