"""Conductances of cells as tables, in uS: `row,col,g_target_uS` in, `row,col,g_uS,status` out."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TextIO

import numpy as np

from eapu_hil.base.tables import Table, read_table
from eapu_hil.bench.window import outside_window, unit_hint, window_text
from eapu_hil.hal import Cells, CellStatus, ConfigError, FloatArray, StatusArray, Targets
from eapu_hil.hal.recipe import Recipe

TARGET_HEADER = ["row", "col", "g_target_uS"]
SIEMENS = "g_target_S"  # instead of the last of them
READING_HEADER = ["row", "col", "g_uS", "status"]


def status_text(status: int) -> str:
    """The name of a `CellStatus`; several are joined by `|`."""
    return CellStatus(status).name or "OK"


def write_cells(file: TextIO, cells: Cells, g_S: FloatArray, status: StatusArray) -> None:
    """One line a cell, after a header line."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(READING_HEADER)
    for row, col, g, code in zip(cells.row, cells.col, g_S, status, strict=True):
        writer.writerow([row, col, f"{1e6 * g:.4f}", status_text(int(code))])


def write_targets(file: TextIO, targets: Targets) -> None:
    """Writes targets in the format of `read_targets`."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(TARGET_HEADER)
    cells = targets.cells
    for row, col, g_S in zip(cells.row, cells.col, targets.g_target_S, strict=True):
        writer.writerow([row, col, f"{1e6 * g_S:.7g}"])


def read_targets(path: Path, shape: tuple[int, int], recipe: Recipe) -> Targets:
    """Targets from a table (see `read_table`) for an array of `shape` (rows, columns).

    Its columns are row, col and g_target_uS, in any order, or g_target_S for siemens. Raises ConfigError that names the
    line: other columns, text that is no number, a cell outside the array or given twice, a target outside the window
    of `recipe`, no cell at all.
    """
    table = read_table(path, TARGET_HEADER)
    unit, columns = _columns(table)
    values = table.numbers(columns)
    lines_of: dict[tuple[int, int], int] = {}
    for line, fields, (row, col, _) in zip(table.lines, table.rows, values, strict=True):
        cell = int(row), int(col)
        if cell != (row, col):
            shown = ",".join(fields[column] for column in columns[:2])
            raise ConfigError(f"{path}:{line}: cell {shown}: expected two whole numbers")
        if not (0 <= row < shape[0] and 0 <= col < shape[1]):
            raise ConfigError(f"{path}:{line}: cell {cell} is outside the array of {shape[0]} x {shape[1]}")
        if cell in lines_of:
            raise ConfigError(f"{path}:{line}: cell {cell} is given twice, first in line {lines_of[cell]}")
        lines_of[cell] = line
    g_target_S = values[:, 2] if unit == "siemens" else 1e-6 * values[:, 2]
    for i in np.flatnonzero(outside_window(g_target_S, recipe))[:1]:
        asked = float(values[i, 2])
        raise ConfigError(
            f"{path}:{table.lines[i]}: cell {tuple(int(place) for place in values[i, :2])}: {asked:g} {unit} is "
            f"outside {window_text(recipe)}{unit_hint(asked, unit, recipe)}"
        )
    cells = values[:, :2].astype(np.int64)
    return Targets(Cells(cells[:, 0], cells[:, 1]), g_target_S)


def _columns(table: Table) -> tuple[str, list[int]]:
    """The unit of the targets, and where row, column and target stand."""
    found = table.names or ()
    for name, unit in ((TARGET_HEADER[2], "uS"), (SIEMENS, "siemens")):
        wanted = [*TARGET_HEADER[:2], name]
        if sorted(found) == sorted(wanted):
            return unit, [table.column(one) for one in wanted]
    raise ConfigError(
        f"{table.path}:{table.header_line}: expected the header {','.join(TARGET_HEADER)}, or {SIEMENS} for targets in "
        f"siemens; found {','.join(found) or 'no header'}"
    )
