"""Drift monitor: finds cells that have left the band around their target, and how long ago they did.

What was written is in the entries `programmed` of the passport (`eapu_hil.bench.programmed`). A cell that was pulsed
since then, by a training run or a calibration, no longer holds its target and is left out. Each look is an entry
`drift`; a cell is out since the first of the looks in a row that found it out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_calibration.statistics import bootstrap
from eapu_hil.bench.entries import Measurement
from eapu_hil.bench.passport import Chip
from eapu_hil.bench.programmed import PROGRAMMED
from eapu_hil.hal import Cells, CellStatus, Crossbar, FloatArray, HilError, IntArray, StatusArray, Targets

DRIFT = "drift"


@dataclass(frozen=True, eq=False)
class Drift:
    """The result of one look; arrays of shape (n,), one element a cell that still holds its target.

    written_at_s: bench clock then, NaN where that was another clock. g_S: NaN where it cannot be read, which counts as
    out. since_s: bench clock of the first of the looks in a row
    that found the cell out, NaN where it is in. overwritten: cells that were pulsed since they were written.
    """

    targets: Targets
    written_at_s: FloatArray
    g_S: FloatArray
    status: StatusArray
    out: NDArray[np.bool_]
    since_s: FloatArray
    band_S: float
    overwritten: int

    def columns(self) -> dict[str, NDArray[Any]]:
        """Of each cell what stands in a table of results (`RESULT_HEADER`), and whether it is `out`."""
        cells = self.targets.cells
        return {
            "row": cells.row,
            "col": cells.col,
            "g_uS": 1e6 * self.g_S,
            "status": self.status,
            "g_target_uS": 1e6 * self.targets.g_target_S,
            "reads": np.ones(len(self.targets), np.int64),
            "out": self.out,
        }

    def refresh(self) -> Targets:
        """The cells to write again, with their targets: those that are out of their band."""
        return Targets(self.targets.cells[self.out], self.targets.g_target_S[self.out])


def look(
    array: Crossbar, number: int, chip: Chip, v_read_v: float, band_S: float, pulses: IntArray
) -> tuple[Drift, Measurement]:
    """Reads the cells of array `number` that hold a target and records what came of it.

    Cells whose write ended outside the band are left out. pulses: of each cell so far, (rows, columns). Raises
    HilError where nothing was written, or all of it was pulsed since.
    """
    history = [entry for entry in chip.history() if entry.values.get("array") == number]
    target_S, written_by, written_at_s, pulsed = _written(history, array.shape, chip.clock)
    known = np.isfinite(target_S)
    if not known.any():
        raise HilError(
            f"array {number}: no cell has a target, because nothing was written with eapu-hil program or array.program"
        )
    holds = known & (pulsed == pulses)
    if not holds.any():
        raise HilError(
            f"array {number}: all {int(known.sum())} cells were pulsed again since they were written, by a training "
            "run or a calibration: their targets are not known"
        )
    cells = Cells(*np.nonzero(holds))
    now_s = array.clock_s()
    reading = array.read(cells, v_read_v)
    g_S = np.where(reading.status == CellStatus.OK, reading.g_S, np.nan)
    targets = Targets(cells, target_S[holds])
    out = ~(np.abs(g_S - targets.g_target_S) <= band_S)
    since_s = np.where(out, _out_since(history, written_by, chip.clock)[holds], np.nan)
    since_s = np.where(out & np.isnan(since_s), now_s, since_s)
    drift = Drift(
        targets,
        written_at_s[holds],
        g_S,
        reading.status,
        out,
        since_s,
        band_S,
        int((known & ~holds).sum()),
    )
    return drift, _recorded(chip, number, drift, now_s)


def _recorded(chip: Chip, number: int, drift: Drift, now_s: float) -> Measurement:
    error_S = (drift.g_S - drift.targets.g_target_S)[np.isfinite(drift.g_S)]
    rng = np.random.default_rng(0)  # resampling only
    enough = error_S.size > 2
    values = {
        "array": number,
        "cells": len(drift.targets),
        "out": int(drift.out.sum()),
        "band_S": drift.band_S,
        "overwritten": drift.overwritten,
        "error_sd_S": bootstrap(np.std, error_S, rng).plain() if enough else None,
        "error_mean_S": bootstrap(np.mean, error_S, rng).plain() if enough else None,
    }
    cells = drift.targets.cells
    arrays = {
        "row": cells.row,
        "col": cells.col,
        "g_target_S": drift.targets.g_target_S,
        "g_S": drift.g_S,
        "out": drift.out,
        "since_s": drift.since_s,
    }
    return chip.record(DRIFT, values, arrays, now_s)


def _written(
    history: list[Measurement], shape: tuple[int, int], clock: str
) -> tuple[FloatArray, NDArray[np.int64], FloatArray, NDArray[np.int64]]:
    """Of each cell the last target in S (NaN: none, or the write failed), its entry, bench time, and pulses by then.

    The bench time is NaN where another clock than `clock` gave it.
    """
    target_S, at_s = np.full(shape, np.nan), np.full(shape, np.nan)
    by, pulsed = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for entry in history:
        if entry.kind == PROGRAMMED:
            found = entry.arrays
            where = found["row"], found["col"]
            target_S[where] = np.where(found["status"] == CellStatus.OK, found["g_target_S"], np.nan)
            by[where] = entry.number
            at_s[where] = entry.clock_s if entry.clock == clock else np.nan
            pulsed[where] = found["pulses"]
    return target_S, by, at_s, pulsed


def _out_since(history: list[Measurement], written_by: NDArray[np.int64], clock: str) -> FloatArray:
    """Of each cell the bench time since when every look after its write found it out; NaN where the last did not.

    Looks at other times than those of `clock` say nothing of how long ago that was, and begin no such row.
    """
    since_s = np.full(written_by.shape, np.nan)
    for entry in history:
        if entry.kind == DRIFT:
            where = entry.arrays["row"], entry.arrays["col"]
            after = (entry.number > written_by[where]) & (entry.clock == clock)
            before_s = since_s[where]
            now_s = np.where(np.isnan(before_s), entry.clock_s, before_s)
            since_s[where] = np.where(entry.arrays["out"] & after, now_s, np.nan)
    return since_s
