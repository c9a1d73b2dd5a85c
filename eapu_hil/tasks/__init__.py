"""Tasks, one file each: data, network, loss and metric of a training.

An experiment finds a task by the name of its entry point in the group `eapu_hil.tasks`, or as `module:Configuration`.
"""

from __future__ import annotations

from eapu_hil.tasks.base import DataConfig, Evaluation, Forward, Item, Task, TaskModel, Triplet
from eapu_hil.tasks.registry import TaskConfig, make_task

__all__ = [
    "DataConfig",
    "Evaluation",
    "Forward",
    "Item",
    "Task",
    "TaskConfig",
    "TaskModel",
    "Triplet",
    "make_task",
]
