"""The interlock of an array: refuses what the bench's limits forbid, and grounds.

A request is checked whole before any of it is sent, and refused, never clamped. Whatever ends the session (an
error, Ctrl-C, SIGTERM, the end of the process) puts every line to 0 V.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from eapu_hil.base.stopping import held, raise_if_stopped
from eapu_hil.bench.limits import LimitCheck
from eapu_hil.bench.product_check import ProductCheck
from eapu_hil.hal import Crossbar, HilError, LimitError, Limits

_LOG = logging.getLogger(__name__)
_OTHERS_END_s = 10.0  # for requests of other threads, once the lines are at 0 V
_POLL_s = 0.01


class _Request:
    """One that is being sent. ground: the last one that was asked for before it; thread: whose it is."""

    def __init__(self, ground: object) -> None:
        self.ground = ground
        self.thread = threading.get_ident()


class Interlock:
    """That of one array of a device. Any thread may use it.

    What several threads do is told apart without a lock: nothing may hold up a ground, and an interrupt may come
    between any two instructions. Each attribute changes at once, and every doubt means: not grounded.

    check, product_check: what refuses each request before it is sent; raises LimitError. at_work: is told whenever a
    request begins or ends, for who watches.
    """

    def __init__(self, device: Crossbar, limits: Limits, name: str) -> None:
        """name: of the array, for messages: "array 0"."""
        self.check = LimitCheck(name, device.shape, limits)
        self.product_check = ProductCheck(device.shape, limits)
        self.at_work: Callable[[], None] = lambda: None
        self._device = device
        self._closed = self._ended = False
        self._under_way: set[_Request] = set()
        self._last_change: object = object()  # on the lines: a request that began or ended
        self._grounded_after: object = None  # the last change before the last ground that nothing disturbed
        self._ground: object = None  # the last one that was asked for
        atexit.register(self.close)

    @property
    def name(self) -> str:
        """The name of the array in messages."""
        return self.check.name

    @property
    def is_grounded(self) -> bool:
        """Whether nothing was sent since the lines were put to 0 V, and nothing is being sent."""
        return self._grounded_after is self._last_change and not self._others_send()

    def refuse_when_closed(self) -> None:
        """Raises LimitError after `close`."""
        if self._closed:
            raise LimitError(f"{self.name}: closed; only grounding is allowed")

    def sending(self) -> AbstractContextManager[None]:
        """See `sending`, which is for requests to several arrays."""
        return sending([self])

    def grounding_on_error(self) -> AbstractContextManager[None]:
        """Around a request that puts no voltage on a line."""
        return _grounding_on_error([self])

    def begin(self) -> _Request:
        """Notes that a request is being sent, until `end`."""
        request = _Request(self._ground)
        self._under_way.add(request)
        self._last_change = request
        self.at_work()
        return request

    def end(self, request: _Request) -> None:
        """The request is not being sent any more."""
        self._last_change = object()
        self._under_way.discard(request)
        self.at_work()

    def require_undisturbed(self, request: _Request) -> None:
        """Raises HilError where somebody grounded the array since `request` began."""
        if self._ground is not request.ground:
            raise HilError(
                f"{self.name}: put to 0 V in the middle of a request, so what became of its cells is not known: "
                "read them before they are written again"
            )

    def ground(self) -> None:
        """Every line to 0 V, now; allowed at any time, in any thread. A request that runs ends with an error."""
        self._ground = object()
        last_change, disturbed = self._last_change, self._others_send()
        try:
            self._device.ground()
        except (KeyboardInterrupt, SystemExit):  # a second Ctrl-C must not leave the lines half grounded
            self._device.ground()
            if not disturbed:
                self._grounded_after = last_change
            raise
        if not disturbed:
            self._grounded_after = last_change

    def close(self) -> None:
        """Grounds, unless nothing was sent since the last ground; from now on only `ground` is allowed.

        Requests of other threads end first. May be called again, and then does what an interrupt has cut short.
        """
        self._closed = True
        if self._ended:
            return
        try:
            if not self.is_grounded:
                self.ground()
            if self._others_send():
                self._let_others_end()
                self.ground()
        except Exception:  # of the device: said once
            self._end()
            raise
        self._end()

    def _end(self) -> None:
        self._ended = True
        atexit.unregister(self.close)

    def _others_send(self) -> bool:
        """Whether another thread has a request under way; this one has none where it asks."""
        here = threading.get_ident()
        return any(request.thread != here for request in tuple(self._under_way))

    def _let_others_end(self) -> None:
        end_s = time.monotonic() + _OTHERS_END_s
        while self._others_send():
            if time.monotonic() > end_s:
                _LOG.error(
                    "%s: a request of another thread has not ended %g s after the lines were put to 0 V",
                    self.name,
                    _OTHERS_END_s,
                )
                return
            time.sleep(_POLL_s)


@contextmanager
def sending(interlocks: Sequence[Interlock]) -> Iterator[None]:
    """Around a request that puts voltages on lines of these arrays.

    An exception in it grounds all of them before it is passed on. Raises HilError where somebody grounded one of them
    meanwhile: the lines are put to 0 V again.
    """
    raise_if_stopped()
    requests = [interlock.begin() for interlock in interlocks]
    with _grounding_on_error(interlocks):
        try:
            for interlock in interlocks:
                interlock.refuse_when_closed()  # by another thread, just now
            yield
        finally:
            for interlock, request in zip(interlocks, requests, strict=True):
                interlock.end(request)
        for interlock, request in zip(interlocks, requests, strict=True):
            interlock.require_undisturbed(request)


@contextmanager
def _grounding_on_error(interlocks: Sequence[Interlock]) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        _ground_each(interlocks, error)
        raise


def _ground_each(interlocks: Sequence[Interlock], error: BaseException) -> None:
    """Puts all lines to 0 V because of `error`, which is the one to pass on; says where that failed."""
    for interlock in interlocks:
        try:
            interlock.ground()
        except BaseException as failure:  # noqa: BLE001 - the first error is the one to pass on
            if not interlock.is_grounded:
                _report(f"{interlock.name}: could not be grounded: {_text(failure)}", error)


def close_all(interlocks: Sequence[Interlock], error: BaseException | None = None) -> None:
    """Grounds and closes every array, also when one of them fails, and when Ctrl-C comes in between.

    error: the exception that is on its way, if there is one; failures are then added to it as notes.
    Otherwise raises HilError that names each array that could not be grounded.
    """
    try:
        with held():
            _close_each(interlocks, error)
    except (KeyboardInterrupt, SystemExit) as interrupt:
        _close_each(interlocks, interrupt)
        raise


def _close_each(interlocks: Sequence[Interlock], error: BaseException | None) -> None:
    failures: list[BaseException] = []
    messages: list[str] = []
    for interlock in interlocks:
        try:
            interlock.close()
        except BaseException as failure:  # noqa: BLE001 - the other arrays have to be grounded first
            failures.append(failure)
            # After an interrupt it is tried again.
            if isinstance(failure, Exception) and not interlock.is_grounded:
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
