"""Compiled loops of the optimizers."""
