"""Both directions of the link at one end, without port, thread or clock: go-back-N with cumulative acknowledgement.

Frames are numbered modulo 256 and sent again until the other side has acknowledged them; what arrives is delivered
once and in order. Whoever drives a `SlidingWindow` hands it the time, the frames that arrive and the messages to send,
and writes what `output` returns.
"""

from __future__ import annotations

from eapu_drivers.controller.frames import Frame, encode, encoded_size
from eapu_drivers.controller.messages import Ack, Nak

_NUMBERS = 256
FRAMES_MAX = 64  # far below half the numbers, so that an old frame is never taken for a new one
_RESEND_MAX_s = 1.0


class RoundTrip:
    """Smoothed round-trip time and the time after which to send again, as RFC 6298 (doi:10.17487/RFC6298).

    The floor, on top of the smoothed time, covers a scheduler that is late on either side: a steady line has hardly any
    spread, and would send again for nothing.
    """

    def __init__(self, floor_s: float) -> None:
        self.smoothed_s = 0.0  # 0 until the first measurement
        self._spread_s = 0.0
        self._floor_s = floor_s
        self._waits = 1.0

    @property
    def resend_s(self) -> float:
        wanted_s = (self.smoothed_s + max(self._floor_s, 4.0 * self._spread_s)) * self._waits
        return min(wanted_s, max(_RESEND_MAX_s, self._floor_s))

    def measured(self, seconds: float) -> None:
        if self.smoothed_s:
            self._spread_s += 0.25 * (abs(self.smoothed_s - seconds) - self._spread_s)
            self.smoothed_s += 0.125 * (seconds - self.smoothed_s)
        else:
            self.smoothed_s, self._spread_s = seconds, 0.5 * seconds

    def timed_out(self) -> None:
        self._waits = min(2.0 * self._waits, 1024.0)

    def progressed(self) -> None:
        self._waits = 1.0


class _Sent:
    """One message in the window. `at_s`: when it first went out; None before that."""

    __slots__ = ("again", "at_s", "number", "payload", "seq", "size")

    def __init__(self, number: int, seq: int, payload: bytes) -> None:
        self.number, self.seq, self.payload = number, seq, payload
        self.size = encoded_size(len(payload))
        self.at_s: float | None = None
        self.again = False


class SlidingWindow:
    """At most `frames` messages of together at most `room_bytes` on the wire are unacknowledged at any time."""

    def __init__(self, frames: int, room_bytes: int, round_trip: RoundTrip) -> None:
        self.round_trip = round_trip
        self.resent = self.timeouts = self.naks_sent = self.naks_received = 0
        self.duplicates = self.gaps = 0
        self.acknowledged = 0  # messages so far
        self.frames = min(frames, FRAMES_MAX)
        self._room = room_bytes
        self._sent: list[_Sent] = []  # the unacknowledged, oldest first
        self._bytes = 0
        self._next = 0  # number of the next new message
        self._cursor = 0  # self._sent[cursor:] has to go out (again)
        self._due_s: float | None = None  # when the oldest counts as lost
        self._probe = False  # the oldest has to go out again, alone
        self._probed = False
        self._back_at = -1, 0.0  # the number we went back to last, and until when we do not do so again
        self._expected = 0  # number of the next message from the other side
        self._owed = False  # an acknowledgement
        self._nak = False
        self._lacking = False  # later messages came than the one expected: it was sent, and lost
        self._nak_again_s = 0.0  # no second NAK for the same loss before

    @property
    def in_flight(self) -> int:
        """Messages that wait for their acknowledgement."""
        return len(self._sent)

    @property
    def expected(self) -> int:
        """The acknowledgement that every frame carries."""
        return self._expected

    @property
    def due_s(self) -> float | None:
        """When `output` has to be asked at the latest."""
        if not self._lacking:
            return self._due_s
        return self._nak_again_s if self._due_s is None else min(self._due_s, self._nak_again_s)

    def fits(self, payload_bytes: int) -> bool:
        """Whether the window takes one more message."""
        return len(self._sent) < self.frames and self._bytes + encoded_size(payload_bytes) <= self._room

    def push(self, number: int, payload: bytes) -> None:
        """Takes a message over, to be sent until it is acknowledged; the caller has asked `fits`."""
        sent = _Sent(number, self._next, payload)
        self._next = (self._next + 1) % _NUMBERS
        self._bytes += sent.size
        self._sent.append(sent)

    def input(self, frame: Frame, sequenced: bool, now_s: float) -> bool:
        """Whether the message of this frame is to be delivered now; false for repetitions and what came too early."""
        known = self._acknowledge(frame.ack, now_s)
        if frame.number == Nak.NUMBER:
            self._go_back(now_s)
        elif frame.number == Ack.NUMBER and known:
            self._probed = False  # the other side has the probe already and is only slow to take it
        if not sequenced:
            return True
        ahead = (frame.seq - self._expected) % _NUMBERS
        if ahead == 0:
            self._expected = (self._expected + 1) % _NUMBERS
            self._owed, self._nak_again_s, self._lacking = True, 0.0, False
            return True
        if ahead < _NUMBERS // 2:
            self.gaps += 1
            self._lacking = True
            self.missing(now_s)
        else:
            self.duplicates += 1
            self._owed = True  # the other side has not seen our acknowledgement
        return False

    def missing(self, now_s: float) -> None:
        """A frame was damaged or left out: asks for it, once a loss as long as the answer may be on its way."""
        if now_s >= self._nak_again_s:
            self._nak = True
            self._nak_again_s = now_s + self.round_trip.resend_s

    def output(self, now_s: float) -> list[bytes]:
        """The frames to write now."""
        frames = []
        if self._lacking:
            self.missing(now_s)
        if self._nak:
            self.naks_sent += 1
            frames.append(encode(Nak.NUMBER, 0, self._expected, b""))
            self._nak = False
        if self._due_s is not None and now_s >= self._due_s:
            self.timeouts += 1
            self.round_trip.timed_out()
            # The oldest alone: if the other side was only slow, all of them again would overrun its memory.
            self._probe, self._probed = self._cursor > 0, True
            self._due_s = now_s + self.round_trip.resend_s
        outgoing = self._sent[self._cursor :]
        if self._probe:
            outgoing.insert(0, self._sent[0])
            self._probe = False
        for sent in outgoing:
            if sent.at_s is None:
                sent.at_s = now_s
            else:
                sent.again = True
                self.resent += 1
            frames.append(encode(sent.number, sent.seq, self._expected, sent.payload))
        if outgoing and self._due_s is None:
            self._due_s = now_s + self.round_trip.resend_s
        self._cursor = len(self._sent)
        if self._owed and not frames:
            frames.append(encode(Ack.NUMBER, 0, self._expected, b""))
        self._owed = False
        return frames

    def _acknowledge(self, ack: int, now_s: float) -> bool:
        """Takes an acknowledgement; whether it repeats the one before."""
        count = (ack - self._base) % _NUMBERS
        if not 0 < count <= len(self._sent) or self._sent[count - 1].at_s is None:
            return count == 0  # else older than what we know
        newest = self._sent[count - 1]
        # Of a repeated one nobody knows which copy was answered.
        if not newest.again and newest.at_s is not None:
            self.round_trip.measured(now_s - newest.at_s)
        self.round_trip.progressed()
        self.acknowledged += count
        self._bytes -= sum(sent.size for sent in self._sent[:count])
        del self._sent[:count]
        self._cursor = max(0, self._cursor - count)
        if self._probed and count == 1:
            self._cursor = 0  # the probe was what was missing; what followed it was thrown away there
        self._probed = self._probe = False
        self._due_s = now_s + self.round_trip.resend_s if self._cursor else None
        return False

    @property
    def _base(self) -> int:
        return (self._next - len(self._sent)) % _NUMBERS

    def _go_back(self, now_s: float) -> None:
        self.naks_received += 1
        if not self._sent:
            return
        oldest, (last, until_s) = self._sent[0].seq, self._back_at
        if oldest != last or now_s >= until_s:
            self._cursor, self._due_s = 0, None
            self._probe = self._probed = False
            self._back_at = oldest, now_s + (self.round_trip.smoothed_s or self.round_trip.resend_s)
