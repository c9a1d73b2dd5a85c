"""Requests under way: the frames that make one up and the future that its answer fulfils."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from eapu_drivers.controller.errors import RefusedError
from eapu_drivers.controller.message import Exchange
from eapu_drivers.controller.messages import (
    CODES_MAX,
    LineDirection,
    Product,
    ProductData,
    ProductIs,
    Pulse,
    Recipe,
    Refused,
    Wait,
    Welcome,
    Write,
)
from eapu_hil.hal import ProtocolError

T = TypeVar("T")
Codes = NDArray[np.int16]
_CODE_BYTES = 2
_PULSE_MORE_s = 1e-3  # what a pulse may take beside its width


class WorkTimes:
    """The time that a controller may work on a request, s, by what was asked. Any thread may ask."""

    def __init__(self) -> None:
        self._time_max_s: dict[int, float] = {}  # of the recipe in each slot

    def of(self, request: Exchange) -> float:
        """0 for what takes no more than a moment. A recipe is remembered for the writes that follow."""
        if isinstance(request, Recipe):
            self._time_max_s[request.slot] = request.time_max_s
        if isinstance(request, Wait):
            return request.duration_ns * 1e-9
        if isinstance(request, Pulse):
            return float(request.tail["count"] @ (request.tail["width_ns"] * 1e-9 + _PULSE_MORE_s))
        if isinstance(request, Write):
            return self._time_max_s.get(request.slot, 0.0)
        return 0.0


class Promise(Future[T]):
    """A future whose callbacks each run on a thread of their own: none of them can hold up the port."""

    def add_done_callback(self, fn: Callable[[Future[T]], Any]) -> None:
        def start(done: Future[T]) -> None:
            threading.Thread(target=fn, args=(done,), name="link-callback", daemon=True).start()

        super().add_done_callback(start)


class Request(Protocol):
    """One request: what the link sends for it and what it does with what comes back."""

    id: int

    @property
    def name(self) -> str: ...

    @property
    def work_s(self) -> float:
        """The time that the controller may work on it without a sign."""
        ...

    @property
    def future(self) -> Future[Any]: ...

    def start(self) -> bool:
        """Whether it is still wanted; from now on it cannot be cancelled."""
        ...

    def peek(self) -> tuple[int, bytes] | None:
        """Type and payload of the frame to send next; None when all were sent."""
        ...

    def advance(self) -> None:
        """The frame of `peek` was sent."""
        ...

    def answered(self, message: Exchange) -> bool:
        """Takes a message with the id of this request; whether that completes it."""
        ...


class _Frames:
    """The frames still to send, made one at a time."""

    def __init__(self, message: Exchange, work_s: float, frames: Iterator[tuple[int, bytes]]) -> None:
        self.id = message.id
        self.name = type(message).__name__.upper()
        # A message of numbers that are none has to be refused at once.
        self.work_s = work_s if math.isfinite(work_s) and work_s > 0.0 else 0.0
        self._frames = frames
        self._head = next(frames, None)

    def peek(self) -> tuple[int, bytes] | None:
        return self._head

    def advance(self) -> None:
        self._head = next(self._frames, None)


class SingleRequest(_Frames):
    """One frame there, one frame back."""

    def __init__(self, message: Exchange, work_s: float = 0.0) -> None:
        super().__init__(message, work_s, iter([(message.NUMBER, message.pack())]))
        self.future: Promise[Exchange] = Promise()

    def start(self) -> bool:
        return self.future.set_running_or_notify_cancel()

    def answered(self, message: Exchange) -> bool:
        self.future.set_result(message)
        return True


class ProductRequest(_Frames):
    """A PRODUCT with the codes that follow it, and the codes that come back."""

    def __init__(self, begin: Product, codes: Codes, welcome: Welcome) -> None:
        driven = welcome.rows if begin.direction == LineDirection.FORWARD else welcome.cols
        border = (driven + 7) // 8
        bits = np.asarray(begin.tail, np.uint8)
        lines_in = int(np.unpackbits(bits[:border]).sum())
        lines_out = int(np.unpackbits(bits[border:]).sum())
        if codes.shape != (begin.vectors, lines_in):
            raise ValueError(f"codes of shape {codes.shape} for {begin.vectors} vectors of {lines_in} lines")
        if not begin.vectors or not lines_in or not lines_out:
            raise ValueError("a product needs vectors, driven lines and measured lines")
        raw = np.ascontiguousarray(codes, dtype="<i2").tobytes()
        super().__init__(begin, 0.0, _product_frames(begin, raw))  # every frame of its answer is a sign
        self.future: Promise[Codes] = Promise()
        self._result = np.empty((begin.vectors, lines_out), np.int16)
        self._filled = 0

    def start(self) -> bool:
        return self.future.set_running_or_notify_cancel()

    def answered(self, message: Exchange) -> bool:
        if isinstance(message, Refused):
            self.future.set_exception(RefusedError(message, "PRODUCT"))
        elif not isinstance(message, ProductIs):
            self.future.set_exception(ProtocolError(f"PRODUCT was answered by {type(message).__name__}"))
        else:
            flat = self._result.reshape(-1)
            end = self._filled + len(message.tail)
            if end > flat.size:
                text = f"PRODUCT was answered by {end} codes or more, not {flat.size}"
                self.future.set_exception(ProtocolError(text))
                return True
            flat[self._filled : end] = message.tail
            self._filled = end
            if end < flat.size:
                return False
            self.future.set_result(self._result)
        return True


def _product_frames(begin: Product, raw: bytes) -> Iterator[tuple[int, bytes]]:
    yield begin.NUMBER, begin.pack()
    head = begin.id.to_bytes(4, "little")
    size = CODES_MAX * _CODE_BYTES
    for start in range(0, len(raw), size):
        yield ProductData.NUMBER, head + raw[start : start + size]
