"""Cells as tables: targets in, and of each cell what a command has found and done, out.

The names of the columns end in their units: `_uS` is microsiemens, `_v` volts. A table that was written here is read
as targets again.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from eapu_hil.base.tables import Table, read_table
from eapu_hil.bench.window import outside_window, unit_hint, window_text
from eapu_hil.hal import Cells, CellStatus, ConfigError, Targets
from eapu_hil.hal.recipe import Recipe

TARGET_HEADER = ["row", "col", "g_target_uS"]
SIEMENS = "g_target_S"  # instead of the last of them
# Of a result. The first four were all of it once, and scripts may go by their places.
# g_uS: the last reading. time: UTC, when the cell was done. An empty field is not known, or does not apply.
RESULT_HEADER = [
    "row",
    "col",
    "g_uS",
    "status",
    "g_target_uS",
    "g_before_uS",
    "pulses",
    "reads",
    "v_form_v",
    "v_read_v",
    "array",
    "chip",
    "time",
]
_FORMATS = {"g_uS": ".4f", "g_before_uS": ".4f", "g_target_uS": ".7g", "v_form_v": ".6g", "v_read_v": ".6g"}
_FORMATS |= dict.fromkeys(("row", "col", "pulses", "reads", "array"), ".0f")


def status_text(status: int) -> str:
    """The name of a `CellStatus`; several are joined by `|`."""
    return CellStatus(status).name or "OK"


def write_cells(file: TextIO, columns: Mapping[str, Sequence[Any] | np.ndarray[Any, Any]]) -> None:
    """Writes a result, one line a cell, after the line `RESULT_HEADER`.

    columns: by those names, equally long; one that is left out is empty. A conductance that could not be read is `nan`.
    """
    count = len(columns["row"])
    fields = [_fields(name, columns[name]) if name in columns else [""] * count for name in RESULT_HEADER]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(RESULT_HEADER)
    writer.writerows(zip(*fields, strict=True))


def _fields(name: str, values: Sequence[Any] | np.ndarray[Any, Any]) -> list[str]:
    if name not in _FORMATS:
        return [str(value) for value in values]
    unknown = "nan" if name == "g_uS" else ""
    return [f"{value:{_FORMATS[name]}}" if np.isfinite(value) else unknown for value in values]


def read_targets(path: Path, shape: tuple[int, int], recipe: Recipe, number: int = 0) -> Targets:
    """Targets from a table (see `read_table`) for array `number`, of `shape` (rows, columns).

    Its columns are row, col and g_target_uS, in any order, or g_target_S for siemens; or those of a result, which names
    its array. Raises ConfigError that names the line: other columns, text that is no number, another array, a cell
    outside the array or given twice, a target outside the window of `recipe`, no cell at all.
    """
    table = read_table(path, TARGET_HEADER)
    unit, columns = _columns(table)
    if sorted(table.names or ()) == sorted(RESULT_HEADER):
        _require_array(table, number)
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


def _require_array(table: Table, number: int) -> None:
    of = table.column("array")
    for line, fields in zip(table.lines, table.rows, strict=True):
        if fields[of] != str(number):
            raise ConfigError(
                f"{table.path}:{line}: a cell of array {fields[of] or '(none)'}; array {number} is asked. Name it with "
                f"--array, or leave only the columns {','.join(TARGET_HEADER)} in the file"
            )


def _columns(table: Table) -> tuple[str, list[int]]:
    """The unit of the targets, and where row, column and target stand."""
    found = table.names or ()
    if sorted(found) == sorted(RESULT_HEADER):
        return "uS", [table.column(one) for one in TARGET_HEADER]
    for name, unit in ((TARGET_HEADER[2], "uS"), (SIEMENS, "siemens")):
        wanted = [*TARGET_HEADER[:2], name]
        if sorted(found) == sorted(wanted):
            return unit, [table.column(one) for one in wanted]
    raise ConfigError(
        f"{table.path}:{table.header_line}: expected the header {','.join(TARGET_HEADER)}, or {SIEMENS} for targets in "
        f"siemens, or all columns of a result; found {','.join(found) or 'no header'}"
    )
