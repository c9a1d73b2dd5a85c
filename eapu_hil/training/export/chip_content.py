"""What is exported of a chip: maps of its arrays, each measurement with its values, the passport."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.bench.entries import Measurement
from eapu_hil.bench.forming_record import FormingRecord
from eapu_hil.bench.identity import label_of
from eapu_hil.bench.passport import Chip
from eapu_hil.bench.wear_maps import wear_maps
from eapu_hil.training.export.content import Column, Content, Table, Value, flattened, loose_arrays
from eapu_hil.training.export.run_content import maps_table


def chip_content(directory: Path) -> Content:
    """Everything of a chip, also while it is in use. Raises ConfigError, HilError when something in it is damaged."""
    chip = Chip.open(directory)
    heads = chip.history()
    settings = {"passport": chip.passport.model_dump(mode="json", exclude={"seal"})}
    about = {"chip": label_of(chip), "time": chip.passport.created}
    tables = (*_arrays(chip), _list_of(heads), *(entry_table(entry, chip.passport.shape) for entry in heads))
    return Content(f"chip {label_of(chip)}", about, settings, tables)


def _arrays(chip: Chip) -> list[Table]:
    """A table `arrays`: bad cells, wear and forming."""
    wear, bad = wear_maps(chip), chip.bad_cells_of_all()
    arrays: list[dict[str, NDArray[Any]]] = []
    for number, status in enumerate(bad):
        maps = {"status": status, **(wear[number] if wear else {})}
        formed = FormingRecord(chip, number).maps()
        arrays.append({**maps, **{name: values for name, values in formed.items() if name != "state"}})
    return [maps_table(arrays)]


def _list_of(entries: list[Measurement]) -> Table:
    """A table `entries` with one line a measurement."""
    columns: dict[str, NDArray[Any]] = {
        "entry": np.array([entry.number for entry in entries], np.int64),
        "kind": np.array([entry.kind for entry in entries], object),
        "time": np.array([entry.time for entry in entries], object),
        "clock_s": np.array([entry.clock_s for entry in entries], np.float64),
        "clock": np.array([entry.clock for entry in entries], object),
        "array": np.array([entry.values.get("array", -1) for entry in entries], np.int64),
    }
    found = tuple(Column(name, values.dtype) for name, values in columns.items())
    return Table("entries", "entry", len(entries), found, lambda: iter([columns]))


def entry_table(entry: Measurement, shape: tuple[int, int]) -> Table:
    """A table `measurements/NNNN_kind`: its values as attributes, its arrays as they are.

    The last axis of an array is that of the cells, or of the lines. A map of the array, of `shape`, has rows and
    columns.
    """
    cells = len(entry.arrays.get("row", ()))

    def dims_of(values: NDArray[Any]) -> tuple[str, ...]:
        if values.shape == shape and not cells:
            return ("rows", "columns")
        last = values.ndim - 1
        return tuple(
            "cell" if axis == last and size == cells else f"axis{axis}_{size}"
            for axis, size in enumerate(values.shape)
        )

    about: dict[str, Value] = {
        "kind": entry.kind,
        "time": entry.time,
        "clock_s": entry.clock_s,
        "clock": entry.clock,
    }
    name = f"measurements/{entry.number:04d}_{entry.kind}"
    return loose_arrays(name, entry.arrays, dims_of, {**about, **flattened(entry.values)})
