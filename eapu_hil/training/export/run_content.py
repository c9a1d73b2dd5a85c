"""What is exported of a run: metrics, writes, maps of its arrays, example images, configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.training.export.content import STATUS_FLAGS, Block, Column, Content, Table, Value, loose_arrays
from eapu_hil.training.export.metrics import metric_tables
from eapu_hil.training.proof import prove
from eapu_hil.training.records import WRITE_DTYPE, WriteCause
from eapu_hil.training.runs import read_snapshots, read_start, read_summary
from eapu_hil.training.streams import Writes

_MAPS = ("g_before_S", "g_after_S", "pulses")
_ABOUT: dict[str, Mapping[str, Value]] = {
    "step": {"long_name": "training step that asked for the write"},
    "time_s": {"long_name": "bench clock"},
    "target_S": {"long_name": "conductance that was asked for"},
    "before_S": {"long_name": "first reading"},
    "after_S": {"long_name": "last verify reading; NaN without verify"},
    "status": STATUS_FLAGS,
    "cause": {
        "flag_values": np.array([int(cause) for cause in WriteCause], np.uint8),
        "flag_meanings": " ".join(cause.name for cause in WriteCause),
    },
}


def run_content(run_dir: Path) -> Content:
    """Everything of a run, also of one that goes on or crashed.

    Raises ConfigError when `run_dir` is no run, HilError when something in it is damaged.
    """
    prove(run_dir)
    start = read_start(run_dir)
    snapshots = read_snapshots(run_dir)
    summary = read_summary(run_dir) or {}
    settings = {"experiment": start.get("experiment"), "bench": start.get("bench"), "summary": summary}
    rest = {key: value for key, value in start.items() if key not in settings}
    found = {
        "start": rest,
        **{key: value for key, value in settings.items() if isinstance(value, Mapping) and value},
    }
    tables = (*metric_tables(run_dir, start), writes_table(Writes(run_dir, start)), *_maps(snapshots))
    title = f"run {start.get('id', run_dir.name)}"
    about = {"run": str(start.get("id", run_dir.name)), "time": str(start.get("time", ""))}
    return Content(title, about, found, (*tables, *_examples(snapshots)))


def writes_table(writes: Writes) -> Table:
    """A table `writes` with one line a cell write."""
    columns = tuple(
        Column(name, WRITE_DTYPE[name], about=_ABOUT.get(name, {})) for name in WRITE_DTYPE.names or ()
    )

    def blocks() -> Iterator[Block]:
        for records in writes.blocks():
            yield {column.name: np.ascontiguousarray(records[column.name]) for column in columns}

    return Table("writes", "write", len(writes), columns, blocks)


def _maps(snapshots: Mapping[str, NDArray[Any]]) -> list[Table]:
    """A table `arrays` with one line an array."""
    by_array: dict[int, dict[str, NDArray[Any]]] = {}
    for name, values in snapshots.items():
        head, _, tail = name.rpartition("_")
        if head in _MAPS and tail.isdigit():
            by_array.setdefault(int(tail), {})[head] = values
    return [maps_table([by_array[number] for number in sorted(by_array)])] if by_array else []


def maps_table(arrays: list[dict[str, NDArray[Any]]]) -> Table:
    """A table `arrays`. arrays: of each the maps by name, all of one shape (rows, columns)."""
    named = {name: values for maps in arrays for name, values in maps.items()}
    columns = [
        Column(name, values.dtype, ("row", "col"), values.shape, _about_map(name))
        for name, values in named.items()
    ]

    def blocks() -> Iterator[Block]:
        for number, maps in enumerate(arrays):
            shown = {column.name: maps.get(column.name, _missing(column)) for column in columns}
            yield {"array": np.array([number]), **{name: values[None] for name, values in shown.items()}}

    number = Column("array", np.dtype(np.int64))
    return Table("arrays", "array", len(arrays), (number, *columns), blocks)


def _about_map(name: str) -> Mapping[str, Value]:
    return STATUS_FLAGS if name == "status" else {}


def _missing(column: Column) -> NDArray[Any]:
    return np.full(column.shape, np.nan if column.dtype.kind == "f" else 0, column.dtype)


def _examples(snapshots: Mapping[str, NDArray[Any]]) -> Iterator[Table]:
    """A table `examples/NAME` of each image."""
    for name, values in snapshots.items():
        if name.startswith("gallery_") and values.ndim >= 2:
            image = {"image": values}
            yield loose_arrays(f"examples/{name.removeprefix('gallery_')}", image, _image_dims)


def _image_dims(values: NDArray[Any]) -> tuple[str, ...]:
    return ("y", "x", "colour", *(f"axis_{axis}" for axis in range(3, values.ndim)))[: values.ndim]
