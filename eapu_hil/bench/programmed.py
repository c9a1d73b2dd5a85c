"""Records the targets written to a chip's cells in its passport, for the drift monitor.

Each write-verify request on an open bench leaves an entry `programmed`: targets, how each write ended, and how often
each cell had been pulsed by then. A cell that was pulsed since, by a training run or a calibration, no longer holds its
target. Both of these write thousands of times and leave no entries (`BenchArray.without_record`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from eapu_hil.base.storage import StorageError
from eapu_hil.bench.entries import Measurement
from eapu_hil.bench.passport import Chip
from eapu_hil.hal import CellStatus, IntArray, Targets, WriteOutcome

PROGRAMMED = "programmed"


class NotRecordedError(StorageError):
    """Cells were written, but that could not be noted in the passport. outcome: of the write."""

    def __init__(self, reason: str, outcome: WriteOutcome) -> None:
        super().__init__(f"the cells are written, but the passport does not say so: {reason}")
        self.outcome = outcome


# Is told what was written, how it ended, how often each of these cells was pulsed so far, and the bench time.
Recorder = Callable[[Targets, WriteOutcome, IntArray, float], Measurement]


@contextmanager
def recording(outcome: WriteOutcome) -> Iterator[None]:
    """Around recording it. Raises NotRecordedError where the passport cannot be written."""
    try:
        yield
    except StorageError as error:
        raise NotRecordedError(str(error), outcome) from error


def record_programmed(
    chip: Chip, number: int, targets: Targets, outcome: WriteOutcome, pulses: IntArray, clock_s: float
) -> Measurement:
    """Remembers what was written to array `number`. pulses: of each of these cells so far, shape (n,)."""
    cells = targets.cells
    good = outcome.status == CellStatus.OK
    values = {"array": number, "cells": len(targets), "in_band": int(good.sum())}
    arrays: dict[str, NDArray[Any]] = {
        "row": cells.row,
        "col": cells.col,
        "g_target_S": targets.g_target_S,
        "status": outcome.status,
        "pulses": pulses,
    }
    return chip.record(PROGRAMMED, values, arrays, clock_s)
