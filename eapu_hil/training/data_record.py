"""The record of a task's data that a run makes at its start, and the check that they are unchanged later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eapu_hil.base.errors import ConfigError
from eapu_hil.tasks.base import Recording, Task

DATA = "data"  # the key in start.yaml


def data_record(task: Task) -> dict[str, Any]:
    """The part of start.yaml about the data of a task; empty for tasks that record nothing."""
    return {DATA: task.record()} if isinstance(task, Recording) else {}


def require_same_data(task: Task, run_dir: Path, start: dict[str, Any]) -> None:
    """Raises ConfigError when the data are not those that the run began with. start: the content of start.yaml."""
    before, now = start.get(DATA), data_record(task).get(DATA, {})
    if before is None or before == now:
        return
    parts = sorted(key for key in {**before, **now} if before.get(key) != now.get(key))
    raise ConfigError(
        f"{run_dir}: the data of this run have changed since it began ({', '.join(parts)}); bring the files back as "
        "they were, or train anew"
    )
