"""The run directory: all files of a run, written so that they stay readable after a crash at any moment.

    start.yaml      id, time, commit, resolved experiment and bench, identities, seed, package versions
    metrics.jsonl   one JSON object a line, each written at once
    writes.bin      one `WRITE_DTYPE` record per cell write, synced to the disk batch by batch
    checkpoints/    step_NNNNNN.npz, the last `CHECKPOINTS_KEPT`
    placement.json  where the weights lie on the arrays; chosen before the first write and never changed
    moves.json      which rows of weights were moved since, in order; only with wear levelling that moves
    snapshots.npz   ledger and clock before the first write, conductance maps before and after, pulses per cell,
                    example images
    summary.json    at the end; absent after a crash

Here it is read; `eapu_hil.training.run_store` writes it.
"""

from __future__ import annotations

import json
import logging
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.old_names import name_of_snapshot, with_new_names
from eapu_hil.base.storage import read_json
from eapu_hil.base.yamltext import stored_yaml
from eapu_hil.hal import ConfigError, HilError
from eapu_hil.training.records import dtype_of_run, read_records

# `exit_status` of summary.json; the others are "failed" and "stopped"
SUCCESS, DIVERGED = "success", "diverged"

_LOG = logging.getLogger(__name__)
_NPZ_DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state that the trainer saved after `step`."""

    step: int
    arrays: dict[str, NDArray[Any]]


@dataclass(frozen=True)
class LastSteps:
    """The last step that each part of a run knows of; None where it has none yet."""

    metrics: int | None
    writes: int | None
    checkpoint: int | None


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
        """See `read_metrics`. kind: `step`, `evaluation`, `refresh` or `level`; None for all."""
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
    """A run directory to look at. Raises ConfigError when it is none."""
    path = Path(run_dir)
    return RunDirectory(path, read_start(path))


def read_start(run_dir: Path) -> dict[str, Any]:
    """start.yaml, that of a run of version 0.1 with the names of today.

    Raises ConfigError when `run_dir` is no run directory.
    """
    path = run_dir / "start.yaml"
    try:
        start = stored_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{run_dir}: not a run directory (start.yaml: {error.strerror})") from error
    except ValueError as error:
        raise ConfigError(f"{path}: damaged: {str(error).splitlines()[0]}") from error
    if not isinstance(start, dict):
        raise ConfigError(f"{path}: damaged: expected a mapping")
    return start if "writes_format" in start else with_new_names(start)


def read_summary(run_dir: Path) -> dict[str, Any] | None:
    """summary.json, or None when the run has not ended."""
    return read_json(run_dir / "summary.json")


def succeeded(summary: Mapping[str, Any] | None) -> bool:
    """Whether a run came to its end; not so with None, or where it stopped, diverged or failed."""
    return summary is not None and summary.get("exit_status") == SUCCESS


def read_metrics(run_dir: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, of one kind or all. A torn last line is left out.

    A resumed run goes back to its last checkpoint and repeats the steps after it; then the later line of the
    same kind and step replaces the earlier one. Raises HilError for a line that is not JSON.
    """
    path = run_dir / "metrics.jsonl"
    lines: dict[object, dict[str, Any]] = {}
    content = path.read_bytes() if path.exists() else b""
    for number, text in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            line = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise HilError(f"{path}:{number}: damaged line: {error}") from error
        if not isinstance(line, dict) or "kind" not in line:
            raise HilError(f"{path}:{number}: damaged line: expected an object with a kind")
        if kind in (None, line["kind"]):
            key = (line["kind"], line["step"]) if "step" in line else number
            lines.pop(key, None)  # the replacement takes its place at the end
            lines[key] = line
    return list(lines.values())


def read_writes(run_dir: Path) -> NDArray[np.void]:
    """The whole records of writes.bin, shape (writes,), dtype `WRITE_DTYPE`.

    Raises ConfigError when `run_dir` is no run, or one of a newer version of this program.
    """
    return read_records(run_dir / "writes.bin", dtype_of_run(read_start(run_dir)))


def load_checkpoint(run_dir: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole; a damaged one is named in the log and passed over."""
    for path in reversed(checkpoint_paths(run_dir)):
        try:
            with np.load(path, allow_pickle=False) as archive:
                return Checkpoint(_checkpoint_step(path), {name: archive[name] for name in archive.files})
        except _NPZ_DAMAGE as error:
            _LOG.warning("%s: damaged, using the one before it (%s)", path, error)
    return None


def last_steps(run_dir: Path) -> LastSteps:
    """Where a run stands."""
    writes = read_writes(run_dir)
    steps = [line["step"] for line in read_metrics(run_dir, "step")]
    checkpoint = load_checkpoint(run_dir)
    return LastSteps(
        metrics=max(steps, default=None),
        writes=int(writes["step"].max()) if writes.size else None,
        checkpoint=checkpoint.step if checkpoint else None,
    )


def read_snapshots(run_dir: Path) -> dict[str, NDArray[Any]]:
    """The arrays of snapshots.npz under the names of today, empty when there is none.

    Raises HilError when it is damaged.
    """
    path = run_dir / "snapshots.npz"
    if not path.exists():
        return {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name_of_snapshot(name): archive[name] for name in archive.files}
    except _NPZ_DAMAGE as error:
        raise HilError(f"{path}: damaged: {error}") from error


def _checkpoint_step(path: Path) -> int:
    return int(path.stem.removeprefix("step_"))


def checkpoint_paths(run_dir: Path) -> list[Path]:
    """The checkpoints of a run, the newest last."""
    return sorted((run_dir / "checkpoints").glob("step_*.npz"), key=_checkpoint_step)
