"""The files that commands put beside entries of a passport, for people: a figure and a CSV file of each."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from eapu_hil.base.errors import ConfigError
from eapu_hil.base.storage import StorageError, storage_errors, write_aside
from eapu_hil.bench.array_csv import csv_tables
from eapu_hil.cli.terminal import Terminal

if TYPE_CHECKING:
    from eapu_hil.bench.array import BenchArray
    from eapu_hil.bench.entries import Measurement
    from eapu_hil.bench.passport import Chip


class EntryFiles:
    """Made before anything is measured: it says where matplotlib is missing, so that no figures will be drawn."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._draw: Callable[[Measurement, Path], bool] | None = None
        try:
            from eapu_calibration.figures import draw
        except ConfigError as error:
            terminal.note(f"no figures will be drawn: {error}")
        else:
            self._draw = draw

    def drawn(self, chip: Chip, entries: list[Measurement]) -> list[Path]:
        """The figures of those entries whose kind has one."""
        if self._draw is None:
            return []
        folder = chip.directory / "figures"
        paths = {entry.number: folder / f"{entry.number:04d}_{entry.kind}.png" for entry in entries}
        try:
            with storage_errors(folder):
                folder.mkdir(exist_ok=True)
                return [paths[entry.number] for entry in entries if self._draw(entry, paths[entry.number])]
        except StorageError as error:  # what was measured is in the passport
            self._terminal.note(f"no figures, but the passport holds what was measured: {error}")
            return []

    def tables(self, chip: Chip, entries: list[Measurement]) -> list[Path]:
        """CSV files with the arrays of the entries, beside their `.npz`."""
        written = []
        try:
            for entry in entries:
                path = chip.path_of(entry)
                for suffix, text in csv_tables(entry.arrays, chip.passport.shape).items():
                    written.append(path.with_name(f"{path.stem}{suffix}.csv"))
                    _write(written[-1], text)
        except StorageError as error:
            self._terminal.note(f"not all CSV files, but the passport holds what was measured: {error}")
        return written


def room(array: BenchArray) -> int:
    """Bytes that entries of the passport and the files beside them take."""
    return 8_000_000 + 800 * math.prod(array.shape)


def _write(path: Path, text: str) -> None:
    with storage_errors(path):
        write_aside(path, lambda file: file.write(text.encode()))
