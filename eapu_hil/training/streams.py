"""The growing files of a run, part by part: however long the run was, little of them is in memory at a time.

What is read is proven first, by its checksum in the journal; see `eapu_hil.training.runs` for the files as wholes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.training.journal import METRICS, WRITES, parts_of, prove_grown, size_of
from eapu_hil.training.records import as_records, dtype_of_run, require_plausible
from eapu_hil.training.runs import is_old, parsed_line, run_id

RECORDS_A_BLOCK = 1 << 14


class Writes:
    """The whole records of writes.bin, as many as there were when this was made. len(): how many."""

    def __init__(self, run_dir: Path, start: Mapping[str, Any]) -> None:
        """start: start.yaml. Raises ConfigError for a run of a newer version of this program; DamagedError."""
        self._path = run_dir / WRITES
        self._dtype = dtype_of_run(start)
        there, proven = _proven(run_dir, WRITES, start)
        self._count = there // self._dtype.itemsize
        if not is_old(start):
            first = max(0, proven // self._dtype.itemsize - 1)
            tail = np.concatenate([*self._blocks(first), as_records(np.zeros(0, np.uint8), self._dtype)])
            require_plausible(self._path, tail, proven // self._dtype.itemsize - first, first)

    def __len__(self) -> int:
        return self._count

    def blocks(self) -> Iterator[NDArray[np.void]]:
        """All records in order, dtype `WRITE_DTYPE`, some thousands at a time."""
        return self._blocks(0)

    def _blocks(self, first: int) -> Iterator[NDArray[np.void]]:
        size = self._dtype.itemsize
        for part in parts_of(self._path, first * size, self._count * size, RECORDS_A_BLOCK * size):
            yield as_records(np.frombuffer(part, np.uint8), self._dtype)


def metric_lines(run_dir: Path, start: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str, int | None]]:
    """The lines of metrics.jsonl one by one: the line, its kind, its step; steps that a resumed run took again twice.

    Raises DamagedError for a line that is not JSON, or not what was written.
    """
    path = run_dir / METRICS
    there, _ = _proven(run_dir, METRICS, start)
    before, rest = 0, b""
    for part in parts_of(path, 0, there):
        *whole, rest = (rest + part).split(b"\n")
        for number, text in enumerate(whole, start=before + 1):
            yield parsed_line(path, number, text)
        before += len(whole)


def _proven(run_dir: Path, name: str, start: Mapping[str, Any]) -> tuple[int, int]:
    """How many bytes there are, and how many of them are proven."""
    if is_old(start):
        return size_of(run_dir / name), 0
    return prove_grown(run_dir, name, run_id(start))
