"""Pause and continue: a file in the run's directory, at which the run looks before each step."""

from __future__ import annotations

from eapu_hil.base.locks import local_holder
from eapu_hil.base.storage import storage_errors
from eapu_hil.hal import HilError
from eapu_hil.live.places import Entry
from eapu_hil.training.runs import PAUSE


def ask_to_pause(entry: Entry) -> str:
    """What will happen. Raises HilError where no process works on the run, or it is no training."""
    if entry.kind != "train":
        raise HilError(
            "only a training can pause; a calibration that is stopped goes on when it is started again"
        )
    if entry.lock is None or local_holder(entry.lock) is None:
        raise HilError("no process of this machine works on this run, so there is nothing to pause")
    path = entry.file(PAUSE)
    with storage_errors(path):
        path.touch()
    return "it pauses at the end of this step: saved, every line at 0 V"


def ask_to_continue(entry: Entry) -> str:
    """What will happen. A run that does not pause goes on anyway."""
    path = entry.file(PAUSE)
    with storage_errors(path):
        path.unlink(missing_ok=True)
    return "it goes on"
