"""The thread of a link: opens the port, keeps the window full, hands out answers, reconnects."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future

from eapu_drivers.controller.counters import WINDOW_COUNTS, Counters, Tally
from eapu_drivers.controller.errors import LinkLost
from eapu_drivers.controller.frames import Frame
from eapu_drivers.controller.message import Exchange
from eapu_drivers.controller.messages import BY_NUMBER, BoardState, StatusIs, Welcome
from eapu_drivers.controller.ports import Port, open_within
from eapu_drivers.controller.request_queue import RequestQueue
from eapu_drivers.controller.requests import Request
from eapu_drivers.controller.session import LinkTiming, Session
from eapu_hil.hal import HilError, ProtocolError, TransportError

_LOG = logging.getLogger("eapu_drivers.controller.link")
_RETRY_s = 0.05


class Worker:
    """`run` is the thread; `wake` and `counters` are for everybody."""

    def __init__(
        self,
        queue: RequestQueue,
        open_port: Callable[[], Port],
        timing: LinkTiming,
        new_link_id: Callable[[], int],
    ) -> None:
        self.name = "controller"  # of the port, once it is open
        self.welcome: Welcome | None = None
        self._queue = queue
        self._open_port = open_port
        self._timing = timing
        self._new_link_id = new_link_id
        self._tally = Tally()
        self._session: Session | None = None
        self._woken = False  # since requests were last taken from the queue
        self._sending: Request | None = None  # has frames left to send
        self._unanswered: dict[int, Request] = {}  # in the order in which the controller works
        self._sign_s = 0.0  # of progress with them: an answer, an acknowledgement, or the first was sent
        self._acknowledged = 0  # messages when that was looked at last
        self._idle = False  # the controller has said since then that it has nothing to do

    def wake(self) -> None:
        """Something was put into the queue."""
        session = self._session
        if session is not None and not self._woken:
            self._woken = True
            session.port.wake()

    def counters(self) -> Counters:
        """The counts so far."""
        tally, session = self._tally, self._session
        window = session.window if session is not None else None
        counts = {name: value for name, value in vars(tally).items() if name != "last_frame"}
        for name in WINDOW_COUNTS:
            counts[name] += getattr(window, name, 0)
        last, last_s = tally.last_frame or ("", 0.0)
        return Counters(
            in_flight=window.in_flight if window else 0,
            window=window.frames if window else 0,
            unanswered=len(self._unanswered),
            waiting=len(self._queue),
            round_trip_s=window.round_trip.smoothed_s if window else 0.0,
            resend_s=window.round_trip.resend_s if window else 0.0,
            last_frame=last,
            last_frame_age_s=time.monotonic() - last_s if last else 0.0,
            **counts,
        )

    def run(self, opened: Future[Welcome]) -> None:
        """Until the queue ends. `opened` gets the first WELCOME, or why there is none."""
        try:
            try:
                welcome = self._connect(self._timing.hello_s)
            except HilError as error:
                opened.set_exception(error)
                return
            opened.set_result(welcome)
            while not self._queue.ended:
                try:
                    self._serve()
                except TransportError as error:
                    self._lost(error)
        finally:  # also when this code is wrong: nobody is left to wait for ever
            self._queue.end(
                lambda: TransportError(f"{self.name}: the thread of the link has failed, see above")
            )
            self._fail(self._queue.reason)
            for urgent in self._queue.urgent():
                urgent.future.set_exception(self._queue.reason())
            self._leave()
            if not opened.done():
                opened.set_exception(self._queue.reason())

    def _connect(self, limit_s: float) -> Welcome:
        port = open_within(self._timing.open_s, self._open_port)
        self.name = port.name
        self._session = Session(port, self._timing, self._tally)
        try:
            welcome = self._session.hello(self._new_link_id(), limit_s, lambda: self._queue.ended)
        except BaseException:
            self._leave()
            raise
        self._queue.ids_above(welcome.last_op)
        self.welcome = welcome
        return welcome

    def _leave(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.end()

    def _serve(self) -> None:
        """Works the line until the queue ends."""
        session = self._session
        assert session is not None
        while True:
            self._woken = False  # before anything is looked for, so that no later wake is missed
            if self._queue.ended:
                return
            self._fill(session)
            urgent, patience_s = self._due_urgent(session)
            session.transmit(urgent)
            for frame in session.receive(min(patience_s, session.patience_s())):
                self._deliver(frame)
            self._require_progress(session)

    def _require_progress(self, session: Session) -> None:
        """Raises TransportError when the answer to the oldest request is overdue, whatever else comes in."""
        now_s = time.monotonic()
        if not self._unanswered or session.paused or session.window.acknowledged != self._acknowledged:
            self._acknowledged = session.window.acknowledged
            self._sign(now_s)
            return
        oldest = next(iter(self._unanswered.values()))
        limit_s = self._timing.answer_s + (0.0 if self._idle else oldest.work_s)
        if now_s - self._sign_s <= limit_s:
            return
        if self._idle:
            why = "the controller says that it has nothing to do: another program has opened it, or it lost the request"
        else:
            why = f"the work asked may take {oldest.work_s:g} s"
        raise TransportError(f"{self.name}: {oldest.name} was not answered within {limit_s:g} s; {why}")

    def _sign(self, now_s: float) -> None:
        self._sign_s, self._idle = now_s, False

    def _fill(self, session: Session) -> None:
        """Moves requests into the window as long as it takes them."""
        while True:
            request = self._sending or self._next()
            if request is None:
                return
            frame = request.peek()
            if frame is None or request.id not in self._unanswered:  # all sent, or refused meanwhile
                self._sending = None
                continue
            self._sending = request
            if not session.window.fits(len(frame[1])):
                return
            session.window.push(*frame)
            request.advance()

    def _next(self) -> Request | None:
        """The next request that is still wanted; it counts as under way from now on."""
        while (request := self._queue.head()) is not None:
            self._queue.pop()
            if not request.start():
                continue
            if request.id in self._unanswered:
                request.future.set_exception(ValueError(f"a request with id {request.id} is under way"))
                continue
            self._unanswered[request.id] = request
            return request
        return None

    def _due_urgent(self, session: Session) -> tuple[list[tuple[int, bytes]], float]:
        """The urgent frames to send now, and for how long there is none."""
        now_s = time.monotonic()
        due, end_s = [], now_s + self._timing.keepalive_s
        for urgent in self._queue.urgent():
            if now_s >= urgent.next_s:
                due.append(urgent.frame)
                urgent.next_s = now_s + session.window.round_trip.resend_s
            end_s = min(end_s, urgent.next_s)
        return due, end_s - now_s

    def _deliver(self, frame: Frame) -> None:
        kind = BY_NUMBER[frame.number]
        if not issubclass(kind, Exchange) or len(frame.payload) < 4:
            return  # ACK and NAK: the window has seen them; WELCOME: to a HELLO that was repeated
        number = int.from_bytes(frame.payload[:4], "little")
        if kind is StatusIs and len(frame.payload) == StatusIs.STRUCT.size:
            self._take_status(StatusIs.unpack(frame.payload))
            return
        request = self._unanswered.get(number)
        if request is None or kind is StatusIs:
            self._tally.strays += 1
            _LOG.debug("%s: %s of id %d, which nobody waits for", self.name, kind.__name__, number)
            return
        self._sign(time.monotonic())
        try:
            done = request.answered(kind.unpack(frame.payload))
        except ProtocolError as error:
            request.future.set_exception(error)
            done = True
        if done:
            del self._unanswered[number]

    def _take_status(self, status: StatusIs) -> None:
        self._idle = status.state != BoardState.BUSY and not status.queued
        urgent = self._queue.drop_urgent(status.id)
        if urgent is not None:
            urgent.future.set_result(status)

    def _lost(self, cause: TransportError) -> None:
        """Reconnects if that is possible; whatever was under way fails either way."""
        counters = self.counters()
        before = self.welcome.session if self.welcome is not None else None
        self._leave()
        _LOG.warning("%s; %s", cause, counters)
        welcome = None
        try:
            welcome = self._reconnect()
        except HilError as error:
            outcome = f"not reconnected within {self._timing.reconnect_s:g} s ({error})"
        same = welcome is not None and welcome.session == before
        if welcome is not None:
            self._tally.reconnects += 1
            outcome = "reconnected" if same else "reconnected, but the controller has restarted meanwhile"
        text = f"{cause}; {counters.last_good_frame}; {outcome}"
        _LOG.warning("%s", text, extra={"event": "reconnect"})

        def reason() -> LinkLost:
            return LinkLost(text, reconnected=welcome is not None, same_session=same)

        if welcome is None:
            self._queue.end(reason)
        self._fail(reason)

    def _reconnect(self) -> Welcome:
        end_s = time.monotonic() + self._timing.reconnect_s
        while True:
            try:
                return self._connect(max(end_s - time.monotonic(), _RETRY_s))
            except TransportError:
                if time.monotonic() + _RETRY_s >= end_s or self._queue.ended:
                    raise
            time.sleep(_RETRY_s)

    def _fail(self, reason: Callable[[], HilError]) -> None:
        """Ends every request that is under way or waits."""
        under_way, self._unanswered, self._sending = list(self._unanswered.values()), {}, None
        waiting = [request for request in self._queue.take_all() if request.start()]
        for request in under_way + waiting:
            request.future.set_exception(reason())
