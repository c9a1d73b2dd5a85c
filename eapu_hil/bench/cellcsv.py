"""Conductances of cells as CSV, in uS: `row,col,g_target_uS` in, `row,col,g_uS,status` out."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TextIO

import numpy as np

from eapu_hil.hal import Cells, CellStatus, ConfigError, FloatArray, StatusArray, Targets

TARGET_HEADER = ["row", "col", "g_target_uS"]
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
        writer.writerow([row, col, f"{1e6 * g_S:.4f}"])


def read_targets(path: Path, shape: tuple[int, int]) -> Targets:
    """Targets from `path` for an array of `shape` (rows, columns).

    Raises ConfigError that names the line: a wrong header, wrong number of fields, text that is no number, a
    cell outside the array or given twice, a conductance that is negative or not finite, no cell at all.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path}: cannot be read: {reason}") from error
    if not lines or [name.strip() for name in lines[0]] != TARGET_HEADER:
        raise ConfigError(f"{path}:1: expected the header {','.join(TARGET_HEADER)}")
    targets: dict[tuple[int, int], float] = {}
    for number, fields in enumerate(lines[1:], start=2):
        if not fields:
            continue
        row, col, g_uS = _target(fields, f"{path}:{number}")
        if not (0 <= row < shape[0] and 0 <= col < shape[1]):
            raise ConfigError(
                f"{path}:{number}: cell ({row}, {col}) is outside the array of {shape[0]} x {shape[1]}"
            )
        if (row, col) in targets:
            raise ConfigError(f"{path}:{number}: cell ({row}, {col}) is given twice")
        targets[row, col] = g_uS
    if not targets:
        raise ConfigError(f"{path}: holds no cell")
    cells = np.array(list(targets), dtype=np.int64)
    return Targets(Cells(cells[:, 0], cells[:, 1]), 1e-6 * np.array(list(targets.values())))


def _target(fields: list[str], where: str) -> tuple[int, int, float]:
    if len(fields) != len(TARGET_HEADER):
        raise ConfigError(f"{where}: {len(fields)} fields; expected {','.join(TARGET_HEADER)}")
    try:
        row, col, g_uS = int(fields[0]), int(fields[1]), float(fields[2])
    except ValueError:
        raise ConfigError(
            f"{where}: {','.join(fields)}: expected two whole numbers and a conductance in uS"
        ) from None
    if not (math.isfinite(g_uS) and g_uS >= 0):
        raise ConfigError(f"{where}: {g_uS} uS: a conductance is a number from 0 up")
    return row, col, g_uS
