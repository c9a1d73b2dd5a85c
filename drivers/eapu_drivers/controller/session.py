"""One connection to a controller, from HELLO until the line is lost. Belongs to the thread of the link."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

from eapu_drivers.controller.frames import Decoder, Frame, encode, encoded_size
from eapu_drivers.controller.messages import BY_NUMBER, PAYLOAD_MAX, SCHEMA, VERSION, Hello, Status, Welcome
from eapu_drivers.controller.ports import Port
from eapu_drivers.controller.window import RoundTrip, Window
from eapu_hil.hal import ProtocolError, TransportError
from eapu_hil.provenance import git_commit

_HELLO_AGAIN_S = 0.2
_WELCOME_HEAD = struct.Struct("<BII")  # version, schema, link: the same in every version
_GIT_HASH = slice(13, 25)
_BACKLOG_MAX = 65_536  # bytes that the line does not take before it counts as stuck
KEEPALIVE_ID = 0


@dataclass(frozen=True)
class Timing:
    """How patient the link is, in s.

    resend_floor_s: no message is sent again earlier. silence_s: without any good frame for so long, although
    something was asked, the line counts as lost. reconnect_s: how long to try then. hello_s: how long to wait for the
    first answer. dead_man_s: without any good frame for so long, the controller grounds its lines.
    """

    resend_floor_s: float = 0.025
    silence_s: float = 1.5
    reconnect_s: float = 1.0
    hello_s: float = 2.0
    dead_man_s: float = 1.0


@dataclass
class Tally:
    """What was counted since the link was opened, over all its connections."""

    frames_sent: int = 0
    bytes_sent: int = 0
    frames_received: int = 0
    bytes_received: int = 0
    damaged: int = 0
    strays: int = 0
    reconnects: int = 0
    last_frame: str = ""
    last_frame_s: float = 0.0
    resent: int = 0  # these six: of the connections that ended; the window counts those of the present one
    timeouts: int = 0
    naks_sent: int = 0
    naks_received: int = 0
    gaps: int = 0
    duplicates: int = 0

    def take_over(self, window: Window) -> None:
        """Adds what the window of a connection that ended has counted."""
        for name in WINDOW_COUNTS:
            setattr(self, name, getattr(self, name) + getattr(window, name))


WINDOW_COUNTS = ("resent", "timeouts", "naks_sent", "naks_received", "gaps", "duplicates")


class Session:
    """Frames in and out over one open port. All methods raise TransportError when the line is lost."""

    def __init__(self, port: Port, timing: Timing, tally: Tally) -> None:
        self.port = port
        self.tally = tally
        self._timing = timing
        self._decoder = Decoder()
        self._backlog = b""  # what the line did not take yet
        self._asked_s: float | None = None  # when we first sent something since the last good frame
        self._sent_s = 0.0
        self.window = Window(1, PAYLOAD_MAX, RoundTrip(timing.resend_floor_s))

    def hello(self, link_id: int, limit_s: float, stopped: Callable[[], bool]) -> Welcome:
        """Introduces the two sides to each other; HELLO is repeated until it is answered.

        Raises ProtocolError when the other side speaks another version of the protocol.
        """
        timing = self._timing
        resend_ms = min(round(2e3 * timing.resend_floor_s), 0xFFFF)
        hello = Hello(VERSION, SCHEMA, link_id, resend_ms, round(1e3 * timing.dead_man_s))
        # the zero ends whatever half a frame the other side may hold
        request = b"\0" + encode(Hello.NUMBER, 0, 0, hello.pack())
        start_s = time.monotonic()
        tries = 0
        while (now_s := time.monotonic()) < start_s + limit_s and not stopped():
            if now_s >= start_s + tries * _HELLO_AGAIN_S:
                if not self._backlog:
                    self._write([request], now_s)
                tries += 1
            for frame in self.receive(min(_HELLO_AGAIN_S, start_s + limit_s - now_s)):
                welcome = _welcome(self.port.name, link_id, frame)
                if welcome is not None:
                    round_trip = RoundTrip(timing.resend_floor_s)
                    if tries == 1:
                        round_trip.measured(time.monotonic() - now_s)
                    room = welcome.rx_bytes - encoded_size(PAYLOAD_MAX)
                    self.window = Window(welcome.window, room, round_trip)
                    return welcome
        heard = f"{self._decoder.damaged} damaged frames" if self._decoder.damaged else "nothing that was a frame"
        raise TransportError(
            f"{self.port.name}: no controller answered HELLO within {limit_s:g} s ({heard} came back); check the name of "
            "the port, cable and power"
        )

    def receive(self, timeout_s: float) -> list[Frame]:
        """The good frames that arrive within `timeout_s`; [] also when something woke us."""
        data = self.port.read(timeout_s, sending=bool(self._backlog))
        if not data:
            return []
        now_s = time.monotonic()
        before = self._decoder.damaged
        frames = self._decoder.feed(data)
        self.tally.bytes_received += len(data)
        self.tally.frames_received += len(frames)
        self.tally.damaged += self._decoder.damaged - before
        if frames:
            self._asked_s = None
            self.tally.last_frame, self.tally.last_frame_s = name_of(frames[-1].number), now_s
        return frames

    def deliver(self, frames: list[Frame], damaged_before: int) -> list[Frame]:
        """Those of `frames` that are to be handled now, in order; the rest came too early or again."""
        now_s = time.monotonic()
        fresh = []
        for frame in frames:
            kind = BY_NUMBER.get(frame.number)
            if kind is not None and self.window.input(frame, kind.SEQUENCED, now_s):
                fresh.append(frame)
        if self._decoder.damaged > damaged_before:
            self.window.missing(now_s)
        return fresh

    @property
    def damaged(self) -> int:
        return self._decoder.damaged

    def transmit(self, urgent: list[tuple[int, bytes]]) -> None:
        """Sends what is due: urgent messages first, then those of the window, else STATUS when it was quiet long."""
        now_s = time.monotonic()
        if self._backlog:
            self._write([], now_s)
            if self._backlog and not urgent:
                return
        ack = self.window.expected
        frames = [encode(number, 0, ack, payload) for number, payload in urgent]
        if not self._backlog:
            frames += self.window.output(now_s)
        if not frames and now_s >= self._sent_s + self.keepalive_s:
            frames.append(encode(Status.NUMBER, 0, ack, Status(KEEPALIVE_ID).pack()))
        if frames:
            self._write(frames, now_s)
            if len(self._backlog) > _BACKLOG_MAX:
                raise TransportError(f"{self.port.name}: the other side takes no bytes any more")

    @property
    def keepalive_s(self) -> float:
        return self._timing.dead_man_s / 4.0

    def patience_s(self, now_s: float) -> float:
        """How long nothing has to be done if nothing arrives."""
        end_s = self._sent_s + self.keepalive_s
        if self.window.due_s is not None:
            end_s = min(end_s, self.window.due_s)
        return max(end_s - now_s, 0.0)

    def check_silence(self, now_s: float) -> None:
        """To be asked when the line had nothing to read."""
        if self._asked_s is not None and now_s - self._asked_s > self._timing.silence_s:
            raise TransportError(f"{self.port.name}: no answer for {self._timing.silence_s:g} s")

    def _write(self, frames: list[bytes], now_s: float) -> None:
        data = self._backlog + b"".join(frames)
        taken = self.port.write(data)
        self._backlog = data[taken:]
        self.tally.frames_sent += len(frames)
        self.tally.bytes_sent += taken
        self._sent_s = now_s
        if self._asked_s is None:
            self._asked_s = now_s


def name_of(number: int) -> str:
    """A message's name as in the message table."""
    kind = BY_NUMBER.get(number)
    return f"type 0x{number:02X}" if kind is None else kind.__name__


def _welcome(port: str, link_id: int, frame: Frame) -> Welcome | None:
    """The WELCOME that answers this HELLO; None for anything else, as may still be on its way from before."""
    if frame.number != Welcome.NUMBER or len(frame.payload) < _WELCOME_HEAD.size:
        return None
    version, schema, link = _WELCOME_HEAD.unpack_from(frame.payload)
    if link != link_id:
        return None
    if (version, schema) == (VERSION, SCHEMA):
        return Welcome.unpack(frame.payload)
    theirs = frame.payload[_GIT_HASH].rstrip(b"\0").decode("ascii", "replace") or "unknown"
    ours = str(git_commit()["commit"] or "unknown")[:12]
    raise ProtocolError(
        f"{port}: the firmware (git {theirs}) speaks protocol {version}, schema {schema:08x}; this program (git {ours}) "
        f"speaks protocol {VERSION}, schema {SCHEMA:08x}: flash the firmware of this release"
    )
