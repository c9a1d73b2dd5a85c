"""Compiled loops of the update rules."""
