"""One connection to a controller, from HELLO until the line is lost. Belongs to the thread of the link."""

from __future__ import annotations

import logging
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

from eapu_drivers.controller.counters import WINDOW_COUNTS, Tally
from eapu_drivers.controller.frames import Decoder, Frame, encode, encoded_size
from eapu_drivers.controller.messages import (
    BY_NUMBER,
    PAYLOAD_MAX,
    SCHEMA,
    VERSION,
    Hello,
    Status,
    StatusIs,
    Welcome,
)
from eapu_drivers.controller.ports import Port
from eapu_drivers.controller.sliding_window import RoundTrip, SlidingWindow
from eapu_hil.base.provenance import git_commit
from eapu_hil.hal import ProtocolError, TransportError

BUS = logging.getLogger("eapu_drivers.controller.bus")  # every message both ways, at DEBUG

_HELLO_AGAIN_s = 0.2
_WELCOME_HEAD = struct.Struct("<BII")  # version, schema, link: the same in every version
_GIT_HASH = slice(13, 25)
_BACKLOG_MAX = 65_536  # bytes that the line does not take before it counts as stuck
KEEPALIVE_ID = 0


@dataclass(frozen=True)
class LinkTiming:
    """How patient the link is, in s.

    resend_floor_s: no message is sent again earlier, unless the controller says that it lacks it. silence_s: without a
    sign for so long that anything of what we send arrives there, the line counts as lost. reconnect_s: how long to try
    then. hello_s: how long to wait for the first answer. dead_man_s: without any good frame for so long, the controller
    grounds its lines. answer_s: how long an answer may take on top of the work that was asked. open_s: how long the
    port may take to open.
    """

    resend_floor_s: float = 0.025
    silence_s: float = 1.5
    reconnect_s: float = 1.0
    hello_s: float = 2.0
    dead_man_s: float = 1.0
    answer_s: float = 10.0
    open_s: float = 10.0

    @property
    def keepalive_s(self) -> float:
        """How often the controller is asked for its status, whatever else is sent."""
        return self.dead_man_s / 4.0


class Session:
    """Frames in and out over one open port. The methods raise TransportError when the line is lost."""

    def __init__(self, port: Port, timing: LinkTiming, tally: Tally) -> None:
        self.port = port
        self.window = SlidingWindow(1, PAYLOAD_MAX, RoundTrip(timing.resend_floor_s))
        self._timing = timing
        self._tally = tally
        self._decoder = Decoder()
        self._backlog = b""  # what the line did not take yet
        self._asked_s: float | None = (
            None  # when we first sent something since the last sign that it arrives there
        )
        self._heard_s = 0.0  # the last good frame
        self._status_s = 0.0  # when the last STATUS was sent
        self._looked_s: float | None = None  # when `receive` ended last
        self.paused = False  # this process was stopped during the last `receive`

    def hello(self, link_id: int, limit_s: float, stopped: Callable[[], bool]) -> Welcome:
        """Introduces the two sides to each other; HELLO is repeated until it is answered.

        Raises ProtocolError when the other side speaks another version of the protocol.
        """
        timing = self._timing
        resend_ms = min(round(2e3 * timing.resend_floor_s), 0xFFFF)
        hello = Hello(VERSION, SCHEMA, link_id, resend_ms, round(1e3 * timing.dead_man_s))
        # The zero ends what the other side may hold of a frame.
        request = b"\0" + encode(Hello.NUMBER, 0, 0, hello.pack())
        start_s = again_s = time.monotonic()
        tries = 0
        while (now_s := time.monotonic()) < start_s + limit_s and not stopped():
            if now_s >= again_s and not self._backlog:
                self._write([request], now_s)
                again_s, tries = now_s + _HELLO_AGAIN_s, tries + 1
            for frame in self._read(min(again_s, start_s + limit_s) - now_s):
                welcome = _welcome(self.port.name, link_id, frame)
                if welcome is not None:
                    # of a repeated HELLO nobody knows which one was answered
                    self._open(welcome, time.monotonic() - start_s if tries == 1 else None)
                    return welcome
        damaged = self._decoder.damaged
        heard = f"{damaged} damaged frames came" if damaged else "nothing came that was a frame"
        raise TransportError(
            f"{self.port.name}: no controller answers HELLO within {limit_s:.2g} s ({heard}); "
            "check the name of the port, the cable and the power"
        )

    def receive(self, timeout_s: float) -> list[Frame]:
        """The messages to handle now that arrive within `timeout_s`: once each, and in order."""
        before, acknowledged = self._decoder.damaged, self.window.acknowledged
        frames = self._read(timeout_s)
        now_s = time.monotonic()
        self.paused = (
            self._looked_s is not None and now_s - self._looked_s > timeout_s + self._timing.silence_s / 2.0
        )
        if self.paused and self._asked_s is not None:
            self._asked_s = now_s  # we were stopped, not the other side
        self._looked_s = now_s
        fresh = []
        for frame in frames:
            kind = BY_NUMBER.get(frame.number)
            if kind is not None:
                fresh += self.window.input(frame, kind.SEQUENCED, now_s)
            if kind is StatusIs:
                self._asked_s = None
        if self.window.acknowledged > acknowledged:
            self._asked_s = None
        if self._decoder.damaged > before:
            self.window.missing(now_s)
        self._require_an_ear(now_s)
        return fresh

    def _require_an_ear(self, now_s: float) -> None:
        """Frames that come do not prove that ours arrive: only an acknowledgement or a STATUS_IS does."""
        silence_s = self._timing.silence_s
        if self._asked_s is None or now_s - self._asked_s <= silence_s:
            return
        if self._heard_s > self._asked_s:
            raise TransportError(
                f"{self.port.name}: nothing that was sent for {silence_s:g} s has arrived there, although frames come "
                "from there: the sending direction of the line is dead"
            )
        raise TransportError(f"{self.port.name}: no answer for {silence_s:g} s")

    def transmit(self, urgent: list[tuple[int, bytes]]) -> None:
        """Sends what is due: urgent messages, then those of the window, and STATUS every `keepalive_s`."""
        now_s = time.monotonic()
        ack = self.window.expected
        frames = [encode(number, 0, ack, payload) for number, payload in urgent]
        if self._backlog and not frames:
            self._write([], now_s)
        if not self._backlog:
            frames += self.window.output(now_s)
            if now_s >= self._status_s + self._timing.keepalive_s:
                self._status_s = now_s
                frames.append(encode(Status.NUMBER, 0, ack, Status(KEEPALIVE_ID).pack()))
        if frames:
            self._write(frames, now_s)

    def patience_s(self) -> float:
        """For how long nothing has to be done if nothing arrives."""
        now_s = time.monotonic()
        end_s = self._status_s + self._timing.keepalive_s
        if self._backlog:  # `receive` ends as soon as the line takes more, or else the silence tells
            return self._timing.keepalive_s
        if self.window.due_s is not None:
            end_s = min(end_s, self.window.due_s)
        return max(end_s - now_s, 0.0)

    def _open(self, welcome: Welcome, round_trip_s: float | None) -> None:
        round_trip = RoundTrip(self._timing.resend_floor_s)
        if round_trip_s is not None:
            round_trip.measured(round_trip_s)
        self._asked_s = None
        self._status_s = time.monotonic()
        self.window = SlidingWindow(welcome.window, welcome.rx_bytes - encoded_size(PAYLOAD_MAX), round_trip)

    def _read(self, timeout_s: float) -> list[Frame]:
        data = self.port.read(timeout_s, sending=bool(self._backlog))
        if not data:
            return []
        before = self._decoder.damaged
        frames = self._decoder.feed(data)
        self._tally.bytes_received += len(data)
        self._tally.frames_received += len(frames)
        self._tally.damaged += self._decoder.damaged - before
        if frames:
            self._log("->", frames)
            self._heard_s = time.monotonic()
            self._tally.heard(name_of(frames[-1].number), self._heard_s)
        return frames

    def _log(self, way: str, frames: list[Frame]) -> None:
        if BUS.isEnabledFor(logging.DEBUG):
            for one in frames:
                payload = one.payload.hex(" ")
                BUS.debug("%s %s %s %d %s", self.port.name, way, name_of(one.number), one.seq, payload)

    def _write(self, frames: list[bytes], now_s: float) -> None:
        if BUS.isEnabledFor(logging.DEBUG):
            self._log("<-", Decoder().feed(b"".join(frames)))
        data = b"".join((self._backlog, *frames))
        taken = self.port.write(data)
        self._backlog = data[taken:]
        self._tally.frames_sent += len(frames)
        self._tally.bytes_sent += taken
        if self._asked_s is None:
            self._asked_s = now_s
        if len(self._backlog) > _BACKLOG_MAX:
            raise TransportError(f"{self.port.name}: the other side takes no bytes any more")

    def end(self) -> None:
        """Closes the port; the counts of this connection go to the tally."""
        self.port.close()
        for name in WINDOW_COUNTS:
            setattr(self._tally, name, getattr(self._tally, name) + getattr(self.window, name))


def name_of(number: int) -> str:
    """A message's name."""
    kind = BY_NUMBER.get(number)
    return f"of type 0x{number:02X}" if kind is None else kind.__name__


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
        f"{port}: the firmware (git {theirs}) speaks protocol {version}, schema {schema:08x}, "
        f"this program (git {ours}) protocol {VERSION}, schema {SCHEMA:08x}: flash the firmware of this release"
    )
