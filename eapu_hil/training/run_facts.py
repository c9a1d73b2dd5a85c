"""What a list says of one run, read from its files without proving them: a list must be quick, also beside a run.

What can only change with the files is `RunFacts`, which may be kept as long as `signature` stays the same. Whether a
process writes the run now is asked anew each time; see `run_state`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from eapu_hil.hal import HilError
from eapu_hil.training.journal import METRICS, WRITES
from eapu_hil.training.records import dtype_of_run
from eapu_hil.training.run_place import START
from eapu_hil.training.run_state import DAMAGED, Ending
from eapu_hil.training.runs import PAUSE, read_ending, read_start

SUMMARY = "summary.json"
_TAIL = 1 << 16  # bytes of metrics.jsonl that are read first
_TAIL_MAX = 1 << 24
# Files that are written as long as a run goes on, and directories whose content changes with them.
_WATCHED = (START, METRICS, WRITES, SUMMARY, "snapshots.npz", "checkpoints", ".")

Signature = list[list[int]]


@dataclass(frozen=True)
class RunFacts:
    """What the files of a run say. Text that is not known is empty, numbers are None.

    status: `exit_status` of its summary, `damaged`, or None before its end.
    error: one line, of a run that failed or is damaged.
    step: the last one that was taken. steps: the total that was asked for.
    writes: cell writes, each of at least one pulse, by the ledger; known at the end.
    records: cells that were asked to be written, as writes.bin holds them; some need no pulse.
    wall_s: time at work; of a run that has not ended, since its last session began.
    disk_bytes: of its directory.
    config: the resolved experiment. paused: whether its last line says that it waits.
    """

    id: str = ""
    time: str = ""
    status: str | None = None
    error: str = ""
    experiment: str = ""
    task: str = ""
    rule: str = ""
    bench: str = ""
    chip: str = ""
    seed: int | None = None
    metric_name: str = ""
    metric: float | None = None
    step: int = 0
    steps: int | None = None
    writes: int | None = None
    records: int | None = None
    wall_s: float | None = None
    disk_bytes: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)
    paused: bool = False

    @property
    def ending(self) -> Ending | None:
        """What it says of its end; None before that."""
        return None if self.status is None else Ending(self.status, self.error)


def signature(run_dir: Path) -> Signature:
    """Sizes and times of change of what a run writes: as long as it is the same, so are the facts."""
    found = []
    for name in _WATCHED:
        try:
            state = os.stat(run_dir / name)  # noqa: PTH116 - of a thousand runs: Path.stat takes twice as long
        except OSError:
            found.append([0, 0])
        else:
            found.append([state.st_size, state.st_mtime_ns])
    return found


def last_change(run_dir: Path) -> float:
    """When a run last wrote a line or a cell, or showed otherwise that it is at work, in seconds since 1970."""
    changes = [0.0]
    for name in (START, METRICS, WRITES, "journal.bin"):
        try:
            changes.append((run_dir / name).stat().st_mtime)
        except OSError:
            continue
    return max(changes)


def pause_asked(run_dir: Path) -> bool:
    """Whether the run is to wait before its next step."""
    return (run_dir / PAUSE).exists()


def ending_of(run_dir: Path) -> Ending | None:
    """What a run says of its end; None before that."""
    try:
        found = read_ending(run_dir, read_start(run_dir))
    except HilError as error:
        return Ending(DAMAGED, str(error))
    return (
        None if found is None else Ending(str(found[0].get("exit_status")), str(found[0].get("error") or ""))
    )


def read_facts(run_dir: Path) -> RunFacts:
    """The facts of the run in `run_dir`. What is damaged is said in them."""
    disk_bytes = _disk_bytes(run_dir)
    try:
        start = read_start(run_dir)
    except HilError as error:
        return RunFacts(status=DAMAGED, error=str(error), disk_bytes=disk_bytes)
    config = start.get("experiment")
    config = config if isinstance(config, Mapping) else {}
    known: dict[str, Any] = {
        "id": str(start.get("id", "")),
        "time": str(start.get("time", "")),
        "experiment": str(start.get("name", "")),
        "task": _name(config.get("task")),
        "rule": _name(config.get("rule")),
        "bench": _bench(start, config),
        "chip": str(start.get("chip") or ""),
        "seed": start.get("seed"),
        "steps": config.get("steps"),
        "disk_bytes": disk_bytes,
        "config": config,
    }
    try:
        known["records"] = _records(run_dir, start)
        ending = read_ending(run_dir, start)
    except HilError as error:
        return RunFacts(**known, status=DAMAGED, error=str(error))
    return RunFacts(**known, **(_so_far(run_dir, start) if ending is None else _at_the_end(ending[0])))


def _bench(start: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Its backend with preset, port or resource; empty for a run that opened none."""
    bench = config.get("bench")
    if start.get("sessions") and not start.get("identities"):
        return ""
    if not isinstance(bench, Mapping):
        return str(bench or "")
    where = str(bench.get("preset") or bench.get("port") or bench.get("resource") or "")
    return " ".join(part for part in (str(bench.get("backend", "")), where) if part)


def _at_the_end(summary: Mapping[str, Any]) -> dict[str, Any]:
    metric = summary.get("metric") or {}
    return {
        "status": str(summary.get("exit_status")),
        "error": str(summary.get("error") or ""),
        "metric_name": str(metric.get("name") or ""),
        "metric": metric.get("final"),
        "step": int(summary.get("steps") or 0),
        "writes": summary.get("writes_total"),
        "wall_s": summary.get("wall_s"),
    }


def _so_far(run_dir: Path, start: Mapping[str, Any]) -> dict[str, Any]:
    """Of a run that has not ended: from the end of metrics.jsonl."""
    found: dict[str, Any] = {}
    size = _TAIL
    while True:
        lines, whole = _last_lines(run_dir / METRICS, size)
        for line in lines:
            if line.get("kind") == "step":
                found |= {"step": int(line.get("step") or 0), "paused": False}
            elif line.get("kind") == "evaluation":
                found |= {
                    "metric_name": str(line.get("name") or ""),
                    "metric": line.get("metric"),
                    "paused": False,
                }
            elif line.get("kind") == "event" and line.get("what") in ("paused", "continued"):
                found["paused"] = line["what"] == "paused"
        if whole or size >= _TAIL_MAX or {"step", "metric"} <= found.keys():
            break
        size *= 16
    sessions = start.get("sessions") or [start]
    try:
        began = datetime.fromisoformat(str(sessions[-1].get("time"))).timestamp()
    except (ValueError, AttributeError):
        return found
    return {**found, "wall_s": max(0.0, last_change(run_dir) - began)}


def _last_lines(path: Path, most_bytes: int) -> tuple[list[dict[str, Any]], bool]:
    """The whole lines in the last `most_bytes` of a file, and whether these are all of them."""
    try:
        with path.open("rb") as file:
            at = max(0, file.seek(0, os.SEEK_END) - most_bytes)
            file.seek(at)
            content = file.read()
    except OSError:
        return [], True
    first = content.find(b"\n") + 1 if at else 0
    return list(_objects(content[first : content.rfind(b"\n") + 1])), at == 0


def _objects(content: bytes) -> Iterator[dict[str, Any]]:
    for text in content.splitlines():
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue  # the report says which line is damaged
        if isinstance(line, dict):
            yield line


def _records(run_dir: Path, start: Mapping[str, Any]) -> int | None:
    try:
        size = (run_dir / WRITES).stat().st_size
    except OSError:
        return None
    return size // dtype_of_run(start).itemsize


def _disk_bytes(directory: Path) -> int:
    total, waiting = 0, [str(directory)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:  # removed meanwhile
            continue
    return total


def _name(value: object) -> str:
    return str(value.get("name") or "") if isinstance(value, Mapping) else str(value or "")
