"""The history of the lines of a simulated board, kept in a file that other processes can read, also after a crash."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from eapu_hil.twin.state import StateFiles, state_directory

_FILE = "front_end"


@dataclass(frozen=True)
class LineRecord:
    """The state of the lines and what led to it, over the life of the chip.

    reads, pulse_requests, products: requests of each kind. pulses: applied, one a cell. grounds: times that every
    line was put to 0 V. line_code, gate_code: largest code at any line driver and any gate at present.
    last_drive_s, last_ground_s: when, by time.monotonic(), which the processes of a machine share.
    """

    reads: int
    pulse_requests: int
    products: int
    pulses: int
    grounds: int
    line_code: int
    gate_code: int
    last_drive_s: float
    last_ground_s: float

    @property
    def grounded(self) -> bool:
        """Whether every line is at 0 V."""
        return self.line_code == 0 and self.gate_code == 0

    @classmethod
    def read(cls, chip_dir: Path) -> LineRecord:
        """That of the chip in `chip_dir`, while a board drives it or afterwards."""
        return cls(*np.load(state_directory(chip_dir) / f"{_FILE}.npy")[0].item())


_DTYPE = np.dtype(
    [(field.name, np.float64 if field.type == "float" else np.int64) for field in fields(LineRecord)]
)


class LineRecorder:
    """Keeps the `LineRecord` of a chip up to date."""

    def __init__(self, files: StateFiles) -> None:
        self._now = files.array(_FILE, np.zeros(1, _DTYPE))

    @property
    def grounded(self) -> bool:
        """Whether every line is at 0 V."""
        return not (self._now["line_code"][0] or self._now["gate_code"][0])

    def driven(self, line_code: int, gate_code: int) -> None:
        """Lines and gates are at these codes, at most, from now on."""
        self._now["line_code"], self._now["gate_code"] = line_code, gate_code
        self._now["last_drive_s"] = time.monotonic()

    def released(self, gate_code: int) -> None:
        """The line drivers went back to 0 V, the gate did not."""
        self._now["line_code"], self._now["gate_code"] = 0, gate_code

    def grounds(self) -> None:
        """Every line went to 0 V."""
        self.released(0)
        self._now["last_ground_s"] = time.monotonic()
        self.count("grounds")

    def count(self, name: str, number: int = 1) -> None:
        """Adds to one of the counters."""
        self._now[name] += number
