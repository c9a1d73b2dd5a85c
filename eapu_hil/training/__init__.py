"""Experiment files, the trainer, its models and the run directory.

The doors are `train`, `resume` and `load_run`. They are imported when they are first used: who only reads an experiment
file does not wait for the trainer.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eapu_hil.training.run_directory import load_run
    from eapu_hil.training.trainer import resume, train

__all__ = ["load_run", "resume", "train"]

_DOORS = {
    "load_run": "eapu_hil.training.run_directory",
    "resume": "eapu_hil.training.trainer",
    "train": "eapu_hil.training.trainer",
}


def __getattr__(name: str) -> Any:
    if name in _DOORS:
        return getattr(import_module(_DOORS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
