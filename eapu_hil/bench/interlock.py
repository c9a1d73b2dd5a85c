"""The interlock of an array: refuses what the bench's limits forbid, and grounds.

A request is checked whole before any of it is sent, and refused, never clamped. Whatever ends the session (an
error, Ctrl-C, SIGTERM, the end of the process) puts every line to 0 V.
"""

from __future__ import annotations

import atexit
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from eapu_hil.base.stopping import raise_if_stopped
from eapu_hil.bench.limits import LimitCheck
from eapu_hil.hal import Crossbar, HilError, LimitError, Limits

_LOG = logging.getLogger(__name__)


class Interlock:
    """That of one array of a device.

    check: what refuses each request before it is sent; raises LimitError.
    """

    def __init__(self, device: Crossbar, limits: Limits, name: str) -> None:
        """name: of the array, for messages: "array 0"."""
        self.check = LimitCheck(name, device.shape, limits)
        self._device = device
        self._closed = False
        self._grounded = False
        atexit.register(self.close)

    @property
    def name(self) -> str:
        """How messages call this array."""
        return self.check.name

    @property
    def is_grounded(self) -> bool:
        """Whether nothing was sent since the lines were put to 0 V."""
        return self._grounded

    def refuse_when_closed(self) -> None:
        """Raises LimitError after `close`."""
        if self._closed:
            raise LimitError(f"{self.name}: closed; only grounding is allowed")

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Around a request that puts voltages on lines. An exception in it grounds before it is passed on."""
        raise_if_stopped()
        self._grounded = False
        with self.grounding_on_error():
            yield

    @contextmanager
    def grounding_on_error(self) -> Iterator[None]:
        """Around a request that puts no voltage on a line."""
        try:
            yield
        except BaseException as error:
            try:
                self.ground()
            except BaseException as failure:  # noqa: BLE001 - the first error is the one to pass on
                if not self.is_grounded:
                    _report(f"{self.name}: could not be grounded: {_text(failure)}", error)
            raise

    def ground(self) -> None:
        """Every line to 0 V, now; allowed at any time."""
        try:
            self._device.ground()
        except (KeyboardInterrupt, SystemExit):  # a second Ctrl-C must not leave the lines half grounded
            self._device.ground()
            self._grounded = True
            raise
        self._grounded = True

    def close(self) -> None:
        """Grounds, unless nothing was sent since the last ground; from now on only `ground` is allowed."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        if not self._grounded:
            self.ground()


def close_all(interlocks: Sequence[Interlock], error: BaseException | None = None) -> None:
    """Grounds and closes every array, also when one of them fails.

    error: the exception that is on its way, if there is one; failures are then added to it as notes.
    Otherwise raises HilError that names each array that could not be grounded.
    """
    failures: list[BaseException] = []
    messages: list[str] = []
    for interlock in interlocks:
        try:
            interlock.close()
        except BaseException as failure:  # noqa: BLE001 - the other arrays have to be grounded first
            failures.append(failure)
            if not interlock.is_grounded:
                messages.append(f"{interlock.name}: could not be grounded: {_text(failure)}")
    # Ctrl-C or SIGTERM may have come in between; it goes on when nothing else is on its way.
    interrupts = [failure for failure in failures if not isinstance(failure, Exception)]
    leaving = error or next(iter(interrupts), None)
    if leaving is not None and messages:
        _report("; ".join(messages), leaving)
    if error is None and leaving is not None:
        raise leaving
    if error is None and failures:
        raise HilError("; ".join(messages)) from failures[0]


def _report(message: str, error: BaseException) -> None:
    _LOG.error("%s", message)
    error.add_note(message)


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
