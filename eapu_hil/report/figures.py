"""The figures of a report, drawn from plain arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.colours import BLUE, GREY, INK, SERIES, SKY, VERMILLION
from eapu_hil.base.printable import printable
from eapu_hil.base.quantities import count
from eapu_hil.hal import ConfigError

try:  # `as`: handed on to modules with more figures, so that one place says what is missing
    import matplotlib
    from matplotlib.axes import Axes as Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Colormap
    from matplotlib.colors import Normalize as Normalize
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
    from matplotlib.ticker import MaxNLocator as MaxNLocator

    from eapu_hil.report.dark import GRID, save
except ImportError as error:
    raise ConfigError("figures need matplotlib: pip install 'eapu-hil[train]'") from error

ARRAYS_DRAWN_MAX = 8
WIDTH_IN = 8.6  # of every figure

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.dpi": 180,
    "svg.hashsalt": "eapu-hil",
}


@dataclass(frozen=True, eq=False)
class Curve:
    """One line of a plot: x and y of equal length, colour (None: the next one), hollow: points drawn as rings."""

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    colour: str | None = None
    hollow: NDArray[np.bool_] | None = None


def draw_training(
    path: Path, loss: Curve, metric: Curve, metric_label: str, metric_input: float | None
) -> None:
    """Loss per step (faint: every step, strong: moving average) beside the metric of each evaluation."""
    with new_figure(path, 3.0) as figure:
        left, right = figure.subplots(1, 2)
        left.plot(loss.x, loss.y, color=SKY, linewidth=0.5, alpha=0.6)
        left.plot(*_averaged(loss), color=BLUE)
        left.set_title("Loss")
        _log_axis(left)
        _points(right, metric, BLUE, 1.6)
        right.set_title(metric_label)
        if metric_input is not None:
            right.axhline(metric_input, color=GREY, linestyle=(0, (4, 3)), linewidth=1)
            _note(right, f"input {metric_input:.2f}", metric_input)
        for axes in (left, right):
            _step_axis(axes)


def draw_curves(path: Path, curves: Sequence[Curve], title: str, *, log: bool, average: bool = True) -> None:
    """Several curves over the steps with their names at the right end."""
    with new_figure(path, max(3.2, 0.23 * len(curves) + 0.6)) as figure:
        axes = figure.subplots()
        for curve, colour, width, style in _told_apart(curves):
            if not average:
                _points(axes, curve, colour, width, style)
                continue
            x, y = _averaged(curve)
            axes.plot(x, np.where(y > 0, y, np.nan) if log else y, label=curve.name, color=colour,
                      linewidth=width, linestyle=style)  # fmt: skip
        if log:
            _log_axis(axes)
        axes.set_title(title)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), handlelength=1.4)
        _step_axis(axes)


def _told_apart(curves: Sequence[Curve]) -> Iterator[tuple[Curve, str, float, str]]:
    """Each curve with colour, width and line: later ones are thinner, so that they hide none that is the same."""
    free = [c for c in SERIES if c not in {curve.colour for curve in curves}] or [*SERIES]
    looks = cycle((colour, style) for style in ("-", "--", ":") for colour in free)
    for number, curve in enumerate(curves):
        colour, style = (curve.colour, "-") if curve.colour else next(looks)
        yield curve, colour, max(2.4 - 0.4 * number, 1.2), style


def _points(axes: Axes, curve: Curve, colour: str, width: float, style: str = "-") -> None:
    axes.plot(curve.x, curve.y, color=colour, linewidth=width, linestyle=style)
    hollow = np.zeros(curve.x.shape, np.bool_) if curve.hollow is None else curve.hollow
    axes.plot(curve.x[~hollow], curve.y[~hollow], color=colour, marker="o", markersize=3, linestyle="")
    axes.plot(curve.x[hollow], curve.y[hollow], color=colour, marker="o", markersize=5, linestyle="",
              markerfacecolor="white")  # fmt: skip
    axes.plot([], [], color=colour, linewidth=width, linestyle=style, label=curve.name)


def draw_conductance(
    path: Path, before_S: Mapping[int, NDArray[Any]], after_S: Mapping[int, NDArray[Any]]
) -> None:
    """Maps of each array before and after, on one scale, and the change; conductances in S, (rows, cols)."""
    rows = {"before": before_S, "after": after_S}
    scaled = {name: {k: 1e6 * g for k, g in maps.items()} for name, maps in rows.items() if maps}
    values = np.concatenate([g.ravel() for maps in scaled.values() for g in maps.values()])
    low, high = np.nanpercentile(values, [0.1, 99.9])
    layers = [
        _Layer(maps, name, Normalize(low, high), colours("cividis"), "µS") for name, maps in scaled.items()
    ]
    if before_S and after_S:
        change = {k: scaled["after"][k] - g for k, g in scaled["before"].items() if k in scaled["after"]}
        reach = max(float(np.nanpercentile(np.abs(np.stack(list(change.values()))), 99.5)), 1e-3)
        layers.append(_Layer(change, "change", Normalize(-reach, reach), colours("RdBu_r"), "µS"))
    _maps(path, layers)


def draw_wear(path: Path, pulses: Mapping[int, NDArray[Any]]) -> None:
    """Pulses that each cell took; arrays of shape (rows, cols)."""
    values = np.concatenate([p.ravel() for p in pulses.values()])
    high = max(float(np.nanpercentile(values, 99.8)), 1.0)
    _maps(path, [_Layer(pulses, "pulses", Normalize(0, high), colours("magma_r"), "pulses")])


def draw_write_error(path: Path, error_S: NDArray[np.floating[Any]], converged: NDArray[np.bool_]) -> None:
    """Histogram of last verify reading minus target, in S, of cells that converged and those that did not."""
    error = 1e6 * error_S
    reach = max(float(np.percentile(np.abs(error), 99.8)), 1e-3) * 1.1
    bins = np.linspace(-reach, reach, 81)
    with new_figure(path, 2.9) as figure:
        axes = figure.subplots()
        names = (f"in band ({count(converged.sum())})", f"not converged ({count((~converged).sum())})")
        axes.hist([error[converged], error[~converged]], bins=[*bins], stacked=True, color=[BLUE, VERMILLION],
                  label=names if not converged.all() else (names[0], "_none"))  # fmt: skip
        if not converged.all():  # the few that failed would not be seen
            _log_axis(axes)
            axes.set_ylim(bottom=0.7)
        axes.set_xlabel("last verify reading minus target (µS)")
        axes.set_ylabel("requests", color=GREY)
        outside = int(np.sum(np.abs(error) > reach))
        beyond = f"; {count(outside)} beyond ±{reach:.2g} µS not drawn" if outside else ""
        axes.set_title(f"Mean {error.mean():+.3f} µS, standard deviation {error.std():.3f} µS{beyond}")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), handlelength=1.0)
        axes.grid(axis="x", visible=False)


@dataclass(frozen=True, eq=False)
class _Layer:
    """One kind of map of every array, with its colours."""

    maps: Mapping[int, NDArray[Any]]
    name: str
    normal: Normalize
    colours: Colormap
    unit: str


def _maps(path: Path, layers: Sequence[_Layer]) -> None:
    """Few arrays stand below each other, their kinds of map side by side; many arrays the other way round."""
    arrays = sorted({k for layer in layers for k in layer.maps})[:ARRAYS_DRAWN_MAX]
    n_rows, n_cols = next(iter(layers[0].maps.values())).shape
    down = len(layers) > len(arrays)
    across = len(layers) if down else len(arrays)
    height = min((WIDTH_IN - 1.0) / across * n_rows / n_cols, 3.0 if down else 2.4)
    total = (height + 0.3) * (len(arrays) if down else len(layers)) + (0.6 if down else 0.0)
    with new_figure(path, total, layout="compressed") as figure:
        grid = figure.subplots(len(layers), len(arrays), squeeze=False) if not down else (
            figure.subplots(len(arrays), len(layers), squeeze=False).T
        )  # fmt: skip
        for line, layer in zip(grid, layers, strict=True):
            for axes, k in zip(line, arrays, strict=True):
                axes.grid(visible=False)
                axes.set_xticks([])
                axes.set_yticks([])
                axes.spines[:].set_visible(False)
                if k in layer.maps:
                    axes.imshow(layer.maps[k], cmap=layer.colours, norm=layer.normal, interpolation="nearest")
                name = f"array {k}, {layer.name}" if down else f"array {k}"
                if down or layer is layers[0]:
                    axes.set_title(name, loc="center", fontweight="normal", fontsize=8.5)
            if not down and len(layers) > 1:
                line[0].set_ylabel(layer.name)
            bar = figure.colorbar(
                ScalarMappable(layer.normal, layer.colours), ax=list(line), shrink=0.8, aspect=18, pad=0.02,
                location="bottom" if down else "right",
            )  # fmt: skip
            bar.set_label(layer.unit, color=GREY)
            bar.outline.set_visible(False)


def colours(name: str) -> Colormap:
    """A colour map of matplotlib's; what is not known is grey."""
    return matplotlib.colormaps[name].with_extremes(bad="#b9c0c8")


def _averaged(curve: Curve, points: int = 80) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means over equal stretches of steps, at most `points` of them; what is missing does not count."""
    if curve.x.size <= points:
        return curve.x, curve.y
    stretch = np.arange(curve.x.size) * points // curve.x.size
    known = np.isfinite(curve.y)
    total = np.bincount(stretch, np.where(known, curve.y, 0.0), points)
    with np.errstate(invalid="ignore"):
        mean = total / np.bincount(stretch, known, points)
    return np.bincount(stretch, curve.x, points) / np.bincount(stretch, minlength=points), mean


def _note(axes: Axes, text: str, y: float) -> None:
    where: Any = ("axes fraction", "data")
    axes.annotate(text, (1, y), (0, 3), xycoords=where, textcoords="offset points", ha="right", color=GREY)


def _log_axis(axes: Axes) -> None:
    """Plain numbers: anywhere where the axis spans little, at 1, 2, 5, or at powers of ten where it spans much."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    subs = (1.0, 2.0, 5.0) if high / low < 200 else (1.0,)
    axes.yaxis.set_major_locator(MaxNLocator(5) if high / low < 5 else LogLocator(subs=subs, numticks=8))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _step_axis(axes: Axes) -> None:
    axes.set_xlabel("step", color=GREY)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.02)


@contextmanager
def new_figure(
    path: Path, height_in: float, layout: Literal["constrained", "compressed"] = "constrained"
) -> Iterator[Figure]:
    """A figure in the style of all reports, saved to `path` at the end, or as several files; see `dark.save`."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever the user's matplotlibrc says
        matplotlib.rcParams.update(_STYLE)
        figure = Figure(figsize=(WIDTH_IN, height_in), layout=layout)
        yield figure
        _take_names_as_they_are(figure)
        save(figure, path)


def _take_names_as_they_are(figure: Figure) -> None:
    """A name from a file may hold `$`, which begins a formula for matplotlib; only its own tick labels are some."""
    texts = figure.findobj(Text)  # first: this makes all ticks that there are
    axes = [axis for one in figure.axes for axis in (one.xaxis, one.yaxis)]
    ticks = [tick for axis in axes for tick in (*axis.majorTicks, *axis.minorTicks)]
    own = {id(label) for tick in ticks for label in (tick.label1, tick.label2)}
    for text in texts:
        if isinstance(text, Text) and id(text) not in own:
            text.set_parse_math(False)
            text.set_text(printable(text.get_text()))  # control characters would also break an SVG
