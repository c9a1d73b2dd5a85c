"""The content of an export: tables of columns that come block by block, and attributes. It knows no file format."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.storage import plain
from eapu_hil.base.unit_names import unit_of
from eapu_hil.hal import CellStatus

Block = Mapping[str, NDArray[Any]]
Value = int | float | str | NDArray[Any]
TEXT = np.dtype(object)  # of a column of `str`


@dataclass(frozen=True)
class Column:
    """One column. dims, shape: of what stands in one line; () for one number or text. dtype: `TEXT` for text.

    about: more attributes than its unit, which its name ends in.
    """

    name: str
    dtype: np.dtype[Any]
    dims: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    about: Mapping[str, Value] = field(default_factory=dict)

    @property
    def attributes(self) -> dict[str, Value]:
        """For a file: the unit and what else is known."""
        unit = unit_of(self.name)
        return {**({"units": unit} if unit else {}), **self.about}


@dataclass(frozen=True, eq=False)
class Table:
    """Lines of equal columns. name: may hold `/`. dim: of its lines. blocks: some lines at a time, in order.

    Without a `dim` it is no lines but arrays of any shapes, in a single block.
    """

    name: str
    dim: str
    length: int
    columns: tuple[Column, ...]
    blocks: Callable[[], Iterator[Block]]
    about: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Content:
    """All that is exported. settings: configurations by name, in full, of which a file holds the keys as attributes."""

    title: str
    about: Mapping[str, Value]
    settings: Mapping[str, Mapping[str, Any]]
    tables: tuple[Table, ...]


def loose_arrays(
    name: str,
    arrays: Mapping[str, NDArray[Any]],
    dims_of: Callable[[NDArray[Any]], tuple[str, ...]],
    about: Mapping[str, Value] | None = None,
) -> Table:
    """A table without lines. dims_of: the names of the axes of one of the `arrays`."""
    block = {key: storable(values) for key, values in arrays.items()}
    columns = tuple(
        Column(
            key, values.dtype, dims_of(values), values.shape, STATUS_FLAGS if key.endswith("status") else {}
        )
        for key, values in block.items()
    )
    return Table(name, "", 1, columns, lambda: iter([block]), about or {})


def storable(values: NDArray[Any]) -> NDArray[Any]:
    """As types that every reader of HDF5 and netCDF knows: truth as 0 and 1, text as objects."""
    if values.dtype == np.bool_:
        return values.astype(np.uint8)
    return values.astype(object) if values.dtype.kind in "US" else values


STATUS_FLAGS: Mapping[str, Value] = {
    "flag_masks": np.array([int(status) for status in CellStatus], np.uint8),
    "flag_meanings": " ".join(str(status.name) for status in CellStatus),
    "comment": "bits of a cell's status; 0 is OK",
}


def flattened(settings: Mapping[str, Any]) -> dict[str, Value]:
    """Nested settings as one level of dotted keys: numbers, texts, lists of numbers; other lists as JSON, no nothings.

    Each key that ends in a unit is followed by KEY.units.
    """
    found: dict[str, Value] = {}
    for key, value in _leaves(plain(settings), ""):
        found[key] = value
        unit = unit_of(key)
        if unit and not isinstance(value, str):
            found[f"{key}.units"] = unit
    return found


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Value]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, bool):
        yield key, int(value)
    elif isinstance(value, (int, float, str)):
        yield key, value
    elif isinstance(value, list) and value:
        numbers = all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in value)
        yield key, np.array(value) if numbers else json.dumps(value)
