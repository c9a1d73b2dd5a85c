"""The report of a comparison: the same experiment under several rules, in one table and overlaid curves."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from eapu_hil.base.quantities import MISSING, MetricStyle, count, duration, share, with_prefix
from eapu_hil.base.storage import storage_errors
from eapu_hil.report import figures
from eapu_hil.report.comparison_data import read_comparison
from eapu_hil.report.page import PageSection, PageTable, Tile, heading, render
from eapu_hil.report.rundata import RunData, bench_text

_RATIOS = {"writes_total": "cell writes", "pulses_total": "pulses", "energy_j": "energy"}


def write_comparison_report(directory: Path, allow_modules: Collection[str] = ()) -> Path:
    """Writes figures/*.png and report.html from comparison.json; returns the path of the page.

    allow_modules: see `write_report`. Raises ConfigError when `directory` holds no comparison.
    """
    comparison = read_comparison(directory)
    runs = {name: RunData.read(directory / name, allow_modules) for name in comparison["rules"]}
    first = next(iter(runs.values()))
    style = first.style
    with storage_errors(directory):
        (directory / "figures").mkdir(exist_ok=True)
        sections = [_table(comparison, runs, style), *_curves(directory, runs, style)]
        sections += [_ratios(comparison, style)] if comparison.get("ratios") else []
        title = f"{heading(first.task)} under {len(runs)} rules"
        steps, seed = count(first.experiment.get("steps")), first.experiment.get("seed")
        subtitle = f"on {bench_text(first)} · {steps} steps each · seed {seed}"
        return render(directory, title, subtitle, [], _tiles(comparison, style), sections)


def _tiles(comparison: Mapping[str, Any], style: MetricStyle) -> list[Tile]:
    return [
        Tile(f"{style.label}, {name}", style.text((summary.get("metric") or {}).get("final")))
        for name, summary in comparison["rules"].items()
    ]


def _table(comparison: Mapping[str, Any], runs: Mapping[str, RunData], style: MetricStyle) -> PageSection:
    rows = []
    for name, summary in comparison["rules"].items():
        metric = summary.get("metric") or {}
        per_cell = summary.get("writes_per_cell") or {}
        on_array = runs[name].on_array
        rows.append(
            [
                name,
                style.text(metric.get("final")),
                share(summary.get("update_ratio_mean")) if on_array else MISSING,
                count(summary.get("writes_total")),
                count(summary.get("pulses_total")),
                count(per_cell.get("max")),
                with_prefix((summary.get("energy_j") or {}).get("total"), "J"),
                duration(summary.get("bench_time_s")) if on_array else MISSING,
            ]
        )
    head = [
        "rule",
        style.label,
        "written per step",
        "cell writes",
        "pulses",
        "most writes to one cell",
        "energy",
        "bench time",
    ]
    text = "All rules start from the same weights and see the same batches."
    return PageSection("Results", text, tables=[PageTable(rows, head)])


def _curves(directory: Path, runs: Mapping[str, RunData], style: MetricStyle) -> list[PageSection]:
    folder, colours = directory / "figures", _colours(runs)
    metric = [run.metric_curve(name, colours.get(name)) for name, run in runs.items()]
    figures.draw_curves(folder / "metric.png", metric, style.axis, log=False, average=False)
    text = "The metric on held-out data during training."
    sections = [PageSection(style.label, text, "metric.png")]
    written = {name: run for name, run in runs.items() if run.on_array}
    if written:
        curves = [
            figures.Curve(name, run.column("step"), 100 * run.column("update_ratio"), colours.get(name))
            for name, run in written.items()
        ]
        figures.draw_curves(folder / "updates.png", curves, "Weights written per step (%)", log=True)
        text = "Share of the weights that are written in a step, averaged over short stretches of steps."
        sections.append(PageSection("Update ratio", text, "updates.png"))
    return sections


def _colours(runs: Mapping[str, RunData]) -> dict[str, str]:
    """That of each rule; of relatives that share one the first has it, the others take what is free."""
    first: dict[str, str] = {}
    for name, run in runs.items():
        if run.rule_model.colour is not None:
            first.setdefault(run.rule_model.colour, name)
    return {name: colour for colour, name in first.items()}


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
