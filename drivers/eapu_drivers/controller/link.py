"""The link to a controller: one thread owns the port; everybody else gets futures.

Requests go out in the order of `submit`, as many at a time as the controller has room for, so that batches keep the
line busy. What is lost or damaged on the way is sent again, and each answer is delivered once. When the line itself is
lost, the link reconnects but sends no request again: whoever asked has to look at the cells first.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from eapu_drivers.controller.counters import Counters
from eapu_drivers.controller.errors import LinkLost, RefusedError
from eapu_drivers.controller.message import Exchange
from eapu_drivers.controller.messages import Abort, Clear, Ground, Product, Status, StatusIs, Welcome
from eapu_drivers.controller.ports import Port
from eapu_drivers.controller.request_queue import RequestQueue, UrgentRequest
from eapu_drivers.controller.requests import ProductRequest, SingleRequest, WorkTimes
from eapu_drivers.controller.session import LinkTiming
from eapu_drivers.controller.worker import Worker
from eapu_hil.hal import TransportError

__all__ = ["Counters", "Link", "LinkLost", "LinkTiming", "RefusedError"]

_LOG = logging.getLogger(__name__)
_CLOSE_s = 1.0


def random_link_id() -> int:
    """A name for one connection that none before had, as far as chance goes."""
    return secrets.randbits(32)


class Link:
    """A connection to one controller. Any thread may use it.

    open_port: opens the line; called again to reconnect. Raises TransportError when the port does not open or nothing
    answers on it, ProtocolError when the firmware is of another version.
    """

    def __init__(
        self,
        open_port: Callable[[], Port],
        timing: LinkTiming | None = None,
        new_link_id: Callable[[], int] = random_link_id,
    ) -> None:
        self._timing = timing or LinkTiming()
        self._queue = RequestQueue()
        self._worker = Worker(self._queue, open_port, self._timing, new_link_id)
        self._work = WorkTimes()
        self._opened: Future[Welcome] = Future()
        # a daemon: it must not keep a program alive whose author forgot to close the link
        self._thread = threading.Thread(
            target=self._worker.run, args=(self._opened,), name="controller-link", daemon=True
        )
        self._thread.start()
        try:
            self._opened.result()  # ends: the port opens, and HELLO is answered, in time or not at all
        except BaseException:
            self.close()
            raise

    @property
    def welcome(self) -> Welcome:
        """The controller's description of itself from the start of the present connection."""
        return self._worker.welcome or self._opened.result()

    @property
    def counters(self) -> Counters:
        """The counts so far."""
        return self._worker.counters()

    def take_ids(self, count: int = 1) -> int:
        """The first of `count` new ids. PULSE and WRITE have to be submitted in the order of their ids."""
        return self._queue.take_ids(count)

    def submit(self, request: Exchange) -> Future[Exchange]:
        """Sends a sequenced request; the future gives its answer, be it a `Refused`, or raises LinkLost.

        Blocks only while thousands of requests wait.
        """
        if not request.SEQUENCED:
            raise ValueError(f"{type(request).__name__} is not sequenced: use urgent()")
        single = SingleRequest(request, self._work.of(request))
        self._queue.put(single)
        self._worker.wake()
        return single.future

    def stream(self, begin: Product, codes: NDArray[np.int16]) -> Future[NDArray[np.int16]]:
        """Sends a PRODUCT with its input codes, shape (vectors, driven lines).

        The future gives the output codes, shape (vectors, measured lines), or raises RefusedError or LinkLost.
        """
        product = ProductRequest(begin, codes, self.welcome)
        self._queue.put(product)
        self._worker.wake()
        return product.future

    def urgent(self, request: Status | Ground | Abort | Clear) -> StatusIs:
        """Sends a request past all others and waits for its answer. Raises TransportError when none comes.

        With id 0 it is given one: of those for urgent requests, which are never used up.
        """
        if not request.id:
            request = replace(request, id=self._queue.take_urgent_id())
        urgent = UrgentRequest(request)
        self._queue.put_urgent(urgent)
        self._worker.wake()
        try:
            return urgent.future.result(self._timing.silence_s)
        except TimeoutError:
            raise TransportError(
                f"{self._worker.name}: {type(request).__name__} was not answered within {self._timing.silence_s:g} s; "
                f"{self.counters.last_good_frame}"
            ) from None
        finally:
            self._queue.drop_urgent(request.id)

    def close(self) -> None:
        """Ends the connection; requests that were not answered fail. May be called again, and after a loss."""
        counters = self.counters  # while there still is a connection
        first = self._queue.end(lambda: TransportError(f"{self._worker.name}: the link is closed"))
        self._worker.wake()
        self._thread.join(_CLOSE_s)
        if first:
            _LOG.info("%s: closed; %s", self._worker.name, counters)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
