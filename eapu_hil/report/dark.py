"""A figure in the colours of a dark page, and all the files that a page shows of one figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.artist import Artist
from matplotlib.collections import Collection
from matplotlib.colors import to_hex, to_rgba, to_rgba_array
from matplotlib.figure import Figure

from eapu_hil.base.colours import DARK, DARK_CARD, GREY, LIGHT_CARD
from eapu_hil.base.storage import write_beside
from eapu_hil.report.page_files import figure_files

GRID = "#e8ebee"
_DARK = {**DARK, GRID: "#363d46", LIGHT_CARD: DARK_CARD}  # on the dark card of templates/report.html
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
        axes.tick_params(which="both", color=_DARK[GREY], labelcolor=_DARK[GREY])
    for artist in figure.findobj(Artist):
        if isinstance(artist, Collection):  # its colours are a list, one of each element
            artist.set_facecolor(_in_the_dark(artist.get_facecolor()))
            artist.set_edgecolor(_in_the_dark(artist.get_edgecolor()))
            continue
        for name in _COLOURS:
            ask, change = getattr(artist, f"get_{name}", None), getattr(artist, f"set_{name}", None)
            if ask is None or change is None:
                continue
            try:
                colour = to_hex(ask()).lower()
            except (ValueError, TypeError):  # none
                continue
            if colour in _DARK:
                change(_DARK[colour])


def _in_the_dark(colours: Any) -> list[Any]:
    """Colours of the elements of a collection, with the same opacity."""
    return [to_rgba(_DARK.get(to_hex(one).lower(), to_hex(one)), one[3]) for one in to_rgba_array(colours)]
