"""Readings of a measurement in somebody's file: which of them are conductances that can be used."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeInt

from eapu_hil.base.filenames import require_regular
from eapu_hil.base.tables import LARGEST, Table, read_table
from eapu_hil.base.tabletext import separator_name
from eapu_hil.hal import ConfigError, FloatArray

Column = NonNegativeInt | str

_LOG = logging.getLogger(__name__)
_BEYOND = 0.5  # of the window: cells relax out of it, but not so far
_BELOW = 0.1  # of its low end, likewise


@dataclass(frozen=True, eq=False)
class Readings:
    """The readings of a file that can be used.

    data: shape (readings, columns), in the order of the import file, conductances in S. lines: of each in the file.
    broken: cells with a reading that was left out. left_out: how many were left out, by reason.
    """

    data: FloatArray
    lines: NDArray[np.int64]
    broken: FloatArray
    left_out: dict[str, int]


def read_readings(
    path: Path,
    columns: Mapping[str, Column],
    *,
    measured: Sequence[str],
    separator: str | None,
    skip: int,
    unit_S: float,
    window_S: tuple[float, float],
) -> Readings:
    """The readings of a file. What is no conductance, or far outside the window, is left out, logged and counted.

    columns: the first is that of the cell. measured: those that hold conductances, in `unit_S`. separator, skip: as of
    `read_table`. Raises ConfigError for a column that is not there, text that is no number, a cell that is no whole
    number, and where most of the readings are far outside the window.
    """
    require_regular(path, str(path))
    names = [column for column in columns.values() if isinstance(column, str)]
    table = read_table(path, names, separator=separator, skip=skip)
    places = _places(table, columns)
    table.numbers([place for name, place in places.items() if name not in measured])
    _refuse_broken_numbers(table, next(iter(places.values())))
    scale = [unit_S if name in measured else 1.0 for name in columns]
    data = table.values(list(places.values())) * scale
    lines = np.array(table.lines)
    g_S = data[:, [i for i, name in enumerate(columns) if name in measured]]
    low_S, high_S = window_S
    window = f"the window of {1e6 * low_S:g} to {1e6 * high_S:g} uS"
    far = f"far outside {window}"
    faults = {
        "not a number": np.isnan(g_S),
        # Instruments give 9.9e37 or 9.91e37 of either sign for what they cannot measure.
        "overflow": np.abs(g_S) >= LARGEST * unit_S,
        "0 or below": g_S <= 0,
        far: _far_outside(g_S, window_S),
    }
    good, left_out = np.ones(len(data), np.bool_), dict[str, int]()
    for what, wrong in faults.items():
        here = good & wrong.any(axis=1)
        good &= ~here
        if here.any():
            left_out[what] = int(here.sum())
    if 2 * left_out.get(far, 0) > len(data):
        raise ConfigError(
            f"{path}: {left_out[far]} of {len(data)} readings are {far}; are conductance_unit_S ({unit_S:g}) and "
            "window right?"
        )
    if left_out:
        _LOG.warning(
            "%s: %d of %d readings are left out (%s), the first in line %d",
            path,
            np.count_nonzero(~good),
            len(data),
            ", ".join(f"{what}: {count}" for what, count in left_out.items()),
            lines[np.argmin(good)],
        )
    if not good.any():
        raise ConfigError(f"{path}: no reading is left")
    beyond = good & ((g_S < low_S) | (g_S > high_S)).any(axis=1)
    if beyond.any():
        _LOG.info("%s: %d readings lie a little outside %s; they are used", path, beyond.sum(), window)
    return Readings(data[good], lines[good], np.unique(data[~good, 0]), left_out)


def _far_outside(g_S: FloatArray, window_S: tuple[float, float]) -> NDArray[np.bool_]:
    low_S, high_S = window_S
    room_S = _BEYOND * (high_S - low_S)
    return (g_S < max(low_S - room_S, _BELOW * low_S)) | (g_S > high_S + room_S)


def refuse_repeated(path: Path, readings: Readings) -> None:
    """Raises ConfigError where a cell is given twice at one age, which stands in the second column."""
    data, lines = readings.data, readings.lines
    order = np.lexsort((lines, data[:, 1], data[:, 0]))
    same = (data[order[1:], :2] == data[order[:-1], :2]).all(axis=1)
    for i in np.flatnonzero(same)[:1]:
        cell, age_s = data[order[i], :2]
        more = f" (and {same.sum() - 1} more readings)" if same.sum() > 1 else ""
        raise ConfigError(
            f"{path}: cell {cell:g} is given twice at the age of {age_s:g} s, in lines {lines[order[i]]} and "
            f"{lines[order[i + 1]]}{more}; a file may hold one measurement of one chip"
        )


def without_broken_cells(path: Path, readings: Readings) -> Readings:
    """Without the cells that lost a reading, where each needs all of its own."""
    keep = ~np.isin(readings.data[:, 0], readings.broken)
    if readings.broken.size:
        _LOG.warning("%s: %d cells are left out with these readings", path, readings.broken.size)
        readings.left_out["cells with such a reading"] = int(readings.broken.size)
    if not keep.any():
        raise ConfigError(f"{path}: no cell is left")
    return Readings(readings.data[keep], readings.lines[keep], readings.broken, readings.left_out)


def _refuse_broken_numbers(table: Table, cell: int) -> None:
    """Raises ConfigError where a cell's number is none that counts cells: the wrong column, most likely."""
    numbers = table.numbers([cell])[:, 0]
    for i in np.flatnonzero(numbers != np.rint(numbers))[:1]:
        raise ConfigError(f"{table.where(i, cell)}: cell {table.rows[i][cell]}: expected a whole number")


def _places(table: Table, columns: Mapping[str, Column]) -> dict[str, int]:
    for name, column in columns.items():
        if isinstance(column, int) and column >= table.width:
            needed = ", ".join(f"{number} ({name})" for name, number in columns.items())
            raise ConfigError(
                f"{table.path}:{table.header_line}: has no column {column} ({name}), but {table.width}, separated by "
                f"{separator_name(table.separator)}; the columns {needed} are needed, counted from 0"
            )
    return {name: table.column(column) for name, column in columns.items()}
