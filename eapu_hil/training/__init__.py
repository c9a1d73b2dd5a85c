"""Experiment files, the trainer, its models and the run directory."""

from eapu_hil.training.trainer import resume, train

__all__ = ["resume", "train"]
