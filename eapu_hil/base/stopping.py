"""Signals that end a process: they end it through every `finally` and `with`, and cannot get lost.

Ctrl-C, SIGTERM, a lost terminal (SIGHUP), Ctrl-\\ (SIGQUIT) and every other one that would end the process on the spot,
and leave voltages on lines. What no program sees (SIGKILL, a crash, a process that stands still) is not among them:
instruments have a guard for that, a board its dead man.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from eapu_hil.base.errors import one_line

_LOG = logging.getLogger(__name__)


def _numbers(*names: str) -> tuple[int, ...]:
    """Those of these signals that this system has."""
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


# Signals whose default ends a process; those of a crash are not among them: Python cannot go on after it.
_ASKED = _numbers("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
_ENDING = (
    *_ASKED,
    *_numbers("SIGBREAK"),  # Windows: Ctrl-Break, a closed console, the end of the session
    *_numbers("SIGPIPE"),  # Python ignores it, if nobody changed that: a broken pipe is an exception
    *_numbers("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGPOLL", "SIGXCPU", "SIGPWR"),
    *_numbers("SIGSTKFLT", "SIGEMT", "SIGLOST"),
    *range(getattr(signal, "SIGRTMIN", 0), getattr(signal, "SIGRTMAX", -1) + 1),
)
_STANDING = _numbers("SIGTSTP", "SIGTTIN", "SIGTTOU")  # those that make a process stand still


class _Stop:
    """Signal handler: raises, and remembers what it raised. Inside `held` it only remembers.

    After the first signal that ends the process only Ctrl-C is heard.
    """

    def __init__(self) -> None:
        self.raised: BaseException | None = None
        self.holds = 0
        self.pending = False

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if not isinstance(self.raised, SystemExit):
            self.raised = KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
        elif number != signal.SIGINT:
            return  # it is ending already
        if self.holds:
            self.pending = True
        else:
            raise self.raised


@contextmanager
def grounding_signals() -> Iterator[None]:
    """Every signal that ends the process does it as Ctrl-C does, through every `finally` and `with`.

    The exit code is 128 and the signal's number: 130, 143, 129. Ctrl-C and SIGTERM are heard also where the shell that
    started the process ignores them, as for jobs in the background; other signals that are ignored (`nohup`) or that
    somebody else handles stay so. In the main thread only; elsewhere nothing happens.

    An error that comes after the signal does not take its place: what fails on the way out, or because the signal was
    dropped (see `raise_if_stopped`), is a line in the log, and the process ends by the signal.
    """
    with _handling(always=(signal.SIGINT, signal.SIGTERM)) as stop:
        try:
            yield
        except Exception as error:
            if stop is None or stop.raised is None:
                raise
            _LOG.error("on the way out: %s", one_line(error))
            _LOG.debug("", exc_info=error)
            raise stop.raised from error


@contextmanager
def bench_signals(*, frozen_is_safe: bool) -> Iterator[None]:
    """`grounding_signals` for a bench that any program may open: what somebody else handles already stays so.

    frozen_is_safe: whether nothing happens to cells while the process stands still. Otherwise Ctrl-Z is refused, with
    a line that says so.
    """
    with _handling():
        if frozen_is_safe or not _in_main_thread():
            yield
            return
        before: dict[int, Any] = {}
        try:
            _take(before, _STANDING, _refuse_to_stand)
            yield
        finally:
            _give_back(before, _refuse_to_stand)


@contextmanager
def held() -> Iterator[None]:
    """Around what has to come to its end: a signal that comes meanwhile ends the process afterwards."""
    stop = _handler()
    if stop is None or not _in_main_thread():
        yield
        return
    stop.holds += 1
    try:
        yield
    finally:
        stop.holds -= 1
        pending = stop.pending and not stop.holds
        if pending:
            stop.pending = False
    if pending:
        raise_if_stopped()


def raise_if_stopped() -> None:
    """Raises again what a signal raised before, inside `grounding_signals`.

    Python delivers a signal as an exception between any two instructions, also inside a call from C that drops
    every exception (numpy looks up attributes that way): the signal would be lost. So whoever starts something
    new asks here first.
    """
    stop = _handler()
    if stop is not None and stop.raised is not None:
        raise stop.raised


@contextmanager
def _handling(always: Sequence[int] = ()) -> Iterator[_Stop | None]:
    """The handler while it is in place; None in other threads."""
    if not _in_main_thread():
        yield None
        return
    stop = _Stop()
    before: dict[int, Any] = {}
    try:
        _take(before, _ENDING, stop, always)
        yield stop
    finally:
        _give_back(before, stop)


def _take(before: dict[int, Any], numbers: Sequence[int], handler: Any, always: Sequence[int] = ()) -> None:
    """Gives each signal that nobody handles, and those of `always`, to `handler`. before: gets what they had."""
    for number in numbers:
        was = signal.getsignal(number)
        if number in always or was in (signal.SIG_DFL, signal.default_int_handler):
            before[number] = was
            signal.signal(number, handler)


def _give_back(before: dict[int, Any], handler: Any) -> None:
    for number, was in before.items():
        if signal.getsignal(number) is handler:  # else somebody else took it meanwhile
            signal.signal(number, was)


def _handler() -> _Stop | None:
    """The one in place. It is kept with the signals and nowhere else."""
    for number in _ASKED:
        handler = signal.getsignal(number)
        if isinstance(handler, _Stop):
            return handler
    return None


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _refuse_to_stand(number: int, _frame: FrameType | None) -> None:
    name = signal.Signals(number).name
    _LOG.warning(
        "%s refused: a program that stands still leaves voltages on lines; Ctrl-C grounds and ends it",
        "Ctrl-Z" if name == "SIGTSTP" else name,
    )
