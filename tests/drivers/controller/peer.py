"""A controller in Python on the far end of a socket pair: enough of the protocol to test the link without firmware.

Writes are "executed" in order and once each, and counted; products give back their codes, the first of each vector for
every measured line.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field, replace

import numpy as np
from eapu_drivers.controller import messages
from eapu_drivers.controller.frames import Decoder, Frame, encode
from eapu_drivers.controller.message import Exchange
from eapu_drivers.controller.messages import BY_NUMBER, StatusIs, Welcome
from eapu_drivers.controller.ports import SocketPort
from eapu_drivers.controller.sliding_window import RoundTrip, SlidingWindow

WELCOME = Welcome(
    version=messages.VERSION,
    schema=messages.SCHEMA,
    link=0,
    session=0x1234,
    git_hash="feedc0de0123",
    board="peer",
    serial="P1",
    reset_cause=1,
    state=1,
    arrays=1,
    rows=16,
    cols=8,
    window=16,
    rx_bytes=4096,
    tick_hz=1_000_000,
    last_op=0,
    simulated_time=0,
    read_full_scale_uv=500_000,
    read_top=2047,
    pulse_full_scale_uv=4_000_000,
    pulse_top=4095,
    gate_full_scale_uv=5_000_000,
    gate_top=4095,
    adc_top=2047,
    read_range=0,
    ranges=1,
    range_full_scale_a=(1e-4,) + (0.0,) * 7,
)
STATUS = StatusIs(
    **dict.fromkeys(("id", "state", "fault", "grounded", "queued", "time_ns", "last_op"), 0),
    **dict.fromkeys(("rx_frames", "rx_damaged", "rx_gaps", "tx_frames", "tx_resent", "refused"), 0),
)


@dataclass
class Behaviour:
    """What a test changes while the peer runs.

    deaf: nothing is heard. mute: heard, but nothing is answered. swallow: requests are taken and never answered.
    state, queued: what it says of itself. work_s: how long a write takes. hellos_ignored: so many come before the
    first answer. welcome: what it is. refuse: why products are refused, or 0.
    """

    deaf: bool = False
    mute: bool = False
    swallow: bool = False
    work_s: float = 0.0
    hellos_ignored: int = 0
    welcome: Welcome = WELCOME
    refuse: int = 0
    state: int = 0
    queued: int = 0


@dataclass
class Peer:
    """The controller, whatever line it is spoken to on."""

    behaviour: Behaviour = field(default_factory=Behaviour)
    executed: Counter[int] = field(default_factory=Counter)  # how often each operation was
    heard: Counter[str] = field(default_factory=Counter)  # names of the frames that came in

    def open_line(self) -> socket.socket:
        """A new line to this controller."""
        host, self._line = socket.socketpair()
        threading.Thread(target=self._serve, args=(self._line,), daemon=True).start()
        return host

    def open_port(self) -> SocketPort:
        """The same as a port."""
        return SocketPort(self.open_line(), "peer")

    def hang_up(self) -> None:
        """Closes the line, as a pulled plug does."""
        self._line.shutdown(socket.SHUT_RDWR)

    def _serve(self, line: socket.socket) -> None:
        with line:
            _Connection(self, line).run()


class _Connection:
    def __init__(self, peer: Peer, line: socket.socket) -> None:
        self._peer = peer
        self._behaviour = peer.behaviour
        self._line = line
        self._decoder = Decoder()
        self._link: int | None = None
        self._window = SlidingWindow(16, 4000, RoundTrip(0.05))
        self._requests: deque[Frame] = deque()
        self._answers: deque[Exchange] = deque()
        self._products: dict[int, tuple[int, int]] = {}  # lines in, codes still to come

    def run(self) -> None:
        while True:
            self._line.settimeout(0.001 if self._requests or self._window.in_flight else 0.05)
            try:
                data = self._line.recv(65_536)
            except TimeoutError:
                data = None
            except OSError:
                return
            if data == b"":
                return
            if not self._behaviour.deaf:
                self._hear(data or b"")
                self._work()
                self._speak()

    def _hear(self, data: bytes) -> None:
        before, now_s = self._decoder.damaged, time.monotonic()
        for frame in self._decoder.feed(data):
            kind = BY_NUMBER[frame.number]
            self._peer.heard[kind.__name__] += 1
            if kind is messages.Hello:
                self._hello(messages.Hello.unpack(frame.payload))
            elif self._link is not None:
                for fresh in self._window.input(frame, kind.SEQUENCED, now_s):
                    self._take(BY_NUMBER[fresh.number], fresh)
        if self._decoder.damaged > before and self._link is not None:
            self._window.missing(now_s)

    def _hello(self, hello: messages.Hello) -> None:
        behaviour = self._behaviour
        if behaviour.hellos_ignored:
            behaviour.hellos_ignored -= 1
            return
        if hello.link != self._link:
            self._link = hello.link
            self._window = SlidingWindow(16, 4000, RoundTrip(1e-3 * hello.resend_ms))
            self._requests.clear()
        welcome = replace(behaviour.welcome, link=hello.link, last_op=max(self._peer.executed, default=0))
        self._send([encode(Welcome.NUMBER, 0, 0, welcome.pack())])

    def _take(self, kind: type[messages.Message], frame: Frame) -> None:
        if kind.SEQUENCED:
            self._requests.append(frame)
        elif issubclass(kind, Exchange):  # STATUS and the like: answered at once
            state, queued = self._behaviour.state, self._behaviour.queued
            answer = replace(STATUS, id=kind.unpack(frame.payload).id, state=state, queued=queued)
            self._send([encode(StatusIs.NUMBER, 0, self._window.expected, answer.pack())])

    def _work(self) -> None:
        if self._behaviour.swallow:
            self._requests.clear()
        while self._requests:
            frame = self._requests.popleft()
            request = BY_NUMBER[frame.number].unpack(frame.payload)
            if isinstance(request, messages.Write):
                self._write(request)
            elif isinstance(request, messages.Product):
                self._product(request)
            elif isinstance(request, messages.ProductData):
                self._product_data(request)
            else:
                self._answers.append(messages.Done(request.id, 0))

    def _write(self, request: messages.Write) -> None:
        time.sleep(self._behaviour.work_s)
        written = np.zeros(len(request.tail), messages.Written.TAIL)
        for cell in range(len(request.tail)):
            self._peer.executed[request.id + cell] += 1
        written["g_after_S"] = request.tail["g_target_S"]
        written["pulses"] = 1
        self._answers.append(messages.Written(request.id, written))

    def _product(self, request: messages.Product) -> None:
        if self._behaviour.refuse:
            self._answers.append(messages.Refused(request.id, self._behaviour.refuse, 3, 0.6, 0.5))
            return
        bits = np.unpackbits(request.tail)
        border = 8 * ((WELCOME.rows + 7) // 8)
        self._products[request.id] = int(bits[:border].sum()), int(bits[border:].sum())
        self._held = np.zeros(0, np.int16)

    def _product_data(self, data: messages.ProductData) -> None:
        if data.id not in self._products:
            return  # left over from one that was refused
        lines_in, lines_out = self._products[data.id]
        self._held = np.concatenate([self._held, data.tail])
        whole = len(self._held) // lines_in
        vectors, self._held = (
            self._held[: whole * lines_in].reshape(whole, lines_in),
            self._held[whole * lines_in :],
        )
        codes = np.repeat(vectors[:, :1], lines_out, axis=1).ravel()
        for start in range(0, codes.size, messages.CODES_MAX):
            self._answers.append(messages.ProductIs(data.id, codes[start : start + messages.CODES_MAX]))

    def _speak(self) -> None:
        while self._answers:
            payload = self._answers[0].pack()
            if not self._window.fits(len(payload)):
                break
            self._window.push(self._answers.popleft().NUMBER, payload)
        if self._link is not None:
            self._send(self._window.output(time.monotonic()))

    def _send(self, frames: list[bytes]) -> None:
        if frames and not self._behaviour.mute:
            try:
                self._line.settimeout(5.0)
                self._line.sendall(b"".join(frames))
            except OSError:
                return  # the next read says so too
