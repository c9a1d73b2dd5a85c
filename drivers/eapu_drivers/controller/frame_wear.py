"""The pulses of frames under way: counted before a frame is sent, corrected by what the board answers."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from eapu_drivers.controller.message import Exchange
from eapu_drivers.controller.messages import Pulse, Pulsed, Reason, Refused, Write, Written
from eapu_hil.hal import Cells, IntArray, WearAccount


@dataclass(eq=False)
class SentFrame:
    """A PULSE or WRITE of `cells`, each of which may get `at_most` pulses. future: its answer, once it was sent."""

    request: Pulse | Write
    cells: Cells
    at_most: IntArray | int
    future: Future[Exchange] | None = None

    @property
    def answer(self) -> Exchange | None:
        """None where none came, or not yet."""
        future = self.future
        if future is None or not future.done() or future.cancelled() or future.exception() is not None:
            return None
        return future.result()


class FrameWear:
    """The frames of one array whose pulses are expected. Any thread may ground, so any may call any method.

    account: None where nobody counts.
    """

    def __init__(self) -> None:
        self.account: WearAccount | None = None
        self._open: list[SentFrame] = []
        self._lock = threading.Lock()

    def expect(self, frame: SentFrame) -> None:
        """The frame is about to be sent."""
        with self._lock:
            if self.account is not None:
                self.account.expect(frame.cells, frame.at_most)
            self._open.append(frame)

    def answered(self, frame: SentFrame, answer: Exchange) -> None:
        """What came of it, as the board says: in answer to the frame, or to RECALL."""
        if isinstance(answer, Pulsed | Written):
            self._settle(frame, answer.tail["pulses"].astype(np.int64))
        elif isinstance(answer, Refused) and answer.reason not in (Reason.DUPLICATE, Reason.UNKNOWN_ID):
            self._settle(frame, 0)

    def never_started(self, frame: SentFrame) -> None:
        """The board has not begun it, and never will."""
        self._settle(frame, 0)

    def look(self) -> None:
        """Takes the answers that nobody waits for any more."""
        for frame in list(self._open):
            if frame.answer is not None:
                self.answered(frame, frame.answer)
            elif frame.future is None or frame.future.cancelled():
                self.never_started(frame)

    def forget(self) -> None:
        """Frames whose end nobody will know stay counted in full."""
        with self._lock:
            self._open.clear()

    def _settle(self, frame: SentFrame, pulses: IntArray | int) -> None:
        with self._lock:
            if frame not in self._open:
                return
            self._open.remove(frame)
            if self.account is not None:
                self.account.settle(frame.cells, frame.at_most, pulses)
