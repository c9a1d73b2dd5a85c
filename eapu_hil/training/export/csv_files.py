"""Export to a directory of CSV files: one a table, and one with all settings. Units end the names of the columns."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.bench.array_csv import csv_tables
from eapu_hil.training.export.content import Block, Content, Table, flattened


def write_csv_files(directory: Path, content: Content) -> None:
    """Fills the new `directory`. Raises OSError."""
    directory.mkdir()
    with (directory / "configuration.csv").open("x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["part", "key", "value", "unit"])
        for part, settings in content.settings.items():
            flat = flattened(settings)
            for key, value in flat.items():
                if not (key.endswith(".units") and key.removesuffix(".units") in flat):
                    text = value.tolist() if isinstance(value, np.ndarray) else value
                    writer.writerow([part, key, text, flat.get(f"{key}.units", "")])
    for table in content.tables:
        name = table.name.replace("/", "_")
        if not table.dim:
            _write_loose(directory / name, table)
        elif table.length:
            _write(directory / f"{name}.csv", table)


def _write_loose(path: Path, table: Table) -> None:
    for block in table.blocks():
        maps = next((column.shape for column in table.columns if column.dims == ("rows", "columns")), (0, 0))
        for suffix, text in csv_tables(block, (maps[0], maps[1])).items():
            path.with_name(f"{path.name}{suffix}.csv").write_text(text, encoding="utf-8", newline="")


def _write(path: Path, table: Table) -> None:
    with path.open("x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        began = False
        for block in table.blocks():
            columns = dict(_columns(block, table))
            if not began:
                writer.writerow(columns)
                began = True
            writer.writerows(zip(*columns.values(), strict=True))


def _columns(block: Block, table: Table) -> Iterator[tuple[str, list[Any]]]:
    """The columns of a file. Maps of a table give one line a cell, with its places; other axes one column each."""
    inner = [column for column in table.columns if column.shape]
    if inner and all(column.dims == ("row", "col") for column in inner):
        shape = inner[0].shape
        count = len(block[inner[0].name])
        places = np.indices((count, *shape)).reshape(3, -1)
        for column in table.columns:
            if not column.shape:
                yield column.name, block[column.name][places[0]].tolist()
        yield from zip(("row", "col"), places[1:].tolist(), strict=True)
        for column in inner:
            yield column.name, block[column.name].ravel().tolist()
        return
    for column in table.columns:
        yield from _flat(column.name, block[column.name])


def _flat(name: str, values: NDArray[Any]) -> Iterator[tuple[str, list[Any]]]:
    for index in np.ndindex(values.shape[1:]):
        place = f"[{','.join(map(str, index))}]" if index else ""
        yield name + place, _shortest(values[(slice(None), *index)])


def _shortest(values: NDArray[Any]) -> list[Any]:
    """float32 with the digits that it has, and not those that float64 would add."""
    return [str(value) for value in values] if values.dtype == np.float32 else list(values.tolist())
