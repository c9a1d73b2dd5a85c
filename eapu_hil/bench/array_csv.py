"""The arrays of a measurement as CSV, for other people's tools. Nothing here reads them back.

Units end the names of the columns. An array of several values a cell gives several columns: `g_S[0]`, `g_S[1]` ...
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.bench.cellcsv import status_text


def csv_tables(arrays: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> dict[str, str]:
    """The texts of the files, by what follows the name of the measurement in theirs: "" for the first one.

    One file holds all arrays whose last axis has one length, such as one value a cell or a line; a map of the array,
    which is of `shape` (rows, columns), gives one line a cell.
    """
    groups: dict[int, dict[str, NDArray[Any]]] = {}
    for name, array in _flat(arrays, shape):
        groups.setdefault(array.shape[-1], {})[name] = array
    suffixes = ("", *(f"_{number}" for number in range(2, len(groups) + 1)))
    return {suffix: _text(columns) for suffix, columns in zip(suffixes, groups.values(), strict=False)}


def _flat(arrays: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> Iterator[tuple[str, NDArray[Any]]]:
    """The arrays; maps as lists of cells, with their places before the first of them."""
    maps = [name for name, array in arrays.items() if array.shape == shape and "row" not in arrays]
    for name, array in arrays.items():
        if name in maps[:1]:
            yield from zip(("row", "col"), (place.ravel() for place in np.indices(shape)), strict=True)
        yield name, array.ravel() if name in maps else np.atleast_1d(array)


def _text(arrays: Mapping[str, NDArray[Any]]) -> str:
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
    if values.dtype.kind == "f":
        return [f"{value:.9g}" for value in values]
    return [str(value if values.dtype.kind in "OUS" else int(value)) for value in values]
