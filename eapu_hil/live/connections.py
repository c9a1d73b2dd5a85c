"""Connections of the page, which are so many at most and never wait for a slow client."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST = 256
_ASKS_WITHIN_s = 10.0  # a connection that asks nothing for so long is closed
_LOOK_s = 5.0


class Connection(H11Protocol):
    """One. A new one is always let in, so that a stop is: beyond `MOST` the one that asked nothing for longest goes."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._idle_s: float | None = time.monotonic()  # since when it has asked nothing
        self._look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()
        if len(self.connections) > MOST:
            # Several may come before those that were told to go are gone.
            staying = [one for one in self._others() if not one.transport.is_closing()]
            if len(staying) >= MOST:
                min(staying, key=Connection._worth).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self._idle_s = None

    def on_response_complete(self) -> None:
        self._idle_s = time.monotonic()
        super().on_response_complete()

    def _others(self) -> list[Connection]:
        return [one for one in self.connections if isinstance(one, Connection) and one is not self]

    def _worth(self) -> tuple[bool, float]:
        return self._idle_s is None, self._idle_s or 0.0

    def _watch(self) -> None:
        if self._idle_s is not None and time.monotonic() > self._idle_s + _ASKS_WITHIN_s:
            self.transport.abort()
        else:
            self._look = self.loop.call_later(_LOOK_s, self._watch)
