"""A run that is being written: see `eapu_hil.training.runs` for what its directory holds.

Small files are written aside, synced and renamed, so that a reader sees the old one or the new one. The two
that grow are cut back to their last whole record when they are opened again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
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
    require_own_files,
    storage_errors,
    write_aside,
    write_json,
)
from eapu_hil.hal import ConfigError
from eapu_hil.training.records import WRITE_DTYPE, dtype_of_run, writes_format
from eapu_hil.training.runs import checkpoint_paths, read_snapshots, read_start, read_summary, succeeded

CHECKPOINTS_KEPT = 3


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
            "writes_format": writes_format(),
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
    def open(cls, path: Path | str, *, finished: bool = False) -> RunStore:
        """A run to go on with: torn records are cut, the summary of a stopped run is removed.

        finished: whether it may have ended with success. Raises ConfigError when `path` is no run, when its run has
        finished, or when its writes have another format than those that are written now.
        """
        path = Path(path)
        start = read_start(path)
        require_own_files(path, "run")
        summary = read_summary(path)
        if not finished and succeeded(summary):
            raise ConfigError(
                f"{path}: this run has finished; there is nothing to resume (--steps N trains beyond its end)"
            )
        if dtype_of_run(start) != WRITE_DTYPE:
            raise ConfigError(
                f"{path}: writes.bin has a format that is read but no longer written; resume this run with the "
                f"eapu_hil that made it ({start.get('commit', 'unknown commit')})"
            )
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
            for old in checkpoint_paths(self.path)[:-CHECKPOINTS_KEPT]:
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
