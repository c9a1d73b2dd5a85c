"""How long something has taken and what is left of it, in words for a line of a log."""

from __future__ import annotations

import time

from eapu_hil.base.quantities import duration

_WORTH_s = 1.0  # of time that tells how quick it goes


class Pace:
    """Of something that counts up to `total`. It begins where it is first told: a run that goes on begins late."""

    def __init__(self, total: float) -> None:
        self._total = total
        self._begun_s = time.monotonic()
        self._first: float | None = None

    def text(self, done: float) -> str:
        """ "1 min 5 s, 3 min 12 s left": since the beginning, and at this pace. Without the latter where none shows."""
        if self._first is None:
            self._first = done
        spent_s = time.monotonic() - self._begun_s
        gone, left = done - self._first, self._total - done
        text = duration(spent_s)
        if left > 0 and gone > 0 and spent_s >= _WORTH_s:
            text += f", {duration(spent_s * left / gone)} left"
        return text
