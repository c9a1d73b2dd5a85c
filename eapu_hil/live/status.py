"""How a run stands: who works on it, when it last wrote a line, how it ended."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from eapu_hil.base.locks import holder_of
from eapu_hil.base.quantities import duration
from eapu_hil.bench.progress_file import PROGRESS
from eapu_hil.live.outcome import Outcome
from eapu_hil.live.places import Entry
from eapu_hil.training.journal import JOURNAL, METRICS, WRITES
from eapu_hil.training.run_list import SILENT_s
from eapu_hil.training.runs import PAUSE, SUCCESS

State = Literal["running", "paused", "stopping", "frozen", "stopped", "crashed", "done"]
_GROWS = {"train": (METRICS, WRITES, JOURNAL, PAUSE), "calibrate": (PROGRESS,), "comparison": ()}


@dataclass(frozen=True)
class Status:
    """pid: of the process that holds the lock, None where none of this machine does. since_s: since its last line.

    note: one sentence, or "".
    """

    state: State
    pid: int | None
    since_s: float | None
    note: str = ""


def status_of(entry: Entry, stop: Outcome | None, ended: Mapping[str, Any] | None, *, paused: bool) -> Status:
    """stop: the last one of it. ended: what of summary.json says how it ended. paused: by its own account."""
    pid, since_s = _process(entry), _since_s(entry)
    if pid is None:
        return _without_process(entry, ended, since_s)
    if stop is not None and stop.pid == pid:
        return Status("stopping", pid, since_s, stop.text)
    if stands_still(pid):
        return Status(
            "frozen", pid, since_s, f"process {pid} stands still: somebody has suspended it (SIGSTOP)"
        )
    asked = entry.kind == "train" and (entry.path / PAUSE).exists()
    if paused:
        return Status("paused", pid, since_s, "saved, every line at 0 V" if asked else "it goes on")
    if since_s is not None and since_s > SILENT_s:
        note = f"no line for {duration(since_s)}; process {pid} is there, and may be at a long piece of work"
        return Status("frozen", pid, since_s, note)
    return Status("running", pid, since_s, "it pauses at the end of this step" if asked else "")


def _process(entry: Entry) -> int | None:
    """Whoever works on it, be it another user, or, on a shared disk, another machine."""
    if entry.lock is None:
        return None
    try:
        return holder_of(entry.lock)
    except OSError:  # not ours to open
        return None


def _without_process(entry: Entry, ended: Mapping[str, Any] | None, since_s: float | None) -> Status:
    if entry.kind == "comparison":
        return Status("done", None, since_s)
    if ended is None:
        return Status("crashed", None, since_s, "no process works on it, and it did not end in good order")
    how = ended.get("exit_status")
    if how == SUCCESS:
        return Status("done", None, since_s)
    if how == "stopped":
        return Status("stopped", None, since_s)
    return Status("crashed", None, since_s, str(ended.get("error") or how or "it failed"))


def _since_s(entry: Entry) -> float | None:
    written_s = []
    for name in _GROWS[entry.kind]:
        try:
            written_s.append((entry.path / name).lstat().st_mtime)
        except OSError:
            continue
    return max(0.0, time.time() - max(written_s)) if written_s else None


def stands_still(pid: int) -> bool:
    """Whether a signal makes it stand still. Known on Linux only."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] in ("T", "t")
