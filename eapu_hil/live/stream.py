"""The event stream of one client: what is new since it was last sent something, as fast as it takes it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from starlette.types import Receive, Scope, Send

from eapu_hil.live.feed import CurvePart, Feed
from eapu_hil.live.hub import Hub, Watched
from eapu_hil.live.places import Entry

_SILENCE_s = 15.0  # without news a comment is sent: proxies end what is silent
_TAKES_WITHIN_s = 30.0  # a client that takes nothing for so long is let go
_HEAD = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class EventStream:
    """An ASGI response. What a slow client misses is not kept for it: it gets the newest message of each kind."""

    def __init__(self, hub: Hub, entry: Entry) -> None:
        self._hub = hub
        self._entry = entry

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(_until_gone(receive))
        sending = asyncio.create_task(self._send_all(send))
        try:
            await asyncio.wait((gone, sending), return_when=asyncio.FIRST_COMPLETED)
            if sending.done() and not sending.cancelled():
                sending.exception()  # a client that went away, or was let go
        finally:
            gone.cancel()
            sending.cancel()

    async def _send_all(self, send: Send) -> None:
        async def put(body: bytes) -> None:
            async with asyncio.timeout(_TAKES_WITHIN_s):
                await send({"type": "http.response.body", "body": body, "more_body": True})

        await send({"type": "http.response.start", "status": 200, "headers": _HEAD})
        async with self._hub.watching(self._entry) as watched:
            client = _Client(self._hub, watched)
            while True:
                changed = watched.changed
                news = await client.news()
                if news:
                    await put(news)
                try:
                    async with asyncio.timeout(_SILENCE_s):
                        await changed.wait()
                except TimeoutError:
                    await put(b": here\n\n")


class _Client:
    """What one client was sent."""

    def __init__(self, hub: Hub, watched: Watched) -> None:
        self._hub = hub
        self._feed: Feed = watched.feed
        self._seen: dict[str, int] = {}
        self._curves = CurvePart(-1, 0, 0, b"")

    async def news(self) -> bytes:
        """All messages that are new to it."""
        parts = list(self._topics())
        curves = self._feed.curves
        if (curves.generation, curves.points) != (self._curves.generation, self._curves.points):
            if (self._curves.generation, self._curves.points) == (curves.generation, curves.before):
                parts.append(curves.news)
                self._curves = curves
            else:
                self._curves, everything = await self._hub.read(self._feed.all_curves)
                parts.append(everything)
        events, seen = self._feed.topics.get("events"), self._seen.get("events", 0)
        if events is not None and events.version > seen:
            if events.version > seen + 1 or not seen:
                events = await self._hub.read(self._feed.all_events)
            parts.append(events.message)
            self._seen["events"] = events.version
        return b"".join(parts)

    def _topics(self) -> Iterator[bytes]:
        for name, topic in list(self._feed.topics.items()):
            if name != "events" and self._seen.get(name) != topic.version:
                self._seen[name] = topic.version
                yield topic.message


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
