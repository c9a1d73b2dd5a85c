"""The figures of a table's report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.colours import BLUE, GREY, INK, SKY, VERMILLION
from eapu_hil.report.figures import new_figure

_MARKERS = "osD^v<"


@dataclass(frozen=True)
class Point:
    """One setting of a rule. number: 0 for the chosen one."""

    pulses: float
    quality: float
    number: int


@dataclass(frozen=True)
class RuleCurve:
    """The settings of one rule, by pulses. colour: of the rule; relatives share one and differ by their marker."""

    rule: str
    points: list[Point]
    colour: str | None = None


def draw_quality(path: Path, curves: Sequence[RuleCurve], title: str, digital: float | None) -> None:
    """Quality over pulses, one curve a rule; digital: a dashed line."""
    with new_figure(path, 5.2) as figure:
        axes = figure.subplots()
        drawn: Counter[str] = Counter()
        for curve in curves:
            colour = curve.colour or GREY
            marker = _MARKERS[drawn[colour] % len(_MARKERS)]
            drawn[colour] += 1
            x, y = [p.pulses for p in curve.points], [p.quality for p in curve.points]
            axes.plot(x, y, color=colour, linewidth=1.2, marker=marker, markersize=4, label=curve.rule,
                      markerfacecolor="white")  # fmt: skip
            for point in curve.points:
                if point.number == 0:
                    axes.plot(point.pulses, point.quality, color=colour, marker=marker, markersize=6)
        if digital is not None:
            axes.axhline(digital, color=GREY, linestyle=(0, (4, 3)), linewidth=1)
        axes.set_xscale("log")
        # What fails altogether would take the room of all others.
        quality = np.array([point.quality for curve in curves for point in curve.points])
        best = float(quality.max())
        span = max(float(np.percentile(best - quality, 75)), 1e-3)
        lowest = max(best - 2.2 * span, float(quality.min()) - 0.1 * span)
        axes.set_ylim(lowest, max(best, digital or best) + 0.15 * span)
        axes.set_title(title)
        axes.set_xlabel("pulses of the run", color=GREY)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), handlelength=1.6)


def draw_ratio(path: Path, reuse: NDArray[np.float64], curves: Mapping[str, NDArray[np.float64]]) -> None:
    """Energy ratios over the reuse of a weight; dashed: what is claimed."""
    with new_figure(path, 3.2) as figure:
        axes = figure.subplots()
        for (name, ratio), colour in zip(curves.items(), cycle((SKY, BLUE, INK, VERMILLION)), strict=False):
            axes.plot(reuse, ratio, color=colour, label=name)
        axes.axhline(50, color=GREY, linestyle=(0, (4, 3)), linewidth=1)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("products per weight and step", color=GREY)
        axes.set_title("Training energy, bp over eapu (dashed: 50)")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), handlelength=1.6)
