"""Errors of training."""

from __future__ import annotations

from eapu_hil.base.errors import HilError


class DivergedError(HilError):
    """Training diverged."""

    def __init__(self, sign: str) -> None:
        """sign: what showed it."""
        super().__init__(f"{sign}: training diverged; lower the learning rate")
