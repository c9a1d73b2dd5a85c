"""The lines of metrics.jsonl for who watches a run: what happened, what bench and link count, pauses, grounds.

{"kind": "event", "at_step": 12, "unix_s": ..., "what": "reconnect", "text": ...}   what: see `WHAT`
{"kind": "bench", "step": 12, "unix_s": ..., "energy_j": ..., "link": {...}}       at most one a second
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np

from eapu_hil.base.printable import printable
from eapu_hil.base.stopping import raise_if_stopped
from eapu_hil.hal import HilError, LimitError
from eapu_hil.tasks.base import Evaluation
from eapu_hil.training.bench_account import BenchAccount
from eapu_hil.training.run_store import RunStore
from eapu_hil.training.runs import EXAMPLES, EXAMPLES_FILE, PAUSE

WHAT = ("log", "reconnect", "limit", "fault", "paused", "continued", "grounded")
What = Literal["log", "reconnect", "limit", "fault", "paused", "continued", "grounded"]

_BENCH_EVERY_s = 1.0
_LOOK_s = 0.1  # how often a run that waits looks whether it may go on
_KEPT = 100  # records of the log between two steps
_TEXT = 500  # characters of an event

_LOG = logging.getLogger(__name__)
_Record = tuple[float, What, str]


class _Heard(logging.Handler):
    """Keeps the newest warnings of the whole program, of any thread, until the run writes them down."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: deque[_Record] = deque(maxlen=_KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        what: What = "reconnect" if getattr(record, "event", "") == "reconnect" else "log"
        self.records.append((record.created, what, record.getMessage()))


class Diary:
    """That of one run. account: of its bench, None without one. heard: of `warnings_heard`."""

    def __init__(self, store: RunStore, account: BenchAccount | None, heard: deque[_Record]) -> None:
        self._store = store
        self._account = account
        self._heard = heard
        self._pause = store.path / PAUSE
        self._step = 0
        self._bench_s = 0.0  # when the last line of the bench was written, by time.monotonic()

    def after_step(self, step: int) -> None:
        """Writes down what has come up. Raises StorageError."""
        self._step = step
        while self._heard:
            self._event(*self._heard.popleft())
        now_s = time.monotonic()
        if self._account is not None and now_s >= self._bench_s + _BENCH_EVERY_s:
            self._bench_s = now_s
            counted = self._account.live_counts()
            self._store.append_note("bench", {"step": step, "unix_s": time.time(), **counted})

    def wait_while_paused(self, step: int, checkpoint: Callable[[int], None]) -> None:
        """Returns at once, or, where a pause is asked for, when it is over. Grounded and saved meanwhile.

        step: the last one that was taken. checkpoint: saves it.
        """
        if not self._pause.exists():
            return
        checkpoint(step)
        if self._account is not None:
            self._account.ground()
        self._event(time.time(), "paused", f"paused after step {step}: saved, every line at 0 V")
        _LOG.info("paused after step %d; to continue, remove %s", step, self._pause)
        while self._pause.exists():
            raise_if_stopped()
            time.sleep(_LOOK_s)
        self._event(time.time(), "continued", f"continued after step {step}")

    def stopped(self) -> None:
        """On a stop, before anything else is done: grounds, and says when. What fails is tried again when it closes."""
        try:
            if self._account is not None:
                self._account.ground()
            self._event(time.time(), "grounded", "stopped: every line at 0 V")
        except HilError as error:
            _LOG.warning("%s", error)

    def fault(self, error: HilError) -> None:
        """Writes down what has ended the run; if that fails too, the log says so."""
        try:
            self.after_step(self._step)
            self._event(time.time(), "limit" if isinstance(error, LimitError) else "fault", str(error))
        except HilError as again:
            _LOG.warning("%s", again)

    def show(self, step: int, evaluation: Evaluation) -> None:
        """Keeps the example images of an evaluation in place of those of the one before."""
        if not evaluation.examples:
            return
        arrays = {
            f"{number}_{part}": getattr(triplet, part)
            for number, triplet in enumerate(evaluation.examples)
            for part in ("input", "output", "reference")
        }
        arrays["names"] = np.array([triplet.name for triplet in evaluation.examples])
        arrays["step"] = np.array(step)
        self._store.files.write_npz(EXAMPLES_FILE, arrays, EXAMPLES)

    def _event(self, unix_s: float, what: What, text: str) -> None:
        shown = printable(text)[:_TEXT]
        values = {"at_step": self._step, "unix_s": unix_s, "what": what, "text": shown}
        self._store.append_note("event", values)


@contextmanager
def warnings_heard() -> Iterator[deque[_Record]]:
    """The warnings that are logged meanwhile, the newest 100 of them."""
    handler, root = _Heard(), logging.getLogger()
    root.addHandler(handler)
    try:
        yield handler.records
    finally:
        root.removeHandler(handler)
