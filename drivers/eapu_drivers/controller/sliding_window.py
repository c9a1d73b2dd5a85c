"""Both directions of the link at one end, without port, thread or clock: selective repeat, as the firmware's link.c.

Frames are numbered modulo 256 and sent again until the other side has acknowledged them; what arrives is delivered
once and in order. A frame that comes before its turn is kept, and the other side is told which ones are missing, so
that a loss costs one frame and not all that followed it. Whoever drives a `SlidingWindow` hands it the time, the frames
that arrive and the messages to send, and writes what `output` returns.
"""

from __future__ import annotations

from eapu_drivers.controller.frames import Frame, encode, encoded_size
from eapu_drivers.controller.messages import Ack, Nak

_NUMBERS = 256
FRAMES_MAX = 64  # far below half the numbers, so that an old frame is never taken for a new one
_HELD_MAX = 16  # frames before their turn: bits of a NAK
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

    @property
    def mend_s(self) -> float:
        """After which a loss that one side has told the other of is told, or mended, again.

        Without the floor: the frame is known to be lost, and one of its repairs too many costs little.
        """
        if not self.smoothed_s:
            return self.resend_s
        return min(2.0 * self.smoothed_s + 4.0 * self._spread_s, self.resend_s)

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
    """One message in the window. `at_s`: when it went out last; None before that. `due`: it has to, (again)."""

    __slots__ = ("again", "at_s", "due", "number", "payload", "seq", "size")

    def __init__(self, number: int, seq: int, payload: bytes) -> None:
        self.number, self.seq, self.payload = number, seq, payload
        self.size = encoded_size(len(payload))
        self.at_s: float | None = None
        self.again = False
        self.due = True


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
        self._due_s: float | None = None  # when the oldest counts as lost
        self._probed = False  # the oldest went out again, alone, because of that
        self._mended = False  # it went out again because the other side lacked it
        self._expected = 0  # number of the next message from the other side
        self._held: dict[int, Frame] = {}  # came before their turn, by number
        self._owed = False  # an acknowledgement
        self._nak = False
        self._lacking = False  # later messages came than the one expected: it was sent, and lost
        self._nak_again_s = 0.0  # no second NAK for the same loss before
        self._nak_wait_s = 0.0  # how long that is

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

    def input(self, frame: Frame, sequenced: bool, now_s: float) -> list[Frame]:
        """The frames whose messages are to be delivered now, in order.

        None for repetitions and for what came before its turn; with the frame that was missing, those that followed it.
        """
        known = self._acknowledge(frame.ack, now_s)
        if frame.number == Nak.NUMBER and len(frame.payload) == Nak.STRUCT.size:
            self._mend(Nak.unpack(frame.payload), now_s)
        elif frame.number == Ack.NUMBER and known:
            self._probed = False  # the other side has the probe already and is only slow to take it
        if not sequenced:
            return [frame]
        ahead = (frame.seq - self._expected) % _NUMBERS
        if ahead == 0:
            return self._take(frame)
        if ahead < _NUMBERS // 2:
            self._hold(frame, ahead, now_s)
        else:
            self.duplicates += 1
            self._owed = True  # the other side has not seen our acknowledgement
        return []

    def _take(self, frame: Frame) -> list[Frame]:
        ready: list[Frame] = []
        following: Frame | None = frame
        while following is not None:
            ready.append(following)
            self._expected = (self._expected + 1) % _NUMBERS
            following = self._held.pop(self._expected, None)
        self._owed = True
        self._lacking = bool(self._held)
        if not self._lacking:  # else what is still missing was asked for
            self._nak_again_s, self._nak_wait_s = 0.0, 0.0
        return ready

    def _hold(self, frame: Frame, ahead: int, now_s: float) -> None:
        """Keeps a frame that came before its turn: those before it were sent, and lost."""
        self.gaps += 1
        self._lacking = True
        if ahead > 1 and not self._held_bits() >> (ahead - 2):  # more is missing than was asked for
            self._nak_again_s, self._nak_wait_s = 0.0, 0.0
        if ahead <= _HELD_MAX:
            self._held[frame.seq] = frame
        self.missing(now_s)

    def _held_bits(self) -> int:
        return sum(1 << (seq - self._expected - 1) % _NUMBERS for seq in self._held)

    def missing(self, now_s: float) -> None:
        """A frame was damaged or left out: asks for it, once a loss as long as the answer may be on its way."""
        if now_s >= self._nak_again_s:
            trip = self.round_trip
            self._nak = True
            self._nak_wait_s = min(max(2.0 * self._nak_wait_s, trip.mend_s), trip.resend_s)
            self._nak_again_s = now_s + self._nak_wait_s

    def output(self, now_s: float) -> list[bytes]:
        """The frames to write now."""
        frames = []
        if self._lacking:
            self.missing(now_s)
        if self._nak:
            self.naks_sent += 1
            nak = Nak(self._expected, self._held_bits())
            frames.append(encode(Nak.NUMBER, 0, self._expected, nak.pack()))
            self._nak = False
        if self._due_s is not None and now_s >= self._due_s:
            if not self._mended:
                self.timeouts += 1
                self.round_trip.timed_out()
                self._probed = True
            self._mended = False
            # The oldest alone: if the other side was only slow, all of them again would overrun its memory.
            self._sent[0].due = True
            self._due_s = now_s + self.round_trip.resend_s
        for sent in self._sent:
            if sent.due:
                if sent.at_s is not None:
                    sent.again = True
                    self.resent += 1
                sent.due, sent.at_s = False, now_s
                frames.append(encode(sent.number, sent.seq, self._expected, sent.payload))
        if self._sent and self._due_s is None:
            self._due_s = now_s + self.round_trip.resend_s
        if self._owed and not frames:
            frames.append(encode(Ack.NUMBER, 0, self._expected, b""))
        self._owed = False
        return frames

    def _acknowledge(self, ack: int, now_s: float) -> bool:
        """Takes an acknowledgement; whether it repeats the one before."""
        count = (ack - self._base) % _NUMBERS
        if not 0 < count <= len(self._sent) or self._sent[count - 1].at_s is None:
            return count == 0  # else older than what we know
        done, self._sent = self._sent[:count], self._sent[count:]
        # Of a repeated one nobody knows which copy was answered; the others have waited for it.
        if not any(sent.again for sent in done) and done[-1].at_s is not None:
            self.round_trip.measured(now_s - done[-1].at_s)
        self.round_trip.progressed()
        self.acknowledged += count
        self._bytes -= sum(sent.size for sent in done)
        if self._probed and count == 1:  # the probe was missing, and nothing that followed it has come either
            for sent in self._sent:
                sent.due = True
        self._probed = self._mended = False
        under_way = bool(self._sent) and self._sent[0].at_s is not None
        self._due_s = now_s + self.round_trip.resend_s if under_way else None
        return False

    @property
    def _base(self) -> int:
        return (self._next - len(self._sent)) % _NUMBERS

    def _mend(self, nak: Nak, now_s: float) -> None:
        """What the other side lacks goes out again, but not while it may be on its way."""
        self.naks_received += 1
        first = (nak.missing - self._base) % _NUMBERS
        here = nak.held << 1  # bit 0: the missing one
        under_way_s = self.round_trip.smoothed_s or self.round_trip.resend_s
        for number, sent in enumerate(self._sent[first : first + max(here.bit_length(), 1)]):
            if here >> number & 1 or sent.at_s is None or (sent.again and now_s < sent.at_s + under_way_s):
                continue
            sent.due = True
            if first + number == 0:
                self._mended, self._probed = True, False
                self._due_s = now_s + self.round_trip.mend_s
