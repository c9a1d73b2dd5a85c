"""A figure in the colours of a dark page, and all the files that a page shows of one figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.artist import Artist
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from eapu_hil.base.colours import GREY, INK
from eapu_hil.base.storage import write_beside
from eapu_hil.report.page_files import figure_files

GRID = "#e8ebee"
# On a dark card, see templates/report.html. The colours of curves can be told on both.
_DARK = {INK.lower(): "#e4e8ec", GREY.lower(): "#a3adb8", GRID: "#363d46", "#ffffff": "#1d2229"}
_COLOURS = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")


def save(figure: Figure, path: Path) -> None:
    """Writes `path`, or all `figure_files` where it ends neither in .png nor in .svg. Raises OSError.

    Files are written aside: a link in the place of one is replaced and not followed.
    """
    if path.suffix in (".png", ".svg"):
        _write(figure, path)
        return
    png, svg, dark = (path.with_name(name) for name in figure_files(path.name))
    _write(figure, png)
    figure.set_layout_engine("none")  # everything is where it belongs
    _write(figure, svg)
    _darken(figure)
    _write(figure, dark)


def _write(figure: Figure, path: Path) -> None:
    kind = path.suffix.removeprefix(".")
    metadata: dict[str, Any] = {"Date": None} if kind == "svg" else {}  # the same figure is the same file
    write_beside(path, lambda file: figure.savefig(file, format=kind, metadata=metadata))


def _darken(figure: Figure) -> None:
    for axes in figure.axes:
        axes.tick_params(which="both", color=_DARK[GREY.lower()], labelcolor=_DARK[GREY.lower()])
    for artist in figure.findobj(Artist):
        for name in _COLOURS:
            ask, change = getattr(artist, f"get_{name}", None), getattr(artist, f"set_{name}", None)
            if ask is None or change is None:
                continue
            try:
                colour = to_hex(ask()).lower()
            except (ValueError, TypeError):  # none, or one of each element
                continue
            if colour in _DARK:
                change(_DARK[colour])
