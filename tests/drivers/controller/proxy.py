"""A bad or slow line: passes bytes between a host and a controller, frame by frame, and spoils a share of the frames.

It knows nothing of the protocol but that a zero ends a frame. All chance comes from the seed; when a frame passes
comes from the clock.
"""

from __future__ import annotations

import heapq
import selectors
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from eapu_drivers.controller.frames import Decoder

HARMS = ("corrupt", "lose bytes", "drop", "duplicate", "delay", "reorder")
DELAY_s = 0.01
_BITS_PER_BYTE = 10  # with start and stop bit


@dataclass
class Traffic:
    """What went into the line in one direction. by_type: bytes on the wire of the frames of each type."""

    frames: int = 0
    bytes: int = 0
    hit: Counter[str] = field(default_factory=Counter)
    by_type: Counter[int] = field(default_factory=Counter)


@dataclass
class Stops:
    """How long delayed frames stopped the line, in either direction: times when both were count once."""

    seconds: float = 0.0
    _until_s: float = 0.0

    def add(self, from_s: float, until_s: float) -> None:
        """A stop between these times."""
        self.seconds += max(until_s - max(from_s, self._until_s), 0.0)
        self._until_s = max(until_s, self._until_s)


class _Way:
    """One direction: bytes are read from `source` and, later, written to `sink`."""

    def __init__(
        self,
        source: socket.socket,
        sink: socket.socket,
        random: Random,
        share: float,
        baud: float,
        stops: Stops,
    ) -> None:
        self.source, self.sink = source, sink
        self._stops = stops
        self.traffic = Traffic()
        self.waiting: list[tuple[float, int, bytes]] = []  # when it arrives, its turn, what
        self._random, self._share, self._baud = random, share, baud
        self._decoder = Decoder()
        self._rest = b""
        self._turn = 0
        self._free_s = 0.0  # when the line has sent what it was given
        self._last_s = 0.0  # when the frame before arrives

    def take(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\0")
        for piece in whole:
            self._carry(piece + b"\0")

    def due_s(self) -> float | None:
        return self.waiting[0][0] if self.waiting else None

    def release(self, now_s: float) -> None:
        arrived = []
        while self.waiting and self.waiting[0][0] <= now_s:
            arrived.append(heapq.heappop(self.waiting)[2])
        if arrived:
            self.sink.sendall(b"".join(arrived))

    def _carry(self, wire: bytes) -> None:
        traffic, now_s = self.traffic, time.monotonic()
        traffic.frames += 1
        traffic.bytes += len(wire)
        for frame in self._decoder.feed(wire):
            traffic.by_type[frame.number] += len(wire)
        self._free_s = max(now_s, self._free_s) + (
            _BITS_PER_BYTE * len(wire) / self._baud if self._baud else 0.0
        )
        at_s = self._free_s
        if self._random.random() >= self._share:
            self._arrive(max(at_s, self._last_s), wire)
            return
        harm = self._random.choice(HARMS)
        traffic.hit[harm] += 1
        at, size = self._random.randrange(len(wire)), self._random.randrange(1, 9)
        if harm == "corrupt":
            wire = wire[:at] + bytes([wire[at] ^ self._random.randrange(1, 256)]) + wire[at + 1 :]
        elif harm == "lose bytes":
            wire = wire[:at] + wire[at + size :]
        elif harm == "drop":
            return
        elif harm == "duplicate":
            self._arrive(max(at_s, self._last_s), wire)
        elif harm == "reorder":  # those that follow overtake it
            heapq.heappush(self.waiting, (at_s + DELAY_s / 4, self._next(), wire))
            return
        elif harm == "delay":  # those that follow wait too
            self._stops.add(at_s, at_s + DELAY_s)
            at_s += DELAY_s
        self._arrive(max(at_s, self._last_s), wire)

    def _arrive(self, at_s: float, wire: bytes) -> None:
        self._last_s = at_s
        heapq.heappush(self.waiting, (at_s, self._next(), wire))

    def _next(self) -> int:
        self._turn += 1
        return self._turn


class Proxy:
    """Stands between `far`, the controller's socket, and `near`, which is for the host.

    share: of the frames that are hit, in both directions. baud: bits/s of the line; 0 for no limit.
    """

    def __init__(self, far: socket.socket, seed: int = 1, share: float = 0.0, baud: float = 0.0) -> None:
        self.near, mine = socket.socketpair()
        random = Random(seed)
        self.stops = Stops()
        self._ways = [
            _Way(mine, far, Random(random.random()), share, baud, self.stops),
            _Way(far, mine, Random(random.random()), share, baud, self.stops),
        ]
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    @property
    def up(self) -> Traffic:
        """To the controller."""
        return self._ways[0].traffic

    @property
    def down(self) -> Traffic:
        """To the host."""
        return self._ways[1].traffic

    def join(self) -> None:
        """Waits until one side has hung up and the other was told."""
        self._thread.join(5)

    def _run(self) -> None:
        with self._ways[0].source, self._ways[1].source, selectors.DefaultSelector() as selector:
            for way in self._ways:
                selector.register(way.source, selectors.EVENT_READ, way)
            try:
                while self._pass(selector):
                    continue
            except OSError:
                return

    def _pass(self, selector: selectors.BaseSelector) -> bool:
        due = [due_s for way in self._ways if (due_s := way.due_s()) is not None]
        for key, _ in selector.select(max(min(due) - time.monotonic(), 0.0) if due else None):
            data = key.data.source.recv(65_536)
            if not data:
                return False
            key.data.take(data)
        now_s = time.monotonic()
        for way in self._ways:
            way.release(now_s)
        return True
