"""What the browser is given: our own pages, scripts and style, the colours of all figures, and Bokeh's scripts.

Bokeh's scripts come out of the installed package, so that no request leaves the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from html import escape
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from eapu_hil.base import colours
from eapu_hil.hal import ConfigError

# Bokeh writes its style into the page; of all else, only what this server sends is run, shown or asked.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_MEDIA_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}


@dataclass(frozen=True)
class Asset:
    """A file for the browser."""

    content: bytes
    media_type: str


@lru_cache(maxsize=32)  # anybody may ask for any name
def asset(name: str) -> Asset | None:
    """The file of that name: `index.html`, `run.html`, `live.css`, `colours.css`, `charts.js` and our scripts.

    None where there is none. Raises ConfigError for `charts.js` where Bokeh is not installed.
    """
    if name == "charts.js":
        return Asset(_charts(), _MEDIA_TYPES[".js"])
    if name == "colours.css":
        return Asset(_colours().encode(), _MEDIA_TYPES[".css"])
    for file in files("eapu_hil.live").joinpath("page").iterdir():
        if file.name == name and (media_type := _MEDIA_TYPES.get(Path(name).suffix)):
            return Asset(file.read_bytes(), media_type)
    return None


def stopped_page(text: str, back: str) -> bytes:
    """The answer to a stop that was sent as a form: one sentence and the way back, an address on this server."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        '<title>Stop</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/static/live.css">'
        f'<main><h1>Stop</h1><p role="alert">{escape(text)}</p><p><a href="{escape(back)}">Back</a></p></main></html>'
    ).encode()


def _colours() -> str:
    light, dark = (
        "".join(f"--series-{number}:{colour};" for number, colour in enumerate(series, start=1))
        for series in (colours.SERIES, [colours.DARK[colour] for colour in colours.SERIES])
    )
    return f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"


def _charts() -> bytes:
    found = find_spec("bokeh")
    if found is None or found.origin is None:
        raise ConfigError("the live page's charts need bokeh: pip install 'eapu-hil[live]'")
    scripts = Path(found.origin).parent / "server" / "static" / "js"
    return b"\n".join((scripts / name).read_bytes() for name in ("bokeh.min.js", "bokeh-api.min.js"))
