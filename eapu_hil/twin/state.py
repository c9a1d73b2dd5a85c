"""The physical state of a twin, in memory-mapped files.

A real chip keeps its conductances when the host process is killed. So does the twin: each quantity of the
state is one `.npy` file in the chip directory, mapped into memory, and survives `kill -9` at any moment.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.old_names import rename_old_file

Scalar = TypeVar("Scalar", bound=np.generic)


def state_directory(chip_dir: Path) -> Path:
    """Where the simulated cells of a chip keep their state, below the directory of its passport."""
    return chip_dir / "twin"


class StateFiles:
    """A directory of memory-mapped arrays."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory

    def array(self, name: str, initial: NDArray[Scalar]) -> NDArray[Scalar]:
        """The array `name`, created with `initial` when it does not exist yet. An old file of it is renamed.

        The file appears complete or not at all, so that a crash at creation leaves nothing half-made.
        """
        path = self._directory / f"{name}.npy"
        rename_old_file(path)
        if not path.exists():
            part = path.with_suffix(".part")
            with part.open("wb") as file:
                np.save(file, initial)
            part.replace(path)
        mapped = np.load(path, mmap_mode="r+")
        if mapped.shape != initial.shape or mapped.dtype != initial.dtype:
            raise ValueError(
                f"{path} holds {mapped.dtype}{mapped.shape}, expected {initial.dtype}{initial.shape}"
            )
        # A plain view: arithmetic on it stays ordinary numpy.
        plain: NDArray[Scalar] = mapped.view(np.ndarray)
        return plain

    def zeros(self, name: str, shape: tuple[int, ...], dtype: type[Scalar]) -> NDArray[Scalar]:
        """An array of zeros, created when absent."""
        return self.array(name, np.zeros(shape, dtype))


class BenchClock:
    """Simulated bench time, shared by the arrays of one bench and kept over restarts."""

    def __init__(self, files: StateFiles) -> None:
        self._time_s = files.zeros("clock", (1,), np.float64)

    def now_s(self) -> float:
        """Bench time since the chip was made, s."""
        return float(self._time_s[0])

    def advance(self, duration_s: float) -> None:
        """Lets `duration_s` pass. Raises ValueError when it is negative."""
        if not duration_s >= 0:
            raise ValueError(f"time cannot advance by {duration_s} s")
        self._time_s[0] += duration_s
