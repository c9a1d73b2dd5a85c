"""One picture of the cells that a command worked on: maps of conductance and pulses, and histograms beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.colours import BLUE, GREY, VERMILLION
from eapu_hil.base.quantities import count
from eapu_hil.hal import CellStatus
from eapu_hil.report.figures import Axes, MaxNLocator, Normalize, colours, new_figure

Columns = Mapping[str, NDArray[Any]]
_HEIGHT_IN = 3.9
_CROSS = "\u00d7"  # how a marked cell looks in the map
_BINS = 60
_MARKS, _MARKED_SHARE = 20, 0.03  # so many cells, or this part of them, are marked in the map


class _Map(NamedTuple):
    """Values of the cells, with what the map is called and its unit."""

    values: NDArray[Any]
    title: str
    unit: str
    colours: str
    normal: Normalize


def draw_cells(path: Path, columns: Columns, caption: str = "") -> None:
    """Draws cells to `path`, of which some may be marked.

    columns: by the names of `RESULT_HEADER`; row, col, g_uS and status have to be there. status: as a number. Where
    there is a column `out`, cells with True are marked, otherwise those whose status is not OK. caption: whose cells.
    Raises OSError.
    """
    maps, rows = _maps(columns), _histograms(columns)
    names = [f"map{number}" for number in range(len(maps))]
    layout: list[Any] = [[*names, row] for row in rows]
    with new_figure(path, _HEIGHT_IN) as figure:
        axes = figure.subplot_mosaic(layout)
        figure.supxlabel(caption, x=0.99, ha="right", fontsize=8, color=GREY)
        for name, one in zip(names, maps, strict=True):
            _draw_map(axes[name], one, columns, first=one is maps[0])
        for row, draw in rows.items():
            draw(axes[row], columns)


def _maps(columns: Columns) -> list[_Map]:
    g_uS = columns["g_uS"]
    known = g_uS[np.isfinite(g_uS) & _fine(columns)]  # a stuck cell would take all colours
    low, high = np.percentile(known, [0.1, 99.9]) if known.size else (0.0, 1.0)
    maps = [_Map(g_uS, "Conductance", "µS", "cividis", Normalize(low, high))]
    if "pulses" in columns:
        most = max(float(np.nanmax(columns["pulses"], initial=1.0)), 1.0)
        maps.append(_Map(columns["pulses"], "Pulses", "pulses", "magma_r", Normalize(0, most)))
    elif "g_target_uS" in columns:
        error = _error_uS(columns)
        reach = max(_reach(error), 1e-3)
        maps.append(_Map(error, "Reading minus target", "µS", "RdBu_r", Normalize(-reach, reach)))
    return maps


def _histograms(columns: Columns) -> dict[str, Any]:
    """What draws each of the histograms, by name, from above."""
    if "g_target_uS" in columns:
        found: dict[str, Any] = {"error": _draw_error}
    elif "v_form_v" in columns:
        found = {"forming": _draw_forming}
    else:
        found = {"conductance": _draw_conductance}
    return {**found, "counts": _draw_pulses} if "pulses" in columns else found


def _draw_map(axes: Axes, one: _Map, columns: Columns, *, first: bool) -> None:
    row, col = columns["row"].astype(int), columns["col"].astype(int)
    if not row.size:
        axes.set_axis_off()
        return
    shape = (int(np.ptp(row)) + 1, int(np.ptp(col)) + 1)
    image = np.full(shape, np.nan)
    image[row - row.min(), col - col.min()] = one.values
    edges = (col.min() - 0.5, col.max() + 0.5, row.max() + 0.5, row.min() - 0.5)
    shown = axes.imshow(
        image,
        cmap=colours(one.colours),
        norm=one.normal,
        interpolation="nearest",
        extent=edges,
        aspect="equal",
    )
    axes.grid(visible=False)
    axes.set_title(one.title)
    axes.set_xlabel("column", color=GREY)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
    if first:
        axes.set_ylabel("row", color=GREY)
        _mark(axes, row, col, columns)
    bar = axes.figure.colorbar(
        shown, ax=axes, location="bottom", shrink=0.9, aspect=18, extend=_beyond(one.values, one.normal)
    )
    bar.set_label(f"{one.unit}; grey: none" if np.isnan(image).any() else one.unit, color=GREY)
    bar.outline.set_visible(False)


def _beyond(values: NDArray[Any], normal: Normalize) -> Literal["neither", "both", "min", "max"]:
    """At which ends of the scale there are values that do not fit on it."""
    with np.errstate(invalid="ignore"):
        below, above = bool(np.any(values < normal.vmin)), bool(np.any(values > normal.vmax))
    return "both" if below and above else "min" if below else "max" if above else "neither"


def _mark(axes: Axes, row: NDArray[Any], col: NDArray[Any], columns: Columns) -> None:
    marked = _marked(columns)
    if _shows_marks(marked):
        for colour, width in (("white", 3.0), ("black", 1.2)):  # is seen on every colour of the map
            axes.scatter(col[marked], row[marked], s=18, marker="x", color=colour, linewidths=width)


def _marked(columns: Columns) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.asarray(columns.get("out", ~_fine(columns)), dtype=bool)
    return found


def _shows_marks(marked: NDArray[np.bool_]) -> bool:
    """Many marks would hide the map."""
    return 0 < int(marked.sum()) <= max(_MARKS, _MARKED_SHARE * marked.size)


def _fine(columns: Columns) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = columns["status"] == CellStatus.OK
    return found


def _error_uS(columns: Columns) -> NDArray[np.float64]:
    error: NDArray[np.float64] = columns["g_uS"] - columns["g_target_uS"]
    return error


def _reach(values: NDArray[np.float64]) -> float:
    known = np.abs(values[np.isfinite(values)])
    return float(np.percentile(known, 99.5)) if known.size else 0.0


def _draw_error(axes: Axes, columns: Columns) -> None:
    error = _error_uS(columns)
    known = error[np.isfinite(error) & _fine(columns)]
    reach = 1.1 * max(_reach(error), 1e-3)
    _draw_both(axes, np.clip(error, -reach, reach), columns, [*np.linspace(-reach, reach, _BINS + 1)])
    text = f"mean {known.mean():+.2f}, sd {known.std():.2f} µS" if known.size else "no cell could be read"
    axes.set_title(f"Error: {text}")
    beyond = int(np.count_nonzero(np.abs(error) > reach))
    more = f"; {count(beyond)} beyond" if beyond else ""
    axes.set_xlabel(f"reading minus target (µS){more}", color=GREY)


def _draw_conductance(axes: Axes, columns: Columns) -> None:
    g_uS = columns["g_uS"]
    _draw_both(axes, g_uS, columns, _BINS)
    axes.set_title("Conductance of the cells")
    axes.set_xlabel("conductance (µS)", color=GREY)


def _draw_forming(axes: Axes, columns: Columns) -> None:
    v_form_v = columns["v_form_v"]
    voltages_v, cells = np.unique(v_form_v[np.isfinite(v_form_v)].round(6), return_counts=True)
    step_v = np.diff(voltages_v).min() if voltages_v.size > 1 else 0.1
    axes.bar(voltages_v, cells, 0.9 * step_v, color=BLUE)
    marked = _marked(columns)
    cross = f"{_CROSS} " if _shows_marks(marked) else ""
    left = f", {cross}{count(marked.sum())} not OK" if marked.any() else ""
    axes.set_title(f"{count(cells.sum())} formed now{left}")
    axes.set_xlabel("forming voltage (V)", color=GREY)
    _cells_axis(axes)


def _draw_pulses(axes: Axes, columns: Columns) -> None:
    pulses = columns["pulses"]
    known = pulses[np.isfinite(pulses)]
    most = int(known.max(initial=0))
    bins = [*np.arange(-0.5, most + 1.5, max(1, (most + 1) // _BINS))]
    axes.hist(known, bins=bins, color=BLUE)
    axes.set_title(f"{count(known.sum())} pulses in all")
    axes.set_xlabel("pulses of a cell", color=GREY)
    _cells_axis(axes)


def _draw_both(axes: Axes, values: NDArray[np.float64], columns: Columns, bins: Any) -> None:
    """A histogram in which the cells that are marked stand on top of the others."""
    marked, known = _marked(columns), np.isfinite(values)
    what, fine = ("out of band", "in band") if "out" in columns else ("not OK", "OK")
    crosses = f", {_CROSS} in the map" if _shows_marks(marked) else ""
    labels = [f"{fine} ({count((~marked).sum())})", f"{what} ({count(marked.sum())}){crosses}"]
    parts = [values[known & ~marked], values[known & marked]]
    axes.hist(parts, bins=bins, stacked=True, color=[BLUE, VERMILLION], label=labels)
    if marked.any():
        axes.set_ylim(top=1.45 * axes.get_ylim()[1])  # room for the legend
        axes.legend(loc="upper left", handlelength=1.0, borderaxespad=0.1)
    _cells_axis(axes)


def _cells_axis(axes: Axes) -> None:
    axes.set_ylabel("cells", color=GREY)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(axis="x", visible=False)
