"""The runs that somebody watches, and the one thread that reads files for all of them.

Stops and pauses never go through that thread.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from eapu_hil.base.errors import one_line
from eapu_hil.live.calibration_feed import CalibrationFeed
from eapu_hil.live.feed import Feed
from eapu_hil.live.outcome import Outcome
from eapu_hil.live.overview import Overviews, with_stop
from eapu_hil.live.places import Entry, Place
from eapu_hil.live.run_feed import RunFeed
from eapu_hil.live.stopping import NothingToStopError, Stop
from eapu_hil.training.run_list import RunRow, list_runs
from eapu_hil.training.run_state import Standing

_FRAME_s = 0.5
_LIST_s = 1.0  # how old the list of runs may be
_KEPT_s = 30.0  # for how long a run is kept that nobody watches any more
_MOST_FEEDS = 64  # that are kept

_LOG = logging.getLogger(__name__)
Found = TypeVar("Found")


class Watched:
    """A feed while it is kept. changed: set, and replaced by a new one, whenever there is news."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.changed = asyncio.Event()
        self.watchers = 0
        self.left_s = time.monotonic()  # when the last of them went
        self.task: asyncio.Task[None] | None = None
        self._said = ""

    def complain(self, text: str) -> None:
        """Says once that the run cannot be read."""
        if text != self._said:
            self._said = text
            _LOG.warning("%s: cannot be followed: %s", self.feed.entry.path, text)

    def tell(self) -> None:
        """Wakes whoever waits for news."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class Hub:
    """What the routes ask. All methods belong to the event loop."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.overviews = Overviews()
        self.streams = 0  # that are open
        self._reader = ThreadPoolExecutor(1, "reader")
        self._watched: dict[str, Watched] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._list: tuple[float, list[dict[str, Any]]] = (-_LIST_s, [])
        self._listing: asyncio.Task[list[dict[str, Any]]] | None = None

    async def read(self, work: Callable[[], Found]) -> Found:
        """`work` in the thread that reads."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, work)

    def close(self) -> None:
        """Waits for nothing."""
        for task in [*self._tasks, *(one.task for one in self._watched.values())]:
            if task is not None:
                task.cancel()
        self._reader.shutdown(wait=False, cancel_futures=True)

    def kept(self, entry: Entry) -> Watched:
        """The feed of a run, made where there is none yet."""
        found = self._watched.get(entry.id)
        if found is None or found.feed.entry != entry:
            kind = CalibrationFeed if entry.kind == "calibrate" else RunFeed
            found = self._watched[entry.id] = Watched(kind(entry, self.overviews))
            self._forget_some()
        return found

    @asynccontextmanager
    async def watching(self, entry: Entry) -> AsyncIterator[Watched]:
        """The feed of a run, which is read twice a second meanwhile."""
        watched = self.kept(entry)
        watched.watchers += 1
        self.streams += 1
        if watched.task is None or watched.task.done():
            watched.task = asyncio.create_task(self._follow(watched))
        try:
            yield watched
        finally:
            self.streams -= 1
            watched.watchers -= 1
            watched.left_s = time.monotonic()

    async def runs(self) -> list[dict[str, Any]]:
        """All runs, the newest first; up to a second old."""
        if time.monotonic() >= self._list[0] + _LIST_s:
            if self._listing is None or self._listing.done():
                self._listing = asyncio.create_task(self.read(self._read_list))
            self._list = time.monotonic(), await asyncio.shield(self._listing)
        return self._list[1]

    def stop(self, entry: Entry) -> Stop:
        """Sends the signal, now. Raises NothingToStopError."""
        stop = Stop(entry, time.time())
        watched = self.kept(entry)

        def tell(outcome: Outcome) -> None:
            watched.feed.say_stop(outcome)
            watched.tell()

        async def unattended() -> Any:
            return await self.read(lambda: watched.feed.unattended)

        tell(stop.outcome)
        _LOG.warning("%s: emergency stop: %s", entry.path, stop.outcome.text)
        self._start(stop.follow(unattended, tell))
        return stop

    def stop_all(self) -> dict[Entry, Stop]:
        """The same for every run that a process of this machine works on."""
        stopped: dict[Entry, Stop] = {}
        for entry in self.place.entries():
            if entry.lock is not None and entry.lock.exists():
                try:
                    stopped[entry] = self.stop(entry)
                except NothingToStopError:
                    continue
        return stopped

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, watched: Watched) -> None:
        while watched.watchers or time.monotonic() < watched.left_s + _KEPT_s:
            began_s = time.monotonic()
            if watched.watchers:
                try:
                    await self.read(watched.feed.refresh)
                except Exception as error:  # noqa: BLE001 - a run of any content must not end the page of the others
                    watched.complain(one_line(error))
                watched.tell()
            more = watched.watchers and watched.feed.unread
            await asyncio.sleep(0.0 if more else max(0.0, began_s + _FRAME_s - time.monotonic()))
        if watched.feed.stop is None:
            self._watched.pop(watched.feed.entry.id, None)

    def _forget_some(self) -> None:
        """The oldest that nobody watches."""
        idle = [key for key, one in self._watched.items() if not one.watchers]
        for key in idle[: max(0, len(self._watched) - _MOST_FEEDS)]:
            del self._watched[key]

    def _read_list(self) -> list[dict[str, Any]]:
        rows = list_runs(self.place.root) if self.place.root.is_dir() else []
        lines = [
            _line(row) | _shown(entry, with_stop(row.standing, self._stop_of(entry)))
            for row in rows
            for entry in [Entry(row.name, row.path, "train")]
        ]
        for entry in self.place.entries():
            if entry.kind != "train":
                standing = self.overviews.standing(entry, self._stop_of(entry), paused=False)
                lines.append(self.overviews.line(entry) | _shown(entry, standing))
        lines.sort(key=lambda line: str(line.get("time") or ""), reverse=True)
        return lines

    def _stop_of(self, entry: Entry) -> Outcome | None:
        watched = self._watched.get(entry.id)
        return None if watched is None else watched.feed.stop


def _shown(entry: Entry, standing: Standing) -> dict[str, Any]:
    its = {
        "state": standing.state,
        "pid": standing.process,
        "since_s": standing.since_s,
        "note": standing.note,
    }
    return {"url": entry.url, **its}


def _line(row: RunRow) -> dict[str, Any]:
    facts = row.facts
    its = {key: getattr(facts, key) for key in ("experiment", "rule", "bench", "chip", "step", "steps")}
    more = {key: getattr(facts, key) for key in ("writes", "wall_s", "disk_bytes", "time", "task", "seed")}
    metric = {"name": facts.metric_name, "value": facts.metric}
    return {"id": row.name, "name": row.path.name, "kind": "train", **its, **more, "metric": metric}
