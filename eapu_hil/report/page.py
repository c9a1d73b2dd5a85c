"""One HTML page: tiles with headline numbers, sections with a figure, tables and folded texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from eapu_hil.base.printable import printable
from eapu_hil.base.storage import storage_errors, write_aside
from eapu_hil.hal import ConfigError

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
    """The first `text_columns` columns are text, the others numbers. `total`: the last row is a sum."""

    rows: list[list[str]]
    head: list[str] = field(default_factory=list)
    text_columns: int = 1
    total: bool = False


@dataclass(frozen=True)
class Finding:
    """A statement, a verdict in a word or two, and the lines that support it; `note` comes last."""

    statement: str
    verdict: str
    lines: list[str]
    note: str = ""


@dataclass(frozen=True)
class PageSection:
    """A part of the page. `figure` is a file name in figures/; `details` are folded texts."""

    title: str
    text: str = ""
    figure: str = ""
    tables: list[PageTable] = field(default_factory=list)
    details: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


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
) -> Path:
    """Writes `directory`/report.html. Raises StorageError."""
    loader = jinja2.PackageLoader("eapu_hil.report", "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, finalize=_printable
    )
    page = environment.get_template("report.html").render(
        title=title, subtitle=subtitle, notices=notices, tiles=tiles, sections=sections
    )
    path = directory / "report.html"
    with storage_errors(path):
        write_aside(path, lambda file: file.write(page.encode()))  # in place of a link, not through it
    return path


def _printable(value: object) -> object:
    return printable(value) if isinstance(value, str) else value
