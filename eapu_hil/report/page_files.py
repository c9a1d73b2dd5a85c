"""The names of a page's files."""

from __future__ import annotations

PAGE, STANDALONE = "report.html", "report-standalone.html"


def figure_files(name: str) -> tuple[str, str, str]:
    """Those of one figure: PNG and SVG, and an SVG for dark pages."""
    return f"{name}.png", f"{name}.svg", f"{name}_dark.svg"
