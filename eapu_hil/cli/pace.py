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
        self._first: tuple[float, float] | None = None  # what was done when it was first told, and when

    def text(self, done: float) -> str:
        """ "1 min 5 s, 3 min 12 s left": since the beginning, and at this pace. Without the latter where none shows."""
        now_s = time.monotonic()
        if self._first is None:
            self._first = (
                done,
                now_s,
            )  # what came before, such as opening a bench, says nothing about the pace
        gone, took_s = done - self._first[0], now_s - self._first[1]
        text = duration(now_s - self._begun_s)
        if done < self._total and gone > 0 and took_s >= _WORTH_s:
            text += f", {duration(took_s * (self._total - done) / gone)} left"
        return text
