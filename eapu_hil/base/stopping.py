"""Ctrl-C and SIGTERM: they end the process through every `finally` and `with`, and cannot get lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class _Stop:
    """Signal handler: raises, and remembers what it raised."""

    def __init__(self) -> None:
        self.raised: BaseException | None = None

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGTERM:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            self.raised = SystemExit(128 + number)
        else:
            self.raised = KeyboardInterrupt()
        raise self.raised


@contextmanager
def grounding_signals() -> Iterator[None]:
    """SIGTERM ends the process as Ctrl-C does, through every `finally` and `with`: exit code 143.

    Ctrl-C is heard also where the shell that started the process ignores it, as for jobs in the background.
    In the main thread only; elsewhere, and for the SIGTERMs after the first, nothing happens.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stop = _Stop()
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def raise_if_stopped() -> None:
    """Raises again what a signal raised before, inside `grounding_signals`.

    Python delivers a signal as an exception between any two instructions, also inside a call from C that drops
    every exception (numpy looks up attributes that way): the signal would be lost. So whoever starts something
    new asks here first.
    """
    # SIGINT's handler stays in place to the end; SIGTERM's goes with the first signal.
    handler = signal.getsignal(signal.SIGINT)
    if isinstance(handler, _Stop) and handler.raised is not None:
        raise handler.raised
