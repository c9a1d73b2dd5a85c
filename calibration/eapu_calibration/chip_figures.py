"""Figures of the page of a chip: where its bad cells are, and how what was written has drifted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.colours import GREY, INK, SERIES
from eapu_hil.bench.cellcsv import status_text
from eapu_hil.bench.entries import Measurement
from eapu_hil.hal import CellStatus
from eapu_hil.report.figures import ARRAYS_DRAWN_MAX, WIDTH_IN, Axes, MaxNLocator, new_figure

_COLOURS = (*SERIES, INK)
_SHAPES = "sov^Dx*"  # kinds are told apart without colour too


def draw_bad_cells(path: Path, bad: Mapping[int, NDArray[Any]]) -> None:
    """Maps of the cells of each array whose `CellStatus`, (rows, columns), is not OK."""
    shown = dict(list(bad.items())[:ARRAYS_DRAWN_MAX])
    rows, columns = next(iter(shown.values())).shape
    height = min(3.2, (WIDTH_IN - 2.0) / len(shown) * rows / columns)
    kinds = sorted({int(value) for status in shown.values() for value in np.unique(status)} - {CellStatus.OK})
    with new_figure(path, height + 0.6, layout="compressed") as figure:
        all_axes = figure.subplots(1, len(shown), squeeze=False)[0]
        for axes, (number, status) in zip(all_axes, shown.items(), strict=True):
            for kind, colour, shape in zip(kinds, cycle(_COLOURS), cycle(_SHAPES), strict=False):
                row, col = np.nonzero(status == kind)
                name = status_text(kind).lower().replace("_", " ")
                axes.scatter(col, row, s=10, marker=shape, color=colour, label=name)
            axes.set_xlim(-0.5, columns - 0.5)
            axes.set_ylim(rows - 0.5, -0.5)
            axes.set_aspect("equal")
            axes.spines[:].set_visible(True)
            axes.grid(visible=False)
            axes.set_title(
                f"array {number}: {np.count_nonzero(status)} bad", fontsize=8.5, fontweight="normal"
            )
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
        all_axes[-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), handlelength=1.0)
        all_axes[0].set_ylabel("row", color=GREY)
        all_axes[0].set_xlabel("column", color=GREY)


def draw_drift(path: Path, looks: Sequence[Measurement]) -> None:
    """Of entries `drift`: share of cells out of their band, and sd and mean of the error, over the looks."""
    one_clock = len({entry.clock for entry in looks}) == 1
    numbers = {entry.number: float(place) for place, entry in enumerate(looks, start=1)}
    times_h = {entry.number: (entry.clock_s - looks[0].clock_s) / 3600 for entry in looks}
    place = times_h if one_clock and len(looks) > 1 else numbers
    label = "time since the first look (h)" if place is times_h else "look"
    with new_figure(path, 3.0) as figure:
        left, right = figure.subplots(1, 2)
        arrays = sorted({int(entry.values["array"]) for entry in looks})
        for number, colour, shape in zip(arrays, cycle(_COLOURS), cycle(_SHAPES), strict=False):
            mine = [entry for entry in looks if entry.values["array"] == number]
            x = [place[entry.number] for entry in mine]
            out = [100 * entry.values["out"] / max(entry.values["cells"], 1) for entry in mine]
            left.plot(x, out, color=colour, marker=shape, markersize=4, label=f"array {number}")
            for key, name, style in (("error_sd_S", "sd", "-"), ("error_mean_S", "mean", (0, (4, 3)))):
                known = [entry for entry in mine if entry.values[key] is not None]
                look = {
                    "color": colour,
                    "linestyle": style,
                    "marker": shape,
                    "label": f"array {number}, {name}",
                }
                _error(right, [place[entry.number] for entry in known], known, key, look)
        left.set_title("Cells out of their band (%)")
        left.set_ylim(bottom=0)
        right.set_title("Reading minus target (µS)")
        right.axhline(0.0, color=GREY, linewidth=0.8)
        right.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), handlelength=2.2)
        for axes in (left, right):
            axes.set_xlabel(label, color=GREY)
            if place is numbers:
                axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _error(axes: Axes, x: Sequence[float], entries: Sequence[Measurement], key: str, style: Any) -> None:
    ends = [1e6 * np.array([entry.values[key][end] for entry in entries]) for end in ("value", "low", "high")]
    reach = np.maximum([ends[0] - ends[1], ends[2] - ends[0]], 0.0)
    axes.errorbar(x, ends[0], reach, capsize=2, linewidth=1.2, markersize=4, **style)
