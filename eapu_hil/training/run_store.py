"""A run that is being written: see `eapu_hil.training.runs` for what its directory holds.

Small files are written aside, synced and renamed, so that a reader sees the old one or the new one. The two
that grow are cut back to their last whole record when they are opened again. The journal follows both.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.beat import Beat
from eapu_hil.base.locks import own
from eapu_hil.base.npz import DamagedError
from eapu_hil.base.provenance import git_commit, new_run_id, now_iso, package_versions
from eapu_hil.base.sealed_directory import SealedDirectory
from eapu_hil.base.seals import write_sealed_yaml
from eapu_hil.base.stopping import held
from eapu_hil.base.storage import GrowingFile, plain, require_own_files, storage_errors
from eapu_hil.hal import ConfigError
from eapu_hil.placement.layout import PLACEMENT
from eapu_hil.placement.row_moves import MOVES, read_moves
from eapu_hil.training.journal import JOURNAL, METRICS, WRITES, Journal, State, read_bytes, read_journal
from eapu_hil.training.proof import prove
from eapu_hil.training.records import WRITE_DTYPE, dtype_of_run, writes_format
from eapu_hil.training.run_place import LOCK, ASKED_s, claim, discard
from eapu_hil.training.runs import (
    CHECKPOINT,
    NUMBER,
    PAUSE,
    RUN_FORMAT,
    SNAPSHOTS,
    STATE,
    SUMMARY,
    checkpoint_name,
    checkpoint_paths,
    checkpoint_step,
    is_old,
    read_snapshots,
    read_start,
    read_summary,
    run_id,
    succeeded,
    times_written,
)

CHECKPOINTS_KEPT = 3


class RunStore:
    """A run that is being written. One process at a time: a second one is refused.

    files: its small files, for who writes one of its own and tells `note` of it. at_work: shows who watches that work
    goes on, where lines are far apart.
    Made by `create` or `open`; a context manager that closes its files. A new run whose block ends with an
    exception before anything was recorded leaves nothing behind.
    """

    def __init__(self, path: Path, start: dict[str, Any], state: State) -> None:
        """state: how far the run had come."""
        self.path = path
        self.start = start
        self.files = SealedDirectory(path, {"run": run_id(start)})
        self.at_work = Beat(path / JOURNAL)
        self._fresh = False  # made by `create` and nothing recorded since
        self._new = False  # its directory too
        with storage_errors(path), ExitStack() as opened:
            opened.enter_context(own(path / LOCK, f"{path}: another process is writing this run", ASKED_s))
            self._writes = GrowingFile(path / WRITES, _whole_records)
            opened.callback(self._writes.close)
            self._metrics = GrowingFile(path / METRICS, _whole_lines)
            opened.callback(self._metrics.close)
            self._journal = Journal(path, run_id(start), state)
            opened.callback(self._journal.close)
            self._opened = opened.pop_all()

    @classmethod
    def create(cls, path: Path | str, start: Mapping[str, Any]) -> RunStore:
        """A new run in `path`, which must not exist or be empty.

        start: what was asked for: name, experiment, bench, identities, seed (plain YAML values). Id, time,
        commit and package versions are added here. Raises ConfigError with nothing written.
        """
        path = Path(path)
        new = claim(path)
        record = {
            "id": new_run_id(str(start.get("name", "run"))),
            "time": now_iso(),
            **git_commit(),
            **start,
            "packages": package_versions(),
            "writes_format": writes_format(),
            "run_format": RUN_FORMAT,
        }
        try:
            store = cls(path, record, State())
            try:
                store.amend_start({})
            except BaseException:
                store.close()
                raise
        except BaseException:
            discard(path, new)
            raise
        store._fresh, store._new = True, new
        return store

    @classmethod
    def open(cls, path: Path | str, *, finished: bool = False) -> RunStore:
        """A run to go on with: torn records are cut, the summary of a stopped run is removed.

        Its files are proven first; those of a run that an older version made are sealed. finished: whether it may
        have ended with success. Raises ConfigError when `path` is no run, when its run has finished, or when its
        writes have another format than those that are written now; DamagedError, with nothing changed.
        """
        path = Path(path)
        prove(path)
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
        store = cls(path, start, State() if is_old(start) else read_journal(path, run_id(start)))
        try:
            if is_old(start):
                store._seal()
            store._note_what_is_there()
            with storage_errors(path):
                (path / "summary.json").unlink(missing_ok=True)
                (path / "checkpoints").mkdir(exist_ok=True)
                (path / PAUSE).unlink(missing_ok=True)  # whoever resumes it wants it to go on
                for leftover in path.rglob("*.part"):
                    leftover.unlink()
        except BaseException:
            store.close()
            raise
        return store

    def amend_start(self, values: Mapping[str, Any]) -> None:
        """Adds `values` to start.yaml: what is known only once the bench is open, such as identities."""
        number = times_written(self.start) + 1
        self.start = {**self.start, **values, "written": number}
        with storage_errors(self.path / "start.yaml"):
            write_sealed_yaml(self.path / "start.yaml", self.start, "start", self.files.owner)
        self._journal.note(start=number)

    def append_metrics(self, kind: str, values: Mapping[str, Any]) -> None:
        """One line of metrics.jsonl: `{"kind": kind, ...values}`; numbers that are not finite become null."""
        self._fresh = False
        self.append_note(kind, values)

    def append_note(self, kind: str, values: Mapping[str, Any]) -> None:
        """The same for who watches the run: of a run that holds nothing else, nothing is kept."""
        text = json.dumps(plain({"kind": kind, **values}), allow_nan=False, separators=(",", ":"))
        line = text.encode() + b"\n"
        with held():  # a stop adds a line of its own: the journal must know of this one by then
            self._metrics.append(line, durable=False)
            self._journal.note_metrics(line)

    def append_writes(self, records: NDArray[np.void]) -> None:
        """Adds `WRITE_DTYPE` records in one write and returns when they are on the disk."""
        if records.dtype != WRITE_DTYPE:
            raise TypeError(f"records have dtype {records.dtype}; expected WRITE_DTYPE")
        if records.size:
            self._fresh = False
            content = records.tobytes()
            self._writes.append(content, durable=True)
            self._journal.note_writes(content)

    def note(self, **written: int) -> None:
        """Notes that one of `files` was written; see `State` for the names."""
        self._journal.note(**written)

    def save_checkpoint(self, step: int, arrays: Mapping[str, NDArray[Any]]) -> Path:
        """Saves the state after `step` and removes all but the last `CHECKPOINTS_KEPT` checkpoints."""
        self._fresh = False
        self.at_work()
        name = f"checkpoints/{checkpoint_name(step)}"
        self._sync(self.path / name)  # a checkpoint must not be younger than what it follows
        content = {**arrays, STATE: np.array(json.dumps(vars(self._journal.state)))}
        self.files.write_npz(name, content, CHECKPOINT, step=step)
        self._journal.note(checkpoint=step)
        with storage_errors(self.path):
            for old in checkpoint_paths(self.path)[:-CHECKPOINTS_KEPT]:
                old.unlink()
        return self.path / name

    def save_snapshots(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Adds `arrays` to snapshots.npz (same names are replaced)."""
        number = self._journal.state.snapshots + 1
        merged = {**read_snapshots(self.path), **arrays, NUMBER: np.array(number)}
        self.files.write_npz("snapshots.npz", merged, SNAPSHOTS, compressed=True)
        self._journal.note(snapshots=number)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Writes summary.json. `exit_status` "success" closes the run for good; any other can be resumed."""
        self._note_what_is_there()  # also what a signal or a full disk kept from being noted
        self._sync(self.path / "summary.json")
        content = {**summary, STATE: vars(self._journal.state)}
        self.files.write_json("summary.json", content, SUMMARY)

    def close(self) -> None:
        self._opened.close()

    def __enter__(self) -> RunStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if value is not None and self._fresh:
            discard(self.path, self._new)

    def _sync(self, path: Path) -> None:
        """path: what is written next."""
        with storage_errors(path):
            self._metrics.sync()
            self._journal.sync()

    def _note_what_is_there(self) -> None:
        """After a crash the growing files may be ahead of their journal, or metrics.jsonl behind it."""
        for name in (METRICS, WRITES):
            path = self.path / name
            if path.stat().st_size != self._journal.state.grown(name)[0]:
                content, key = read_bytes(path), name.partition(".")[0]
                self._journal.note(**{f"{key}_bytes": content.size, f"{key}_crc": zlib.crc32(content.data)})

    def _seal(self) -> None:
        """Gives the files of an older version their seals; start.yaml comes last."""
        old = replace(self.files, old=True)
        for name, kind in ((PLACEMENT, "placement"), (MOVES, "moves")):
            content = old.read_json(name, kind)
            if content is not None:
                self.files.write_json(name, content, kind)
        for path in checkpoint_paths(self.path):
            step, name = checkpoint_step(path), f"checkpoints/{path.name}"
            try:
                arrays = old.read_npz(name, CHECKPOINT, step=step)
            except DamagedError:
                continue  # it is passed over, as it would have been
            if arrays is not None:
                self.files.write_npz(name, arrays, CHECKPOINT, step=step)
        snapshots = read_snapshots(self.path)
        if snapshots:
            self.files.write_npz(
                "snapshots.npz", {**snapshots, NUMBER: np.array(1)}, SNAPSHOTS, compressed=True
            )
        self.amend_start({"run_format": RUN_FORMAT, "writes_format": writes_format()})
        moves = len(read_moves(self.files))
        self._journal.note(
            snapshots=int(bool(snapshots)), moves=moves, placement=int((self.path / PLACEMENT).exists())
        )


def _whole_records(path: Path) -> int:
    size = path.stat().st_size
    return size - size % WRITE_DTYPE.itemsize


def _whole_lines(path: Path) -> int:
    return path.read_bytes().rfind(b"\n") + 1
