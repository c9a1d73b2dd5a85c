"""The run directory: all that a run leaves behind, written so that a crash at any moment leaves it readable.

    start.yaml      id, time, commit, resolved experiment and bench, identities, seed, package versions
    metrics.jsonl   one JSON object a line, each written at once
    writes.bin      one `WRITE_DTYPE` record per cell write, synced to the disk batch by batch
    checkpoints/    step_NNNNNN.npz, the last `CHECKPOINTS_KEPT`
    placement.json  where the weights lie on the arrays; chosen before the first write and never changed
    moves.json      which rows of weights were moved since, in order; only with wear levelling that moves
    snapshots.npz   ledger and clock before the first write, conductance maps before and after, pulses per cell,
                    example images
    summary.json    at the end; absent after a crash

Small files are written aside, synced and renamed, so that a reader sees the old one or the new one. The two
that grow are cut back to their last whole record when they are opened again.
"""

from __future__ import annotations

import json
import logging
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from eapu_hil.base.provenance import git_commit, new_run_id, now_iso, package_versions
from eapu_hil.base.storage import (
    GrowingFile,
    StorageError,
    plain,
    read_json,
    storage_errors,
    write_aside,
    write_json,
)
from eapu_hil.hal import ConfigError, HilError, Targets, WriteOutcome

WRITE_DTYPE = np.dtype(
    [
        ("step", "<i4"),  # training step that asked for the write
        ("time_s", "<f8"),  # bench clock, s
        ("array", "<i2"),
        ("row", "<i2"),
        ("col", "<i2"),
        ("target_s", "<f4"),  # wanted conductance, S
        ("before_s", "<f4"),  # first and last verify reading, S
        ("after_s", "<f4"),  # NaN: pulses without verify, and before_s is what the host believed
        ("pulses", "<i4"),
        ("status", "u1"),  # CellStatus
        (
            "refresh",
            "u1",
        ),  # no rule asked for it: REFRESHED, the cell had drifted; MOVED, its weight came from another
    ]
)
REFRESHED, MOVED = 1, 2
CHECKPOINTS_KEPT = 3

_LOG = logging.getLogger(__name__)
_NPZ_DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What the trainer saved after `step`."""

    step: int
    arrays: dict[str, NDArray[Any]]


@dataclass(frozen=True)
class LastSteps:
    """The last step that each part of a run knows of; None where it has none yet."""

    metrics: int | None
    writes: int | None
    checkpoint: int | None


def write_records(
    step: int,
    time_s: float,
    array: int,
    targets: Targets,
    outcome: WriteOutcome,
    *,
    refresh: int = 0,
) -> NDArray[np.void]:
    """The `WRITE_DTYPE` records of one `program` request, in its order. refresh: 0, `REFRESHED` or `MOVED`."""
    records = np.zeros(len(targets), dtype=WRITE_DTYPE)
    records["step"], records["time_s"], records["array"] = step, time_s, array
    records["row"], records["col"] = targets.cells.row, targets.cells.col
    records["target_s"] = targets.g_target_s
    records["before_s"], records["after_s"] = outcome.g_before_s, outcome.g_after_s
    records["pulses"], records["status"] = outcome.pulses, outcome.status
    records["refresh"] = refresh
    return records


class RunStore:
    """A run that is being written. One process at a time: a second one is refused.

    Made by `create` or `open`; a context manager that closes its files. A new run whose block ends with an
    exception before anything was recorded leaves nothing behind.
    """

    def __init__(self, path: Path, start: dict[str, Any]) -> None:
        self.path = path
        self.start = start
        self._fresh = False  # made by `create` and nothing recorded since
        with storage_errors(path):
            self._writes = GrowingFile(path / "writes.bin", _whole_records)
            self._metrics = GrowingFile(path / "metrics.jsonl", _whole_lines)

    @classmethod
    def create(cls, path: Path | str, start: Mapping[str, Any]) -> RunStore:
        """A new run in `path`, which must not exist or be empty.

        start: what was asked for: name, experiment, bench, identities, seed (plain YAML values). Id, time,
        commit and package versions are added here. Raises ConfigError with nothing written.
        """
        path = Path(path)
        with storage_errors(path):
            if path.exists() and (not path.is_dir() or any(path.iterdir())):
                raise ConfigError(
                    f"{path}: already exists; name a new directory with --out, or resume this run"
                )
        record = {
            "id": new_run_id(str(start.get("name", "run"))),
            "time": now_iso(),
            **git_commit(),
            **start,
            "packages": package_versions(),
        }
        try:
            with storage_errors(path):
                (path / "checkpoints").mkdir(parents=True)
                _write_start(path, record)
            store = cls(path, record)
        except StorageError:
            _discard(path)
            raise
        store._fresh = True
        return store

    @classmethod
    def open(cls, path: Path | str) -> RunStore:
        """An unfinished run, to go on with: torn records are cut, the summary of a stopped run is removed.

        Raises ConfigError when `path` is no run or its run ended with success.
        """
        path = Path(path)
        start = read_start(path)
        summary = read_summary(path)
        if summary is not None and summary.get("exit_status") == "success":
            raise ConfigError(f"{path}: this run has finished; there is nothing to resume")
        store = cls(path, start)
        with storage_errors(path):
            (path / "summary.json").unlink(missing_ok=True)
            (path / "checkpoints").mkdir(exist_ok=True)
            for leftover in path.rglob("*.part"):
                leftover.unlink()
        return store

    def amend_start(self, values: Mapping[str, Any]) -> None:
        """Adds `values` to start.yaml: what is known only once the bench is open, such as identities."""
        self.start = {**self.start, **values}
        with storage_errors(self.path):
            _write_start(self.path, self.start)

    def append_metrics(self, kind: str, values: Mapping[str, Any]) -> None:
        """One line of metrics.jsonl: `{"kind": kind, ...values}`; numbers that are not finite become null."""
        self._fresh = False
        line = json.dumps(plain({"kind": kind, **values}), allow_nan=False, separators=(",", ":"))
        self._metrics.append(line.encode() + b"\n", durable=False)

    def append_writes(self, records: NDArray[np.void]) -> None:
        """Adds `WRITE_DTYPE` records in one write and returns when they are on the disk."""
        if records.dtype != WRITE_DTYPE:
            raise TypeError(f"records have dtype {records.dtype}; expected WRITE_DTYPE")
        if records.size:
            self._fresh = False
            self._writes.append(records.tobytes(), durable=True)

    def save_checkpoint(self, step: int, arrays: Mapping[str, NDArray[Any]]) -> Path:
        """Saves the state after `step` and removes all but the last `CHECKPOINTS_KEPT` checkpoints."""
        self._fresh = False
        path = self.path / "checkpoints" / f"step_{step:06d}.npz"
        with storage_errors(path):
            self._metrics.sync()  # a checkpoint must not be younger than the metrics it follows
            write_aside(path, lambda file: np.savez(file, allow_pickle=False, **dict(arrays)))
            for old in _checkpoint_paths(self.path)[:-CHECKPOINTS_KEPT]:
                old.unlink()
        return path

    def save_snapshots(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Adds `arrays` to snapshots.npz (same names are replaced)."""
        merged = {**read_snapshots(self.path), **arrays}
        path = self.path / "snapshots.npz"
        with storage_errors(path):
            write_aside(path, lambda file: np.savez_compressed(file, allow_pickle=False, **merged))

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Writes summary.json. `exit_status` "success" closes the run for good; any other can be resumed."""
        write_json(self.path / "summary.json", summary)

    def last_steps(self) -> LastSteps:
        """Where the run stands, from what is on the disk."""
        writes = read_writes(self.path)
        steps = [line["step"] for line in read_metrics(self.path, "step")]
        checkpoint = load_checkpoint(self.path)
        return LastSteps(
            metrics=max(steps, default=None),
            writes=int(writes["step"].max()) if writes.size else None,
            checkpoint=checkpoint.step if checkpoint else None,
        )

    def close(self) -> None:
        self._metrics.close()
        self._writes.close()

    def __enter__(self) -> RunStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if value is not None and self._fresh:
            _discard(self.path)


def read_start(run_dir: Path) -> dict[str, Any]:
    """start.yaml. Raises ConfigError when `run_dir` is no run directory."""
    path = run_dir / "start.yaml"
    try:
        start = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{run_dir}: not a run directory (start.yaml: {error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: damaged: {str(error).splitlines()[0]}") from error
    if not isinstance(start, dict):
        raise ConfigError(f"{path}: damaged: expected a mapping")
    return start


def read_summary(run_dir: Path) -> dict[str, Any] | None:
    """summary.json, or None when the run has not ended."""
    return read_json(run_dir / "summary.json")


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
        except ValueError as error:
            raise HilError(f"{path}:{number}: damaged line: {error}") from error
        if kind in (None, line["kind"]):
            key = (line["kind"], line["step"]) if "step" in line else number
            lines.pop(key, None)  # the replacement takes its place at the end
            lines[key] = line
    return list(lines.values())


def read_writes(run_dir: Path) -> NDArray[np.void]:
    """The whole records of writes.bin, shape (writes,), dtype `WRITE_DTYPE`."""
    path = run_dir / "writes.bin"
    if not path.exists():
        return np.zeros(0, dtype=WRITE_DTYPE)
    return np.fromfile(path, dtype=WRITE_DTYPE, count=path.stat().st_size // WRITE_DTYPE.itemsize)


def load_checkpoint(run_dir: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole; a damaged one is named in the log and passed over."""
    for path in reversed(_checkpoint_paths(run_dir)):
        try:
            with np.load(path, allow_pickle=False) as archive:
                return Checkpoint(_checkpoint_step(path), {name: archive[name] for name in archive.files})
        except _NPZ_DAMAGE as error:
            _LOG.warning("%s: damaged, using the one before it (%s)", path, error)
    return None


def read_snapshots(run_dir: Path) -> dict[str, NDArray[Any]]:
    """The arrays of snapshots.npz, empty when there is none. Raises HilError when it is damaged."""
    path = run_dir / "snapshots.npz"
    if not path.exists():
        return {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except _NPZ_DAMAGE as error:
        raise HilError(f"{path}: damaged: {error}") from error


def _checkpoint_step(path: Path) -> int:
    return int(path.stem.removeprefix("step_"))


def _checkpoint_paths(run_dir: Path) -> list[Path]:
    return sorted((run_dir / "checkpoints").glob("step_*.npz"), key=_checkpoint_step)


def _write_start(run_dir: Path, record: Mapping[str, Any]) -> None:
    text = yaml.safe_dump(plain(record), sort_keys=False, allow_unicode=True)
    write_aside(run_dir / "start.yaml", lambda file: file.write(text.encode()))


def _discard(run_dir: Path) -> None:
    """Removes a run that holds nothing. Its directory was new or empty, so all that is in it came with the run."""
    shutil.rmtree(run_dir, ignore_errors=True)


def _whole_records(path: Path) -> int:
    size = path.stat().st_size
    return size - size % WRITE_DTYPE.itemsize


def _whole_lines(path: Path) -> int:
    return path.read_bytes().rfind(b"\n") + 1
