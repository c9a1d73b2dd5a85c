"""A calibration as somebody watches it: its progress.jsonl, its cells as they are read, the figures it has drawn."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from eapu_hil.bench.progress_file import PROGRESS
from eapu_hil.live.cells import QUANTITIES
from eapu_hil.live.chip_maps import ChipMaps
from eapu_hil.live.feed import Feed
from eapu_hil.live.overview import Overviews
from eapu_hil.live.places import Entry, UnknownError
from eapu_hil.live.tail import LineTail

_FIGURE = re.compile(r"\d{4,}_[a-z0-9_]+\.png")
_FIGURE_MOST = 1 << 25


class CalibrationFeed(Feed):
    """See `Feed`."""

    def __init__(self, entry: Entry, overviews: Overviews) -> None:
        super().__init__(entry, overviews)
        self._lines = LineTail(entry.path / PROGRESS)
        self._last: Mapping[str, Any] = {}
        self._ended: Mapping[str, Any] = {}
        self._begun = "", 0.0  # the running measurement, and when it began, by time.time()
        self._maps = ChipMaps(entry)

    def refresh(self) -> None:
        for anew, lines in self._lines.batches():
            if anew:
                self._last, self._ended, self._begun = {}, {}, ("", 0.0)
            for line in lines:
                self._take(line)
        self.unread = False
        array = self._last.get("array")
        if isinstance(array, int):
            self._maps.refresh(array)
        self._publish()
        self._publish_maps()

    def description(self) -> dict[str, Any]:
        name = self.entry.path.name
        about = {"id": self.entry.id, "name": name, "kind": self.entry.kind, "chip": name, "arrays": []}
        return {**about, "measurements": self._last.get("measurements", []), "array": self._last.get("array")}

    @property
    def unattended(self) -> Mapping[str, Any] | None:
        found = self._last.get("unattended")
        return found if isinstance(found, dict) and {"by", "within_s"} <= found.keys() else None

    def map(self, array: int, quantity: str) -> bytes:
        return self._maps.map(array, quantity)

    def picture(self, name: str) -> bytes:
        if not _FIGURE.fullmatch(name):
            raise UnknownError("no such picture here")
        path = self.entry.file("figures", name)
        try:
            if path.is_symlink() or path.stat().st_size > _FIGURE_MOST:
                raise UnknownError("no such picture here")
            return path.read_bytes()
        except OSError as error:
            raise UnknownError("no such picture here") from error

    def _take(self, line: Mapping[str, Any]) -> None:
        if "ended" in line:
            self._ended = line
        elif isinstance(line.get("measurement"), str) and isinstance(line.get("unix_s"), (int, float)):
            self._last = line
            if line["measurement"] != self._begun[0]:
                self._begun = line["measurement"], line["unix_s"]

    def _publish(self) -> None:
        standing, last = self.standing(), self._last
        since_s = None if standing.since_s is None else round(standing.since_s)
        names, done = list(last.get("measurements", [])), float(last.get("done", 0.0))
        name = last.get("measurement")
        finished = (names.index(name) if name in names else 0) + int(done >= 1.0)
        began_s = last.get("began_unix_s")
        state = {
            "state": standing.state, "note": standing.note, "pid": standing.process,
            "pid_alive": standing.process is not None,
            "since_s": since_s, "step": finished, "steps": len(names) or None,
            "wall_s": last["unix_s"] - began_s if isinstance(began_s, (int, float)) else None,
        }  # fmt: skip
        self.put("state", "state", state)
        if name is not None:
            spent_s = last["unix_s"] - self._begun[1]
            left_s = spent_s * (1.0 - done) / done if 0.0 < done < 1.0 else None
            content = {"measurement": name, "done": done, "total": 1.0, "time_left_s": left_s}
            counted = {"finished": finished, "measurements": names}
            self.put("calibration", "calibration", {**content, **counted, "figure_url": self._figure_url()})

    def _publish_maps(self) -> None:
        maps = self._maps
        if maps.shape is None:
            return
        rows, columns = maps.shape
        for quantity in QUANTITIES:
            about = {"array": maps.array, "quantity": quantity, "rows": rows, "cols": columns}
            self.put(f"map {maps.array} {quantity}", "map", {**about, "version": maps.version})

    def _figure_url(self) -> str | None:
        """The newest figure, with its time, so that a browser does not show an older one of this name."""
        try:
            found = [
                path for path in self.entry.path.joinpath("figures").iterdir() if _FIGURE.fullmatch(path.name)
            ]
            at_s, newest = max((path.stat().st_mtime, path) for path in found)
        except (OSError, ValueError):  # there is none yet
            return None
        return f"/api/run/{self.entry.url}/picture/{newest.name}?at={round(at_s, 3)}"
