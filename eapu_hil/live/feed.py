"""One run as somebody watches it: read twice a second, in pieces, and kept in bounded memory.

`refresh` runs in the one thread that reads files; the event loop only takes finished bytes out of `topics`. A topic
holds its newest message only, so whoever reads slowly misses some and holds nothing up.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from eapu_hil.live.outcome import Outcome
from eapu_hil.live.overview import Overviews
from eapu_hil.live.places import Entry, UnknownError
from eapu_hil.training.run_state import Standing


@dataclass(frozen=True)
class Topic:
    """The newest message of one kind. version: changes with it. message: an event of the stream, complete."""

    version: int
    message: bytes


@dataclass(frozen=True)
class CurvePart:
    """The curves as they stand: how many points. news: a message with those from number `before` on."""

    generation: int
    points: int
    before: int
    news: bytes


NO_CURVES = CurvePart(-1, 0, 0, b"")


def message(event: str, content: Mapping[str, Any]) -> bytes:
    """One event of the stream."""
    text = json.dumps(finite(content), separators=(",", ":"), allow_nan=False)
    return f"event: {event}\ndata: {text}\n\n".encode()


def finite(value: Any) -> Any:
    """`value` with None for numbers that are not finite, which JSON does not have."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Feed(ABC):
    """See the head of this file. topics, curves: what the event loop may look at.

    unread: whether the last `refresh` has left something for the next one. unattended: see `Stop.follow`.
    """

    def __init__(self, entry: Entry, overviews: Overviews) -> None:
        self.entry = entry
        self.topics: dict[str, Topic] = {}
        self.curves = NO_CURVES
        self.stop: Outcome | None = None
        self.unread = True
        self.overviews = overviews
        self._content: dict[str, Mapping[str, Any]] = {}  # of each topic, as it was put last

    @abstractmethod
    def refresh(self) -> None:
        """Reads what is new, for a quarter of a second at most."""

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """What does not change while it goes on."""

    @property
    def is_paused(self) -> bool:
        """By its own account."""
        return False

    @property
    def unattended(self) -> Mapping[str, Any] | None:
        return None

    def all_curves(self) -> tuple[CurvePart, bytes]:
        """How far the curves are, and the message with all points, to replace what was there. In that thread."""
        return self.curves, message("metrics", {"columns": {}, "replace": True})

    def all_events(self) -> Topic:
        """All events that are kept, to replace what was there. In that thread."""
        return Topic(0, message("events", {"items": [], "replace": True}))

    def map(self, array: int, quantity: str) -> bytes:
        """Little-endian float32, row by row. In the thread that refreshes. Raises UnknownError."""
        raise UnknownError(f"there is no map {quantity!r} of array {array} here")

    def picture(self, name: str) -> bytes:
        """A PNG that a message named. In the thread that refreshes. Raises UnknownError."""
        raise UnknownError(f"there is no picture {name!r} here")

    def standing(self) -> Standing:
        """Who works on it, and how it stands. Reads a few small files."""
        return self.overviews.standing(self.entry, self.stop, paused=self.is_paused)

    def say_stop(self, outcome: Outcome) -> None:
        """From the event loop: what a stop has come to."""
        self.stop = outcome
        self.put("stop", "stop", asdict(outcome))

    def put(self, name: str, event: str, content: Mapping[str, Any]) -> None:
        """Makes `content` the newest message of this name, if it is not that already."""
        if self._content.get(name) != content:
            self._content[name] = content
            before = self.topics.get(name)
            self.topics[name] = Topic(1 if before is None else before.version + 1, message(event, content))
