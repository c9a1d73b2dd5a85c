"""The counters of the link: look at them first when a cable, a hub or a board misbehaves."""

from __future__ import annotations

from dataclasses import dataclass, fields

WINDOW_COUNTS = ("resent", "timeouts", "naks_sent", "naks_received", "gaps", "duplicates")


@dataclass
class Tally:
    """The running counts. Those of WINDOW_COUNTS come from connections that ended; a window counts its own."""

    frames_sent: int = 0
    bytes_sent: int = 0
    frames_received: int = 0
    bytes_received: int = 0
    damaged: int = 0
    strays: int = 0
    reconnects: int = 0
    resent: int = 0
    timeouts: int = 0
    naks_sent: int = 0
    naks_received: int = 0
    gaps: int = 0
    duplicates: int = 0
    last_frame: tuple[str, float] | None = None  # its name, and when it came

    def heard(self, name: str, now_s: float) -> None:
        """A good frame came in."""
        self.last_frame = name, now_s


@dataclass(frozen=True)
class Counters:
    """A snapshot, since the link was opened; reconnecting does not reset it.

    resent: messages that were sent again; timeouts: how often because no acknowledgement came.
    damaged: pieces between two zeros that were no good frame. gaps: messages that came before their turn.
    duplicates: messages that had come before. strays: answers that nobody waits for.
    in_flight, window: messages that wait for their acknowledgement, and how many may.
    unanswered, waiting: requests that were sent, and that wait to be sent.
    round_trip_s, resend_s: smoothed, and after how long an unacknowledged message is sent again.
    last_frame, last_frame_age_s: name of the last good frame ("" before the first one), and how long ago it came.
    """

    frames_sent: int
    bytes_sent: int
    frames_received: int
    bytes_received: int
    resent: int
    timeouts: int
    naks_sent: int
    naks_received: int
    damaged: int
    gaps: int
    duplicates: int
    strays: int
    reconnects: int
    in_flight: int
    window: int
    unanswered: int
    waiting: int
    round_trip_s: float
    resend_s: float
    last_frame: str
    last_frame_age_s: float

    @property
    def last_good_frame(self) -> str:
        """For messages to people."""
        if not self.last_frame:
            return "no good frame so far"
        return f"last good frame {self.last_frame}, {self.last_frame_age_s:.2f} s ago"

    def __str__(self) -> str:
        """One line for the log, without what is zero."""
        parts = []
        for field in fields(self)[:-2]:
            value = getattr(self, field.name)
            if field.name.endswith("_s"):
                parts.append(f"{field.name.removesuffix('_s')} {1e3 * value:.2f} ms")
            elif value:
                parts.append(f"{field.name} {value}")
        return ", ".join([*parts, self.last_good_frame])
