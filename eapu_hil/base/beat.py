"""A sign that work goes on, for who watches a file: the time of its last change."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

EVERY_s = 1.0


class Beat:
    """Called by whoever has done a piece of work; touches the file at most once a second.

    It comes from the work itself and from no clock, so that work that hangs gives none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last_s = 0.0

    def __call__(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._last_s + EVERY_s:
            self._last_s = now_s
            with contextlib.suppress(OSError):  # nothing is decided by it
                os.utime(self._path)
