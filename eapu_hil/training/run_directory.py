"""A run directory for a script: `load_run` opens one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.training.proof import prove
from eapu_hil.training.runs import (
    checkpoint_paths,
    read_metrics,
    read_snapshots,
    read_start,
    read_summary,
    read_writes,
)


@dataclass(frozen=True, eq=False)
class RunDirectory:
    """A run directory to look at; `load_run` opens one. What is asked for is read then, so a run may still go on.

    start: start.yaml.
    """

    path: Path
    start: dict[str, Any]

    @property
    def summary(self) -> dict[str, Any] | None:
        """summary.json, or None when the run has not ended."""
        return read_summary(self.path)

    def metrics(self, kind: str | None = None) -> list[dict[str, Any]]:
        """See `read_metrics`. kind: `step`, `evaluation`, `refresh`, `level`, or the notes `event` and `bench`."""
        return read_metrics(self.path, kind)

    @property
    def writes(self) -> NDArray[np.void]:
        """One record per cell write, shape (writes,), dtype `eapu_hil.training.records.WRITE_DTYPE`."""
        return read_writes(self.path)

    @property
    def snapshots(self) -> dict[str, NDArray[Any]]:
        """Conductance maps before and after, pulses per cell, example images. Raises HilError for a damaged file."""
        return read_snapshots(self.path)

    @property
    def checkpoints(self) -> list[Path]:
        """The checkpoints that are kept, the newest last."""
        return checkpoint_paths(self.path)


def load_run(run_dir: Path | str) -> RunDirectory:
    """A run directory to look at. Raises ConfigError when it is none, HilError when a file of it is damaged."""
    path = Path(run_dir)
    prove(path)
    return RunDirectory(path, read_start(path))
