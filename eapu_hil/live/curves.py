"""The curves of a run in a bounded number of points: each is the mean of neighbouring steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_POINTS = 2000
COLUMNS = ("loss", "metric", "writes", "pulses", "energy_j")
_LAST = ("metric", "energy_j")  # of several the last counts; of the others the mean


@dataclass
class Point:
    """One point of all curves. step: the last of its steps. lines: how many it stands for. values: by `COLUMNS`."""

    step: int
    lines: int
    values: dict[str, float | None]
    share: dict[str, float] = field(default_factory=dict)

    def join(self, later: Point) -> Point:
        """Both in one."""
        lines = self.lines + later.lines

        def mean(a: float | None, b: float | None) -> float | None:
            if a is None or b is None:
                return b if a is None else a
            return (a * self.lines + b * later.lines) / lines if lines else b

        values = {}
        for name in COLUMNS:
            mine, its = self.values.get(name), later.values.get(name)
            values[name] = (mine if its is None else its) if name in _LAST else mean(mine, its)
        share = {}
        for name in self.share | later.share:
            both = mean(self.share.get(name), later.share.get(name))
            if both is not None:
                share[name] = both
        return Point(later.step, lines, values, share)


class Curves:
    """generation: changes whenever points that were there before have changed, so that all have to be sent again."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.generation = 0
        self._each = 1  # lines that one point stands for
        self._open: Point | None = None  # the point that is not full yet

    def add(self, point: Point) -> None:
        """The next one; one of a step that was there already replaces what came from there on (`resume`)."""
        last = self._open or (self.points[-1] if self.points else None)
        if last is not None and point.lines and point.step <= last.step:
            self._forget_from(point.step)
        self._open = point if self._open is None else self._open.join(point)
        if self._open.lines >= self._each or (self._each == 1 and not self._open.lines):
            self.points.append(self._open)
            self._open = None
        if len(self.points) > MOST_POINTS:
            self._thin()

    def columns(self, since: int = 0) -> dict[str, Any]:
        """The points from number `since` on, as lists by name."""
        points = self.points[since:]
        names = dict.fromkeys(name for point in points for name in point.share)
        found: dict[str, Any] = {"step": [point.step for point in points]}
        for name in COLUMNS:
            found[name] = [_short(point.values.get(name)) for point in points]
        found["share"] = {name: [_short(point.share.get(name)) for point in points] for name in names}
        return found

    def _forget_from(self, step: int) -> None:
        self._open = None
        kept = [point for point in self.points if point.step < step]
        if len(kept) < len(self.points):
            self.points, self.generation = kept, self.generation + 1

    def _thin(self) -> None:
        pairs = zip(self.points[::2], self.points[1::2], strict=False)
        odd = self.points[-1:] if len(self.points) % 2 else []
        self.points = [first.join(second) for first, second in pairs]
        self._each *= 2
        self.generation += 1
        for point in odd:
            self._open = point if self._open is None else point.join(self._open)


def _short(value: float | None) -> float | None:
    """Six digits: a curve shows no more, and they are sent over and over."""
    return None if value is None else float(f"{value:.6g}")


def point_of(line: Mapping[str, Any], energy_j: float | None) -> Point:
    """That of a line of kind `step`."""
    shares = line.get("update_ratio_layer")
    values = {name: _number(line.get(name)) for name in ("loss", "writes", "pulses")}
    return Point(
        int(line["step"]),
        1,
        {**values, "energy_j": energy_j},
        {str(name): float(value) for name, value in _items(shares) if _number(value) is not None},
    )


def _items(values: object) -> Iterable[tuple[Any, Any]]:
    return values.items() if isinstance(values, dict) else ()


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
