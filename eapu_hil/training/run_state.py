"""How a run stands: the one place that says so, for the list, the live page and reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from eapu_hil.base.locks import holder_of
from eapu_hil.base.quantities import duration
from eapu_hil.training.runs import STOPPED, SUCCESS

State = Literal["running", "paused", "stopping", "frozen", "done", "stopped", "failed", "crashed", "damaged"]
STATES: Mapping[State, str] = MappingProxyType(
    {
        "running": "a process holds the lock of the run, and has shown within the last 10 s that it is at work",
        "paused": "its process waits between two steps, saved, with every line at 0 V",
        "stopping": "the emergency stop of the live page was clicked, and the process has not ended yet",
        "frozen": "a process holds the lock, and has not shown for 10 s that it is at work, or was suspended (SIGSTOP)",
        "done": "it came to its end",
        "stopped": "Ctrl-C, a signal or the emergency stop ended it in good order; `eapu-hil resume` goes on",
        "failed": "it ended in good order with an error, or training diverged",
        "crashed": "no process holds the lock, and it did not end in good order: killed, or the power failed",
        "damaged": "`start.yaml` or `summary.json` cannot be read",
    }
)
SILENT_s = 10.0  # a process that shows no work for so long counts as frozen
DAMAGED: State = "damaged"  # also in place of an exit status, where what says it cannot be read


@dataclass(frozen=True)
class Ending:
    """What a run says of its end. status: `exit_status` of its summary, or `DAMAGED`. error: one line, or empty."""

    status: str
    error: str = ""


@dataclass(frozen=True)
class Standing:
    """How a run stands now.

    process: the one that holds its lock, None where nobody does, -1 where it has not said its number yet. since_s:
    seconds since it last showed that it is at work, None where it never did. note: one line for a person, or empty.
    """

    state: State
    process: int | None
    since_s: float | None
    note: str = ""


def standing(
    lock: Path | None,
    since_s: float | None,
    ending: Ending | None,
    *,
    paused: bool = False,
    pause_asked: bool = False,
) -> Standing:
    """How the run with this lock file stands; None for what has no lock, and is no work of a process of its own.

    since_s: since it last showed that it is at work. ending: None before its end. paused: whether it waits between two
    steps, by its own account. pause_asked: whether it is to wait.
    """
    try:
        process = None if lock is None else holder_of(lock)
    except OSError as error:
        at_rest = _at_rest(ending)
        note = f"whether a process works on it is not known: {error.strerror}"
        return Standing(at_rest[0], None, since_s, note)
    if process is None:
        state, note = _at_rest(ending)
        return Standing(state, None, since_s, note)
    if stands_still(process):
        note = f"process {process} stands still: somebody has suspended it (SIGSTOP)"
        return Standing("frozen", process, since_s, note)
    if paused and pause_asked:
        note = "saved, every line at 0 V; continue it on the live page, or remove the file `pause` in its directory"
        return Standing("paused", process, since_s, note)
    if since_s is not None and since_s > SILENT_s:
        note = f"no line for {duration(since_s)}, and no other sign of work; process {process} is there"
        return Standing("frozen", process, since_s, note)
    return Standing("running", process, since_s, "it pauses at the end of this step" if pause_asked else "")


def stands_still(process: int) -> bool:
    """Whether a signal makes a process of this machine stand still. Known on Linux only."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] in ("T", "t")


def _at_rest(ending: Ending | None) -> tuple[State, str]:
    """State and note of a run that no process works on."""
    if ending is None:
        return "crashed", "no process works on it, and it ended without a word: killed, or the power failed"
    if ending.status == SUCCESS:
        return "done", ""
    if ending.status == STOPPED:
        return "stopped", ""
    return (DAMAGED if ending.status == DAMAGED else "failed"), ending.error or ending.status
