"""The link to a controller: one thread owns the port; everybody else gets futures.

Requests go out in the order of `submit`, as many at a time as the controller has room for, so that batches keep the
line busy. What is lost or damaged on the way is sent again, and each answer is delivered once. When the line itself is
lost, the link reconnects but sends no request again: whoever asked has to look at the cells first.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from eapu_drivers.controller.counters import Counters
from eapu_drivers.controller.errors import LinkLost, RefusedError
from eapu_drivers.controller.frames import Frame
from eapu_drivers.controller.messages import (
    BY_NUMBER,
    Abort,
    Clear,
    Exchange,
    Ground,
    Product,
    Status,
    StatusIs,
    Welcome,
)
from eapu_drivers.controller.ports import Port
from eapu_drivers.controller.requests import ProductRequest, Promise, Request, SingleRequest
from eapu_drivers.controller.session import KEEPALIVE_ID, WINDOW_COUNTS, Session, Tally, Timing
from eapu_hil.hal import HilError, ProtocolError, TransportError

__all__ = ["Link", "LinkLost", "RefusedError", "Timing"]

_LOG = logging.getLogger(__name__)
WAITING_MAX = 4096  # requests; whoever submits more waits for room
_ID_MAX = 0xFFFF_FFFF
_RETRY_S = 0.05
_CLOSE_S = 1.0


def random_link_id() -> int:
    """A name for one connection that no earlier one has had, as far as chance goes."""
    return secrets.randbits(32)


class _Urgent:
    """A message that goes out at once, past everything that waits, again and again until it is answered."""

    def __init__(self, message: Exchange) -> None:
        self.frame = message.NUMBER, message.pack()
        self.future: Promise[StatusIs] = Promise()
        self.next_s = 0.0


class Link:
    """A connection to one controller.

    open_port: opens the line; called again to reconnect. Raises TransportError when the port does not open or nothing
    answers on it, ProtocolError when the firmware is of another version. Any thread may use a link.
    """

    def __init__(
        self,
        open_port: Callable[[], Port],
        timing: Timing | None = None,
        new_link_id: Callable[[], int] = random_link_id,
    ) -> None:
        self._open_port = open_port
        self._timing = timing or Timing()
        self._new_link_id = new_link_id
        self._tally = Tally()
        self._changed = threading.Condition()  # guards the next five
        self._waiting: deque[Request] = deque()
        self._urgent: dict[int, _Urgent] = {}
        self._next_id = 1
        self._closing = False
        self._dead: TransportError | ProtocolError | None = None  # why nothing works any more
        self._unanswered: dict[int, Request] = {}  # the thread's own
        self._sending: Request | None = None
        self._woken = False
        self._session: Session | None = None
        self._name = "controller"
        opened: Future[Welcome] = Future()
        self._thread = threading.Thread(target=self._run, args=(opened,), name="controller-link", daemon=True)
        self._thread.start()
        try:
            self._welcome = opened.result()
        except BaseException:
            self.close()
            raise

    @property
    def welcome(self) -> Welcome:
        """What the controller said about itself when the present connection began."""
        return self._welcome

    @property
    def counters(self) -> Counters:
        """What was counted so far."""
        tally, session = self._tally, self._session
        window = session.window if session else None
        ended = {name: getattr(tally, name) + getattr(window, name, 0) for name in WINDOW_COUNTS}
        return Counters(
            frames_sent=tally.frames_sent,
            bytes_sent=tally.bytes_sent,
            frames_received=tally.frames_received,
            bytes_received=tally.bytes_received,
            damaged=tally.damaged,
            strays=tally.strays,
            reconnects=tally.reconnects,
            in_flight=window.in_flight if window else 0,
            window=window.frames if window else 0,
            unanswered=len(self._unanswered),
            waiting=len(self._waiting),
            round_trip_s=window.round_trip.smoothed_s if window else 0.0,
            resend_s=window.round_trip.resend_s if window else 0.0,
            last_frame=tally.last_frame,
            last_frame_age_s=time.monotonic() - tally.last_frame_s if tally.last_frame else 0.0,
            **ended,
        )

    def take_ids(self, count: int = 1) -> int:
        """The first of `count` new ids. PULSE and WRITE have to be submitted in the order of their ids."""
        with self._changed:
            first = self._next_id
            if first + count - 1 > _ID_MAX:
                raise TransportError(f"{self._name}: all 2^32 request ids of this boot are used; reset the controller")
            self._next_id = first + count
        return first

    def submit(self, request: Exchange) -> Future[Exchange]:
        """Sends a sequenced request; the future gives its answer, be it a `Refused`.

        Blocks only while more than WAITING_MAX requests wait. The future raises LinkLost when the line breaks first.
        """
        if not request.SEQUENCED:
            raise ValueError(f"{type(request).__name__} is not sequenced: use urgent()")
        single = SingleRequest(request)
        self._queue(single)
        return single.future

    def stream(self, begin: Product, codes: NDArray[np.int16]) -> Future[NDArray[np.int16]]:
        """Sends a PRODUCT with its input codes, shape (vectors, driven lines).

        The future gives the output codes, shape (vectors, measured lines), or raises RefusedError or LinkLost.
        """
        product = ProductRequest(begin, codes, self._welcome)
        self._queue(product)
        return product.future

    def urgent(self, request: Status | Ground | Abort | Clear) -> StatusIs:
        """Sends a request past all others and waits for its answer. Raises TransportError when none comes."""
        urgent = _Urgent(request)
        with self._changed:
            self._check_alive()
            self._urgent[request.id] = urgent
        self._wake()
        try:
            return urgent.future.result(self._timing.silence_s)
        except FutureTimeoutError:
            raise TransportError(
                f"{self._name}: {type(request).__name__.upper()} was not answered within {self._timing.silence_s:g} s; "
                f"{self.counters.last_good_frame}"
            ) from None
        finally:
            with self._changed:
                self._urgent.pop(request.id, None)

    def close(self) -> None:
        """Ends the connection; requests that were not answered fail. May be called again, and after a loss."""
        with self._changed:
            first, self._closing = not self._closing, True
            self._changed.notify_all()
        self._wake(always=True)
        if threading.current_thread() is not self._thread:
            self._thread.join(_CLOSE_S)
        if first:
            _LOG.info("%s: closed; %s", self._name, self.counters)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # The rest of the callers' side

    def _queue(self, request: Request) -> None:
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) < WAITING_MAX or self._dead or self._closing)
            self._check_alive()
            self._waiting.append(request)
        self._wake()

    def _check_alive(self) -> None:
        if self._dead is not None:
            raise type(self._dead)(*_again(self._dead))
        if self._closing:
            raise TransportError(f"{self._name}: the link is closed")

    def _wake(self, always: bool = False) -> None:
        session = self._session
        if session is not None and (always or not self._woken):
            self._woken = True
            session.port.wake()
