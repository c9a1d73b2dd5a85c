"""Where the callers of a link leave their requests and its thread takes them up."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from eapu_drivers.controller.message import Exchange
from eapu_drivers.controller.messages import StatusIs
from eapu_drivers.controller.requests import Promise, Request
from eapu_hil.hal import HilError, TransportError

WAITING_MAX = 4096  # requests; whoever submits more waits for room
_ID_MAX = 0xFFFF_FFFF
_POLL_s = 0.2  # so that Ctrl-C is heard while waiting


class UrgentRequest:
    """A message that goes out past everything that waits, again and again until it is answered."""

    def __init__(self, message: Exchange) -> None:
        self.id = message.id
        self.frame = message.NUMBER, message.pack()
        self.future: Promise[StatusIs] = Promise()
        self.next_s = 0.0


class RequestQueue:
    """Any thread may call any method."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Request] = deque()
        self._urgent: dict[int, UrgentRequest] = {}
        self._next_id = 1
        self._next_urgent_id = 1
        self._end: Callable[[], HilError] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def ended(self) -> bool:
        """Whether nothing is taken any more."""
        return self._end is not None

    def take_ids(self, count: int) -> int:
        """The first of `count` new ids."""
        with self._changed:
            first = self._next_id
            if first + count - 1 > _ID_MAX:
                raise TransportError(
                    "all 2^32 request ids of this boot are used up; reset the controller, then open the bench again"
                )
            self._next_id = first + count
        return first

    def take_urgent_id(self) -> int:
        """An id for an urgent message. They are never used up: what was answered long ago is not confused with it."""
        with self._changed:
            number = self._next_urgent_id
            self._next_urgent_id = number % _ID_MAX + 1
        return number

    def ids_above(self, last: int) -> None:
        """From now on only ids above `last` are given out."""
        with self._changed:
            self._next_id = max(self._next_id, last + 1)

    def put(self, request: Request) -> None:
        """Blocks while WAITING_MAX requests wait. Raises why, once nothing is taken any more."""
        with self._changed:
            while len(self._waiting) >= WAITING_MAX and self._end is None:
                self._changed.wait(_POLL_s)
            if self._end is not None:
                raise self._end()
            self._waiting.append(request)

    def head(self) -> Request | None:
        """The request that waits longest."""
        return self._waiting[0] if self._waiting else None

    def pop(self) -> None:
        """Takes that one away."""
        with self._changed:
            self._waiting.popleft()
            if len(self._waiting) == WAITING_MAX - 1:
                self._changed.notify()

    def put_urgent(self, urgent: UrgentRequest) -> None:
        """Raises why, once nothing is taken any more."""
        with self._changed:
            if self._end is not None:
                raise self._end()
            self._urgent[urgent.id] = urgent

    def drop_urgent(self, number: int) -> UrgentRequest | None:
        """Takes the urgent message of this id away: it was answered, or nobody waits for it any more."""
        with self._changed:
            return self._urgent.pop(number, None)

    def urgent(self) -> list[UrgentRequest]:
        """Those that are not answered yet."""
        if not self._urgent:
            return []
        with self._changed:
            return list(self._urgent.values())

    def take_all(self) -> list[Request]:
        """Everything that waits."""
        with self._changed:
            taken, self._waiting = list(self._waiting), deque()
            self._changed.notify_all()
        return taken

    def end(self, reason: Callable[[], HilError]) -> bool:
        """Takes nothing any more; whoever comes gets this error. False when it had ended before."""
        with self._changed:
            if self._end is not None:
                return False
            self._end = reason
            self._changed.notify_all()
        return True

    def reason(self) -> HilError:
        """The error for requests that are still waiting at the end."""
        return self._end() if self._end is not None else TransportError("the thread of the link has failed")
