"""The record of what a run writes: on the disk before anything believes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.bench import Bench
from eapu_hil.hal import Cells, CellStatus, FloatArray, IntArray
from eapu_hil.placement.pairs import BoolArray, WriteBatch
from eapu_hil.training.records import WRITE_DTYPE, WriteCause, write_records
from eapu_hil.training.run_store import RunStore
from eapu_hil.training.runs import read_writes


@dataclass(frozen=True)
class WriteCounts:
    """The results of one update: the share of each layer's weights that changed, cell writes, pulses, failures."""

    changed: dict[str, float]
    writes: int = 0
    pulses: int = 0
    not_converged: int = 0


class WriteLog:
    """Puts each write of a run on the disk, and cells that it found stuck into the passport.

    store: the run; None for a model that is only used, of which nothing is kept.
    """

    def __init__(self, bench: Bench, store: RunStore | None) -> None:
        self._bench = bench
        self._store = store
        self._shape = (len(bench.arrays), *bench.arrays[0].shape)
        self._step, self._cause = 0, WriteCause.UPDATE

    @property
    def store(self) -> RunStore | None:
        """The run; None without one."""
        return self._store

    def begin(self, step: int, cause: WriteCause = WriteCause.UPDATE) -> None:
        """Marks all writes that are recorded from now on as those of `step`."""
        self._step, self._cause = step, cause

    def record(self, batch: WriteBatch) -> None:
        """Returns when `batch` is on the disk."""
        if self._store is None:
            return
        clock_s = self._bench.arrays[batch.array].clock_s()
        records = write_records(
            self._step, clock_s, batch.array, batch.targets, batch.outcome, cause=self._cause
        )
        self._store.append_writes(records)
        stuck = (batch.outcome.status & CellStatus.STUCK) != 0
        if stuck.any():
            cells = batch.targets.cells[stuck]
            found = {"row": cells.row, "col": cells.col, "status": batch.outcome.status[stuck]}
            values = {"array": batch.array, "cells": len(cells), "found_by": "training"}
            self._bench.chip.record("bad_cells", values, found, clock_s)

    def written(self) -> BoolArray:
        """Which cells the run has on record, shape (arrays, rows, columns)."""
        done = np.zeros(self._shape, bool)
        records = self._records()
        done[records["array"], records["row"], records["col"]] = True
        return done

    def verified_targets_S(self) -> tuple[IntArray, Cells, FloatArray]:
        """Array, cell and target (S) of each write so far, NaN for one that failed or was not verified."""
        records = self._records()
        verified = (records["status"] == CellStatus.OK) & np.isfinite(records["after_S"])
        target_S = np.where(verified, records["target_S"], np.nan)
        return records["array"].astype(np.int64), Cells(records["row"], records["col"]), target_S

    def updates_after(self, step: int) -> NDArray[np.void]:
        """The records of what rules asked for after `step`."""
        records = self._records()
        its: NDArray[np.void] = records[(records["step"] > step) & (records["cause"] == WriteCause.UPDATE)]
        return its

    def _records(self) -> NDArray[np.void]:
        return read_writes(self._store.path) if self._store is not None else np.zeros(0, WRITE_DTYPE)


def joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """One vector of several; of none an empty one."""
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
