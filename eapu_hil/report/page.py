"""One HTML page: tiles with headline numbers, sections with a figure, tables and folded texts.

It lies beside its figures, or holds them: then it is one file that can be mailed.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from eapu_hil.base.printable import printable
from eapu_hil.base.storage import storage_errors, write_beside
from eapu_hil.hal import ConfigError
from eapu_hil.report.page_files import PAGE, STANDALONE, figure_files

try:
    import jinja2
except ImportError as error:
    raise ConfigError("a report needs jinja2: pip install 'eapu-hil[train]'") from error


@dataclass(frozen=True)
class Tile:
    """One headline number."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class PageTable:
    """The first `text_columns` columns are text, the others numbers. `total`: the last row is a sum.

    links: where the names in the first column lead to, relative to the page.
    """

    rows: list[list[str]]
    head: list[str] = field(default_factory=list)
    text_columns: int = 1
    total: bool = False
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """A statement, a verdict in a word or two, and the lines that support it; `note` comes last."""

    statement: str
    verdict: str
    lines: list[str]
    note: str = ""


@dataclass(frozen=True)
class PageSection:
    """A part of the page. `details` are folded texts.

    figure: its name in figures/, without the end. alt: what is seen in it, for who does not see it.
    """

    title: str
    text: str = ""
    figure: str = ""
    tables: list[PageTable] = field(default_factory=list)
    details: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    alt: str = ""


@dataclass(frozen=True)
class _Picture:
    """Addresses of the files of a figure. files: those to take along, by their kind; none in a page that is mailed."""

    light: str
    dark: str
    files: dict[str, str]


def heading(name: str) -> str:
    """A name as a heading: blanks for underscores, a capital in front. Of `module:Class` the class."""
    text = name.rpartition(":")[2].replace("_", " ")
    return text[:1].upper() + text[1:]


def render(
    directory: Path,
    title: str,
    subtitle: str,
    notices: list[str],
    tiles: list[Tile],
    sections: list[PageSection],
    *,
    standalone: bool = False,
) -> Path:
    """Writes the page into `directory` and returns its path. standalone: as one file. Raises StorageError."""
    loader = jinja2.PackageLoader("eapu_hil.report", "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, finalize=_printable
    )
    folder = directory / "figures"
    with storage_errors(folder):
        pictures = {its.figure: _picture(folder, its.figure, standalone) for its in sections if its.figure}
    page = environment.get_template("report.html").render(
        title=title,
        subtitle=subtitle,
        notices=notices,
        tiles=tiles,
        sections=sections,
        pictures=pictures,
        standalone=standalone,
    )
    path = directory / (STANDALONE if standalone else PAGE)
    with storage_errors(path):
        write_beside(path, lambda file: file.write(page.encode()))  # in place of a link, not through it
    return path


def _picture(folder: Path, name: str, standalone: bool) -> _Picture:
    png, svg, dark = figure_files(name)
    if standalone:
        return _Picture(_inside(folder / svg), _inside(folder / dark), {})
    light, dark, png = (f"{folder.name}/{quote(file)}" for file in (svg, dark, png))
    return _Picture(light, dark, {"PNG": png, "SVG": light})


def _inside(file: Path) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(file.read_bytes()).decode()


def _printable(value: object) -> object:
    return printable(value) if isinstance(value, str) else value
