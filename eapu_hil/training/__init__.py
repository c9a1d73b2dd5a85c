"""Experiment files, the trainer, its models and the run directory."""
