"""A training run as somebody watches it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from eapu_hil.hal import ConfigError, HilError
from eapu_hil.live.cells import QUANTITIES, CellMaps, Quantity
from eapu_hil.live.examples import Examples
from eapu_hil.live.feed import CurvePart, Feed, Topic, message
from eapu_hil.live.overview import Overviews, mapping, name_of
from eapu_hil.live.places import Entry, UnknownError
from eapu_hil.live.story import Story
from eapu_hil.live.tail import LineTail, RecordTail
from eapu_hil.placement.layout import Layout
from eapu_hil.training.journal import METRICS, WRITES
from eapu_hil.training.records import dtype_of_run
from eapu_hil.training.runs import files_of, read_snapshots

_AT_ONCE_s = 0.25  # how long one `refresh` may read before the event loop gets what there is
_ARRAYS_MOST, _CELLS_MOST = 4096, 1 << 26  # of a start.yaml that can be meant


class RunFeed(Feed):
    """See `Feed`."""

    def __init__(self, entry: Entry, overviews: Overviews) -> None:
        super().__init__(entry, overviews)
        self.cells: CellMaps | None = None
        self._story = Story()
        self._examples = Examples(entry)
        self._lines = LineTail(entry.path / METRICS)
        self._records: RecordTail | None = None
        self._events_put = 0
        self._all_curves: tuple[tuple[int, int], bytes] | None = None

    def refresh(self) -> None:
        end_s = time.monotonic() + _AT_ONCE_s
        self.unread = not self._read_lines(end_s) or not self._read_writes(end_s)
        self._publish()

    def description(self) -> dict[str, Any]:
        start = self.overviews.start(self.entry)
        return {**described(self.entry, start), "layers": self._layers(start)}

    @property
    def is_paused(self) -> bool:
        return self._story.paused

    @property
    def unattended(self) -> Mapping[str, Any] | None:
        sessions = self.overviews.start(self.entry).get("sessions")
        found = mapping(sessions[-1]).get("unattended") if isinstance(sessions, list) and sessions else None
        return found if isinstance(found, dict) and {"by", "within_s"} <= found.keys() else None

    def all_curves(self) -> tuple[CurvePart, bytes]:
        mark = self.curves.generation, self.curves.points
        if self._all_curves is None or self._all_curves[0] != mark:
            columns = self._story.curves.columns()
            self._all_curves = mark, message("metrics", {"columns": columns, "replace": True})
        return self.curves, self._all_curves[1]

    def all_events(self) -> Topic:
        content = {"items": list(self._story.events), "replace": True}
        return Topic(self.topics["events"].version, message("events", content))

    def map(self, array: int, quantity: str) -> bytes:
        chosen: Quantity | None = next((name for name in QUANTITIES if name == quantity), None)
        if self.cells is None or chosen is None or not 0 <= array < len(self.cells.g_S):
            raise UnknownError("no such map of this run")
        return self.cells.map(array, chosen)

    def picture(self, name: str) -> bytes:
        return self._examples.png(name)

    def _layers(self, start: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Name and number of weights of each layer that is on arrays; none before they are placed."""
        try:
            tiles = Layout.read(files_of(self.entry.path, start)).tiles
        except HilError:
            return []
        return [
            {"name": name, "weights": sum(tile.rows.size * tile.plus.size for tile in its)}
            for name, its in tiles.items()
        ]

    def _read_lines(self, end_s: float) -> bool:
        for anew, lines in self._lines.batches():
            if anew and self._story.step:
                self._begin_anew()
            for line in lines:
                self._story.take(line)
            if time.monotonic() > end_s:
                return False
        return True

    def _begin_anew(self) -> None:
        generation = self._story.curves.generation
        self._story, self._events_put = Story(), 0
        self._story.curves.generation = generation + 1

    def _read_writes(self, end_s: float) -> bool:
        if self.cells is None or self._records is None:
            return not self._open_cells()
        for anew, records in self._records.records():
            if anew:
                self.cells.forget()
            self.cells.take(records)
            if time.monotonic() > end_s:
                return False
        return True

    def _open_cells(self) -> bool:
        """Whether the run has an array, and has begun to write."""
        start = self.overviews.start(self.entry)
        about = described(self.entry, start)
        arrays = about["arrays"]
        if not arrays or not (self.entry.path / WRITES).exists():
            return False
        try:
            self._records = RecordTail(self.entry.path / WRITES, dtype_of_run(start))
            cells = CellMaps(len(arrays), (arrays[0]["rows"], arrays[0]["cols"]), about["band_S"])
            cells.begin(read_snapshots(self.entry.path))
        except (ConfigError, HilError):  # it is being written, or damaged: the run's own commands say so
            return False
        self.cells = cells
        return True

    def _publish(self) -> None:
        start, story, standing = self.overviews.start(self.entry), self._story, self.standing()
        steps = mapping(start.get("experiment")).get("steps")
        totals = story.totals if self.cells is None else self.cells.totals
        counts = {**totals, "energy_j": story.energy_j, "loss": story.loss, "metric": story.metric}
        since_s = None if standing.since_s is None else round(standing.since_s)
        state = {
            "state": standing.state, "note": standing.note, "pid": standing.process,
            "pid_alive": standing.process is not None,
            "since_s": since_s, "step": story.step, "steps": steps, **story.times(steps), **counts,
            **self._at_the_end(),
        }  # fmt: skip
        self.put("state", "state", state)
        self._publish_curves()
        if story.counted > self._events_put:
            new = story.counted - self._events_put
            self._events_put = story.counted
            self.put("events", "events", {"items": list(story.events)[-new:], "replace": False})
        if story.link is not None:
            self.put("link", "link", story.link)
        shown = self._examples.shown(story.examples_at)
        if shown is not None:
            self.put("examples", "examples", shown)
        self._publish_cells()

    def _at_the_end(self) -> dict[str, Any]:
        """What only the summary knows: the lines of metrics.jsonl end with the last step."""
        summary = self.overviews.summary(self.entry)
        energy_j = mapping(summary.get("energy_j")).get("total")
        known = {"wall_s": summary.get("wall_s"), "energy_j": energy_j}
        return {name: value for name, value in known.items() if isinstance(value, (int, float))}

    def _publish_curves(self) -> None:
        curves, before = self._story.curves, self.curves
        now = curves.generation, len(curves.points)
        if now == (before.generation, before.points):
            return
        since = before.points if curves.generation == before.generation else 0
        news = message("metrics", {"columns": curves.columns(since), "replace": False})
        self.curves = CurvePart(*now, since, news)

    def _publish_cells(self) -> None:
        cells = self.cells
        if cells is None:
            return
        rows, columns = cells.g_S.shape[1:]
        for array, version in enumerate(cells.changed):
            for quantity in QUANTITIES:
                about = {
                    "array": array,
                    "quantity": quantity,
                    "rows": rows,
                    "cols": columns,
                    "version": version,
                }
                self.put(f"map {array} {quantity}", "map", about)
        edges, counts = cells.edges_S.tolist(), cells.errors.tolist()
        self.put("histogram", "histogram", {"quantity": "write_error_S", "edges": edges, "counts": counts})
        self.put("statuses", "statuses", cells.statuses())


def described(entry: Entry, start: Mapping[str, Any]) -> dict[str, Any]:
    """What start.yaml says of a run, for the page. Empty parts where it says nothing, or what cannot be meant."""
    experiment = mapping(start.get("experiment"))
    bench = mapping(experiment.get("bench"))
    recipe = mapping(experiment.get("recipe")) or mapping(bench.get("recipe"))
    return {
        "id": entry.id,
        "name": str(start.get("name") or entry.path.name),
        "kind": entry.kind,
        "experiment": start.get("name"),
        "rule": name_of(experiment.get("rule")),
        "task": name_of(experiment.get("task")),
        "bench": bench.get("backend"),
        "backend": bench.get("backend"),
        "chip": start.get("chip"),
        "steps": experiment.get("steps"),
        "seed": start.get("seed"),
        "time": start.get("time"),
        "arrays": _arrays(bench, start),
        "window_S": [recipe.get("g_min_S"), recipe.get("g_max_S")] if recipe else None,
        "band_S": _band_S(recipe),
    }


def _arrays(bench: Mapping[str, Any], start: Mapping[str, Any]) -> list[dict[str, int]]:
    if not start.get("identities"):  # no bench, or not open yet
        return []
    try:
        count, (rows, columns) = int(bench["arrays"]), map(int, bench["shape"])
    except (KeyError, TypeError, ValueError):
        return []
    meant = 0 < count <= _ARRAYS_MOST and rows > 0 and columns > 0 and count * rows * columns <= _CELLS_MOST
    return [{"index": number, "rows": rows, "cols": columns} for number in range(count)] if meant else []


def _band_S(recipe: Mapping[str, Any]) -> float:
    found = recipe.get("band_S")
    return float(found) if isinstance(found, (int, float)) and 0 < found < 1 else 1e-6
