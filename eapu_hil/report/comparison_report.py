"""The report of a comparison: the same experiment under several rules, in one table and overlaid curves."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from eapu_hil.base.quantities import MISSING, MetricStyle, count
from eapu_hil.base.storage import storage_errors
from eapu_hil.hal import ConfigError
from eapu_hil.report.comparison_data import read_comparison
from eapu_hil.report.overlay import curves, links_to, results, unfinished
from eapu_hil.report.page import PageSection, PageTable, Tile, heading, render
from eapu_hil.report.rundata import RunData, bench_text

_RATIOS = {"writes_total": "cell writes", "pulses_total": "pulses", "energy_j": "energy"}


def write_comparison_report(
    directory: Path, allow_modules: Collection[str] = (), *, standalone: bool = False
) -> Path:
    """Writes the figures and the page from comparison.json and the runs, also of a comparison that has not ended.

    Returns the path of the page. allow_modules: see `write_report`. Raises ConfigError when `directory` holds no
    comparison, or none of its runs has begun.
    """
    comparison = read_comparison(directory)
    planned = comparison.get("planned") or list(comparison["rules"])
    runs = {
        name: RunData.read(directory / name, allow_modules)
        for name in planned
        if name in comparison["rules"] or (directory / name / "start.yaml").is_file()
    }
    if not runs:
        raise ConfigError(f"{directory}: none of its runs has begun; planned are {', '.join(planned)}")
    first = next(iter(runs.values()))
    style = first.style
    with storage_errors(directory):
        folder = directory / "figures"
        folder.mkdir(exist_ok=True)
        summaries = {name: comparison["rules"].get(name, run.summary) for name, run in runs.items()}
        sections = [_table(runs, summaries, directory), *curves(folder, runs)]
        sections += [_ratios(comparison, style)] if comparison.get("ratios") else []
        title = f"{heading(first.task)} under {len(planned)} rules"
        steps, seed = count(first.experiment.get("steps")), first.experiment.get("seed")
        subtitle = f"on {bench_text(first)} \u00b7 {steps} steps each \u00b7 seed {seed}"
        notices = [*_missing(planned, runs, directory), *unfinished(runs)]
        return render(
            directory, title, subtitle, notices, _tiles(summaries, style), sections, standalone=standalone
        )


def _missing(planned: list[str], runs: Mapping[str, RunData], directory: Path) -> list[str]:
    missing = [name for name in planned if name not in runs]
    if not missing:
        return []
    return [
        f"This comparison has not ended. Not begun: {', '.join(missing)}. The command that made it goes on with "
        f"--out {directory}."
    ]


def _tiles(summaries: Mapping[str, Mapping[str, Any]], style: MetricStyle) -> list[Tile]:
    return [
        Tile(f"{style.label}, {name}", style.text((summary.get("metric") or {}).get("final")))
        for name, summary in summaries.items()
        if summary
    ]


def _table(
    runs: Mapping[str, RunData], summaries: Mapping[str, Mapping[str, Any]], directory: Path
) -> PageSection:
    section = results(runs, summaries, links_to(runs, directory))
    text = f"All rules start from the same weights and see the same batches. {section.text}"
    return PageSection(section.title, text, tables=section.tables)


def _ratios(comparison: Mapping[str, Any], style: MetricStyle) -> PageSection:
    rows = []
    for pair, ratios in comparison["ratios"].items():
        cells = [MISSING if ratios.get(key) is None else f"{ratios[key]:.3g}" for key in _RATIOS]
        rows.append(
            [pair.replace("/", " : "), style.text(ratios.get("metric_difference"), sign=True), *cells]
        )
    head = ["pair", f"{style.label} difference", *_RATIOS.values()]
    return PageSection(
        "Pairs", "The first rule's numbers divided by the second's.", tables=[PageTable(rows, head)]
    )
