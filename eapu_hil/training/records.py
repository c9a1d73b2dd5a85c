"""writes.bin: one fixed-size record per cell write, and how those of older runs are read.

start.yaml describes the records of its run below `writes_format`, so that other programs can read them too.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.npz import DamagedError
from eapu_hil.hal import ConfigError, IntArray, Targets, WriteOutcome


class WriteCause(IntEnum):
    """Why a cell was written."""

    UPDATE = 0  # an initial weight, or a rule asked for it
    REFRESH = 1  # the cell had drifted
    MOVE = 2  # its weight came from another row


WRITES_FORMAT = 2
WRITE_DTYPE = np.dtype(
    [
        ("step", "<i4"),  # training step that asked for the write
        ("time_s", "<f8"),  # bench clock, s
        ("array", "<i2"),
        ("row", "<i2"),
        ("col", "<i2"),
        ("target_S", "<f4"),  # wanted conductance, S
        ("before_S", "<f4"),  # first and last verify reading, S
        ("after_S", "<f4"),  # NaN: pulses without verify, and before_S is what the host believed
        ("pulses", "<i4"),
        ("status", "u1"),  # CellStatus
        ("cause", "u1"),  # WriteCause
    ]
)
# Runs of format 1 do not describe their records. The layout is that of then; conductances have their names of today.
_FORMAT_1 = [
    ("step", "<i4"),
    ("time_s", "<f8"),
    ("array", "<i2"),
    ("row", "<i2"),
    ("col", "<i2"),
    ("target_S", "<f4"),
    ("before_S", "<f4"),
    ("after_S", "<f4"),
    ("pulses", "<i4"),
    ("status", "u1"),
    ("refresh", "u1"),
]
_RENAMED = {"refresh": "cause"}  # names of fields in older runs, and what they are called now


def write_records(
    step: int,
    time_s: float,
    array: IntArray,
    targets: Targets,
    outcome: WriteOutcome,
    *,
    cause: WriteCause = WriteCause.UPDATE,
) -> NDArray[np.void]:
    """The `WRITE_DTYPE` records of one request that writes cells, in its order. array: of each cell."""
    records = np.zeros(len(targets), dtype=WRITE_DTYPE)
    records["step"], records["time_s"], records["array"] = step, time_s, array
    records["row"], records["col"] = targets.cells.row, targets.cells.col
    records["target_S"] = targets.g_target_S
    records["before_S"], records["after_S"] = outcome.g_before_S, outcome.g_after_S
    records["pulses"], records["status"] = outcome.pulses, outcome.status
    records["cause"] = cause
    return records


def writes_format() -> dict[str, Any]:
    """The description of the current record format, for start.yaml."""
    fields = [[name, WRITE_DTYPE[name].str] for name in WRITE_DTYPE.names or ()]
    return {"version": WRITES_FORMAT, "fields": fields}


def dtype_of_run(start: Mapping[str, Any]) -> np.dtype[np.void]:
    """The record dtype of the run with this start.yaml, with the present field names.

    Raises ConfigError for a run of a newer version of this program, and for a description that is none.
    """
    described = start.get("writes_format") or {"version": 1, "fields": _FORMAT_1}
    try:
        version = int(described["version"])
        fields = [(_RENAMED.get(name, name), str(kind)) for name, kind in described["fields"]]
        dtype = np.dtype(fields)
        if any(dtype[name].kind not in "iuf" for name in dtype.names or ()) or not dtype.itemsize:
            raise ValueError("fields that are no numbers")
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"start.yaml: writes_format: damaged: {error}") from error
    if version > WRITES_FORMAT:
        raise ConfigError(
            f"writes.bin has format {version}, and this eapu_hil reads formats up to "
            f"{WRITES_FORMAT}; install a newer eapu_hil"
        )
    return dtype


def as_records(content: NDArray[np.uint8], dtype: np.dtype[np.void]) -> NDArray[np.void]:
    """The whole records in the bytes of a file, as `WRITE_DTYPE`. dtype: as they lie in it."""
    stored: NDArray[np.void] = content[: content.size // dtype.itemsize * dtype.itemsize].view(dtype)
    if dtype == WRITE_DTYPE:
        return stored
    records = np.zeros(stored.size, dtype=WRITE_DTYPE)
    for name in set(dtype.names or ()) & set(WRITE_DTYPE.names or ()):
        records[name] = stored[name]
    return records


def require_plausible(path: Path, records: NDArray[np.void], proven: int, first: int = 0) -> None:
    """Raises DamagedError where records behind the first `proven` cannot be what a run has written.

    After a crash the last batch may stand there without a checksum. first: how many records of the file stand before
    these.
    """
    tail, steps = records[proven:], records["step"][max(0, proven - 1) :]
    right = (
        (np.diff(steps) >= 0).all()
        and (tail["step"] >= 0).all()
        and all((tail[name] >= 0).all() for name in ("array", "row", "col", "pulses"))
        and (tail["cause"] <= max(WriteCause)).all()
        and (np.isfinite(tail["time_s"]) & (tail["target_S"] >= 0) & (tail["target_S"] < 1)).all()
    )
    if not right:
        raise DamagedError(
            f"{path}: damaged: what stands behind its first {first + proven} records was not written by this run; cut "
            f"the file to {(first + proven) * records.dtype.itemsize} bytes, or bring it back from a copy"
        )
