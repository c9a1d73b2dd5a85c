"""The arrays of an entry of the passport as CSV, for other people's tools. Nothing here reads them back.

Units end the names of the columns. An array of several values a cell gives several columns: `g_S[0]`, `g_S[1]` ...
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_calibration.cell_faults import CellFault
from eapu_hil.bench.cellcsv import status_text
from eapu_hil.bench.entries import Measurement

_PLACES = ("row", "col")


def tables_of(entry: Measurement, shape: tuple[int, int]) -> dict[str, str]:
    """The texts of the files, by what follows the name of the entry in theirs: "" for the first one.

    One file holds all arrays whose last axis has one length, such as one value a cell or a line; a map of the array,
    which is of `shape` (rows, columns), gives one line a cell.
    """
    groups: dict[int, dict[str, NDArray[Any]]] = {}
    for name, array in _flat(entry, shape):
        groups.setdefault(array.shape[-1], {})[name] = array
    suffixes = ("", *(f"_{number}" for number in range(2, len(groups) + 1)))
    return {suffix: _text(columns) for suffix, columns in zip(suffixes, groups.values(), strict=False)}


def _flat(entry: Measurement, shape: tuple[int, int]) -> Iterator[tuple[str, NDArray[Any]]]:
    """The arrays; a map without places, with them."""
    has_places = "row" in entry.arrays
    told = False
    for name, array in entry.arrays.items():
        if array.shape == shape and not has_places:
            if not told:
                yield from zip(_PLACES, (place.ravel() for place in np.indices(shape)), strict=True)
                told = True
            yield name, array.ravel()
        else:
            yield name, np.atleast_1d(array)


def _text(arrays: dict[str, NDArray[Any]]) -> str:
    columns: dict[str, list[str]] = {}
    for name, array in arrays.items():
        for index in np.ndindex(array.shape[:-1]):
            place = f"[{','.join(map(str, index))}]" if index else ""
            columns[name + place] = _fields(name, array[index])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def _fields(name: str, values: NDArray[Any]) -> list[str]:
    if name.endswith("status"):
        return [status_text(int(value)) for value in values]
    if name == "fault":
        return [CellFault(int(value)).name for value in values]
    if values.dtype.kind == "f":
        return [f"{value:.9g}" for value in values]
    return [str(int(value)) for value in values]
