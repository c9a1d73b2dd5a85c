"""The run directory: all files of a run, written so that they stay readable after a crash at any moment.

    start.yaml      id, time, commit, resolved experiment and bench, identities, seed, package versions
    metrics.jsonl   one JSON object a line, each written at once
    writes.bin      one `WRITE_DTYPE` record per cell write, synced to the disk batch by batch
    journal.bin     lengths and checksums of these two, and how often the other files were written
    checkpoints/    step_NNNNNN.npz, the last `CHECKPOINTS_KEPT`
    placement.json  where the weights lie on the arrays; chosen before the first write and never changed
    moves.json      which rows of weights were moved since, in order; only with wear levelling that moves
    snapshots.npz   ledger and clock before the first write, conductance maps before and after, pulses per cell,
                    example images
    examples.npz    the example images of the last evaluation, of tasks with images
    summary.json    at the end; absent after a crash

Here it is read; `eapu_hil.training.run_store` writes it. Each file is proven before it is used: the growing ones by
the journal, the others by their seals, which name the run. Files of older versions have neither.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.npz import DamagedError
from eapu_hil.base.old_names import name_of_snapshot, with_new_names
from eapu_hil.base.sealed_directory import SealedDirectory
from eapu_hil.base.seals import SEAL, UnsealedError, unsealed
from eapu_hil.base.yamltext import stored_yaml
from eapu_hil.hal import ConfigError
from eapu_hil.training.journal import (
    BACK,
    METRICS,
    WRITES,
    State,
    advised,
    is_begun,
    read_bytes,
    read_grown,
    read_journal,
)
from eapu_hil.training.records import as_records, dtype_of_run, require_plausible

SUCCESS, STOPPED, DIVERGED, FAILED = (
    "success",
    "stopped",
    "diverged",
    "failed",
)  # `exit_status` of summary.json

NOTES = (
    "event",
    "bench",
)  # kinds of lines of metrics.jsonl for who watches a run (`eapu_hil.training.diary`)
RUN_FORMAT = 2  # of start.yaml, with seals and a journal; older ones do not name theirs
CHECKPOINT, SNAPSHOTS, SUMMARY = "checkpoint", "snapshots", "summary"  # kinds of sealed files
STATE = "run_state"  # in a checkpoint and in summary.json: the `State` of the run then
EXAMPLES, EXAMPLES_FILE = "examples", "examples.npz"  # of the last evaluation, for who watches
PAUSE = "pause"  # while there is a file of this name, the run waits before its next step
NUMBER = "number"  # in snapshots.npz: how often it was written

_LOG = logging.getLogger(__name__)
_CHECKPOINT = re.compile(r"step_(\d+)\.npz")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state that the trainer saved after `step`.

    state: how far the run had come; None in one of an older version.
    """

    path: Path
    step: int
    arrays: dict[str, NDArray[Any]]
    state: State | None


@dataclass(frozen=True)
class LastSteps:
    """The last step that each part of a run knows of; None where it has none yet."""

    metrics: int | None
    writes: int | None
    checkpoint: int | None


def _without_start(run_dir: Path, error: OSError) -> str:
    """A hint at what to do about a start.yaml that cannot be read."""
    if not isinstance(error, FileNotFoundError):
        return ""
    if not (run_dir / "checkpoints").is_dir():
        return f"; to see what there is: eapu-hil runs{f' {run_dir}' if run_dir.is_dir() else ''}"
    if any(path.exists() for path in (run_dir / METRICS, run_dir / WRITES, run_dir / "summary.json")):
        return f"; the run has records, so its start.yaml was lost: {BACK}"
    return "; a run was begun here and killed before its first record: remove the directory"


def read_start(run_dir: Path) -> dict[str, Any]:
    """start.yaml, that of a run of version 0.1 with the names of today.

    Raises ConfigError when `run_dir` is no run directory; DamagedError.
    """
    path = run_dir / "start.yaml"
    try:
        start = stored_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{run_dir}: not a run directory (start.yaml: {error.strerror}){_without_start(run_dir, error)}"
        ) from error
    except ValueError as error:
        raise ConfigError(f"{path}: damaged: {str(error).splitlines()[0]}; {BACK}") from error
    if not isinstance(start, dict):
        raise ConfigError(f"{path}: damaged: expected a mapping; {BACK}")
    if SEAL in start:
        with advised():
            return unsealed(path, start, "start", {"run": run_id(start)})
    if "run_format" in start or is_begun(run_dir):
        raise UnsealedError(f"{path}: damaged, or of another run: it carries no seal; {BACK}")
    return start if "writes_format" in start else with_new_names(start)


def is_old(start: Mapping[str, Any]) -> bool:
    """Whether an older version made the run with this start.yaml, so that its files carry no checksums."""
    return "run_format" not in start


def run_id(start: Mapping[str, Any]) -> str:
    """The id of the run with this start.yaml, which its files name."""
    return str(start.get("id"))


def times_written(start: Mapping[str, Any]) -> int:
    """The number of times that this start.yaml was written, as it says."""
    number = start.get("written")
    return number if isinstance(number, int) else 0


def files_of(run_dir: Path, start: Mapping[str, Any]) -> SealedDirectory:
    """The small files of the run with this start.yaml."""
    return SealedDirectory(run_dir, {"run": run_id(start)}, old=is_old(start))


def read_summary(run_dir: Path) -> dict[str, Any] | None:
    """summary.json, or None when the run has not ended. Raises DamagedError."""
    found = read_ending(run_dir, read_start(run_dir))
    return None if found is None else found[0]


def succeeded(summary: Mapping[str, Any] | None) -> bool:
    """Whether a run came to its end; not so with None, or where it stopped, diverged or failed."""
    return summary is not None and summary.get("exit_status") == SUCCESS


def read_metrics(run_dir: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, of one kind, or all but the notes for who watches. A torn last line is left out.

    A resumed run goes back to its last checkpoint and repeats the steps after it; then the later line of the
    same kind and step replaces the earlier one. Raises HilError for a line that is not JSON, or not what was written.
    """
    path = run_dir / METRICS
    lines: dict[object, dict[str, Any]] = {}
    content = _grown(run_dir, METRICS)[0].tobytes()
    for number, text in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), start=1):
        line, its_kind, step = parsed_line(path, number, text)
        key: object = number if step is None else (its_kind, step)
        if its_kind == kind or (kind is None and its_kind not in NOTES):
            lines.pop(key, None)  # the replacement takes its place at the end
            lines[key] = line
    return list(lines.values())


def parsed_line(path: Path, number: int, text: bytes) -> tuple[dict[str, Any], str, int | None]:
    """A line of metrics.jsonl, its kind and its step, None without one. Raises DamagedError."""
    try:
        line = json.loads(text)
        return line, line["kind"], int(line["step"]) if "step" in line else None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(f"{path}:{number}: damaged line: {error}") from error


def read_writes(run_dir: Path) -> NDArray[np.void]:
    """The whole records of writes.bin, shape (writes,), dtype `WRITE_DTYPE`.

    Raises ConfigError when `run_dir` is no run, or one of a newer version of this program; DamagedError.
    """
    start = read_start(run_dir)
    dtype = dtype_of_run(start)
    content, proven = _grown(run_dir, WRITES, start)
    records = as_records(content, dtype)
    if not is_old(start):
        require_plausible(run_dir / WRITES, records, proven // dtype.itemsize)
    return records


def load_checkpoint(run_dir: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole; one that is damaged or missing is named in the log and passed over."""
    start, newest = read_start(run_dir), newest_checkpoint(run_dir)
    files, paths = files_of(run_dir, start), checkpoint_paths(run_dir)
    if newest > checkpoint_step(paths[-1]) if paths else newest >= 0:
        name = f"checkpoints/{checkpoint_name(newest)}"
        _LOG.warning("%s: missing, using the one before it", run_dir / name)
    for path in reversed(paths):
        step = checkpoint_step(path)
        try:
            arrays = files.read_npz(f"checkpoints/{path.name}", CHECKPOINT, step=step) or {}
            state = State.of(json.loads(str(arrays.pop(STATE)))) if STATE in arrays else None
        except (DamagedError, ValueError) as error:
            text = str(error) if str(path) in str(error) else f"{path}: {error}"
            _LOG.warning("%s; using the one before it", text)
            continue
        return Checkpoint(path, step, arrays, state)
    return None


def newest_checkpoint(run_dir: Path) -> int:
    """The step of the last checkpoint that was saved, -1 where none was or an older version made the run."""
    start = read_start(run_dir)
    return -1 if is_old(start) else read_journal(run_dir, run_id(start)).checkpoint


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
    """The arrays of snapshots.npz under the names of today, empty when there was none yet.

    Raises HilError when it is damaged, or missing and was there.
    """
    start = read_start(run_dir)
    written = 0 if is_old(start) else read_journal(run_dir, run_id(start)).snapshots
    arrays = files_of(run_dir, start).read_npz("snapshots.npz", SNAPSHOTS) or {}
    require_newest(run_dir / "snapshots.npz", int(arrays.pop(NUMBER, np.zeros(())).sum()), written)
    return {name_of_snapshot(name): array for name, array in arrays.items()}


def require_newest(path: Path, number: int, written: int) -> None:
    """Raises DamagedError where a file is not the last one that was written.

    number: of the file that is there, 0 for none.
    """
    if number < written:
        what = "an earlier one lies in its place" if number else "missing"
        raise DamagedError(f"{path}: {what}; {BACK}")


def checkpoint_paths(run_dir: Path) -> list[Path]:
    """The checkpoints of a run, the newest last."""
    found = (run_dir / "checkpoints").glob("step_*.npz")
    return sorted((path for path in found if _CHECKPOINT.fullmatch(path.name)), key=checkpoint_step)


def checkpoint_name(step: int) -> str:
    """The name of the file."""
    return f"step_{step:06d}.npz"


def checkpoint_step(path: Path) -> int:
    """The step in the name of a checkpoint."""
    return int(path.stem.removeprefix("step_"))


def _grown(run_dir: Path, name: str, start: Mapping[str, Any] | None = None) -> tuple[NDArray[np.uint8], int]:
    """All bytes of a growing file, and how many of them are proven."""
    start = read_start(run_dir) if start is None else start
    return (read_bytes(run_dir / name), 0) if is_old(start) else read_grown(run_dir, name, run_id(start))


def read_ending(run_dir: Path, start: Mapping[str, Any]) -> tuple[dict[str, Any], State | None] | None:
    """summary.json and how far the run had come then; None before its end. Raises DamagedError."""
    try:
        summary = files_of(run_dir, start).read_json("summary.json", SUMMARY)
    except DamagedError as error:
        raise DamagedError(f"{error}; remove it, and eapu-hil resume {run_dir} writes it anew") from error
    if summary is None:
        return None
    state = summary.pop(STATE, None)
    return summary, None if state is None else State.of(state)
