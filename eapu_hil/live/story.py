"""What the lines of metrics.jsonl tell of a run: curves, events, counts, how far it is. The same for a calibration."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from eapu_hil.live.curves import Curves, Point, point_of

EVENTS_KEPT = 500
_PACE = 50  # steps over which the pace is averaged


class Story:
    """Everything in bounded memory. counted: the number of events so far, of which the last `EVENTS_KEPT` are kept."""

    def __init__(self) -> None:
        self.curves = Curves()
        self.events: deque[dict[str, Any]] = deque(maxlen=EVENTS_KEPT)
        self.counted = 0
        self.link: dict[str, Any] | None = None
        self.paused = False
        self.step = 0
        self.loss: float | None = None
        self.metric: dict[str, Any] = {"name": None, "value": None}
        self.examples_at: int | None = None  # the step of the last evaluation
        self.totals = {"writes": 0, "pulses": 0}
        self.wall_s = 0.0
        self._energy_before_j, self._energy_j = 0.0, 0.0  # of sessions before, and of this one
        self._clock_first_s: float | None = None
        self._clock_s: float | None = None
        self._step_first = 0
        self._wall_each_s: float | None = None

    def take(self, line: Mapping[str, Any]) -> None:
        """The next line. One that lacks what its kind has is passed over."""
        try:
            kind = line.get("kind")
            if kind == "step":
                self._take_step(line)
            elif kind == "evaluation":
                self._take_evaluation(line)
            elif kind == "event":
                self._take_event(line)
            elif kind == "bench":
                self._take_counts(line)
            elif kind in ("refresh", "level"):
                self._count(line)
        except (KeyError, TypeError, ValueError):
            return

    @property
    def energy_j(self) -> float | None:
        """By the ledger, so far; None where no line has said it."""
        total = self._energy_before_j + self._energy_j
        return total or None

    def times(self, steps: int | None) -> dict[str, float | None]:
        """Wall and bench time so far and, by the pace so far, left until `steps`."""
        left = None if steps is None else max(0, steps - self.step)
        bench_s = None
        if self._clock_s is not None and self._clock_first_s is not None:
            bench_s = self._clock_s - self._clock_first_s
        done = self.step - self._step_first
        each_s = bench_s / done if bench_s is not None and done > 0 else None
        return {
            "wall_s": self.wall_s,
            "wall_time_left_s": _times(left, self._wall_each_s),
            "bench_time_s": bench_s,
            "bench_time_left_s": _times(left, each_s),
        }

    def _take_step(self, line: Mapping[str, Any]) -> None:
        self.curves.add(point_of(line, self.energy_j))
        self.step = int(line["step"])
        self.paused = False  # also of a run that was killed while it waited, and goes on
        self.loss = line.get("loss")
        self._count(line)
        wall_s = line.get("wall_s")
        if isinstance(wall_s, (int, float)):
            self.wall_s += wall_s
            before_s = self._wall_each_s
            self._wall_each_s = wall_s if before_s is None else before_s + (wall_s - before_s) / _PACE
        clock_s = line.get("clock_s")
        if isinstance(clock_s, (int, float)):
            if self._clock_first_s is None or (self._clock_s is not None and clock_s < self._clock_s):
                self._clock_first_s, self._step_first = clock_s, self.step
            self._clock_s = clock_s

    def _take_evaluation(self, line: Mapping[str, Any]) -> None:
        step, value = int(line["step"]), line.get("metric")
        self.metric = {"name": line.get("name"), "value": value, "input": line.get("input")}
        self.paused = False
        self.examples_at = step
        self.curves.add(Point(step, 0, {"metric": None if value is None else float(value)}))

    def _take_event(self, line: Mapping[str, Any]) -> None:
        what, unix_s = str(line["what"]), float(line["unix_s"])
        if what in ("paused", "continued"):
            self.paused = what == "paused"
        kind = what if what in ("limit", "fault", "reconnect") else "log"
        item = {"time_s": unix_s, "step": line.get("at_step"), "kind": kind, "text": str(line["text"])}
        self.events.append(item)
        self.counted += 1

    def _take_counts(self, line: Mapping[str, Any]) -> None:
        energy_j = float(line["energy_j"])
        if energy_j < self._energy_j:  # a session that resumed the run counts from 0
            self._energy_before_j += self._energy_j
        self._energy_j = energy_j
        if isinstance(line.get("link"), dict):
            self.link = line["link"]

    def _count(self, line: Mapping[str, Any]) -> None:
        for name in self.totals:
            self.totals[name] += int(line.get(name) or 0)


def _times(count: int | None, each_s: float | None) -> float | None:
    return None if count is None or each_s is None else count * each_s
