"""The report of a table: claims, one table for each task, quality against pulses, energy ratio by reuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eapu_hil.claims import REUSES, energy_ratio, judge
from eapu_hil.energy import ASSUMPTIONS, CORNERS
from eapu_hil.hal import ConfigError
from eapu_hil.page import Finding, Section, Table, Tile, render
from eapu_hil.quantities import MISSING, count, duration, metric_style, share, with_prefix
from eapu_hil.storage import storage_errors, write_json
from eapu_hil.table import Results, Spread, read_results
from eapu_hil.table_figures import Point, RuleCurve, draw_quality, draw_ratio


def write_table_report(directory: Path) -> Path:
    """Writes claims.json, figures/*.png and report.html from table.json; returns the path of the page.

    Raises ConfigError when `directory` holds no table.
    """
    results = read_results(directory)
    if not results.runs:
        raise ConfigError(f"{directory}: the table has no runs")
    write_json(directory / "claims.json", {"claims": [vars(claim) for claim in judge(results)]})
    with storage_errors(directory):
        (directory / "figures").mkdir(exist_ok=True)
        sections = [_claims(results)]
        sections += [_task(results, task) for task in results.tasks]
        sections += _quality(directory, results)
        sections += _reuse(directory, results)
        sections += [_rules(results), _assumptions()]
        seeds = len({run.seed for run in results.runs})
        subtitle = (
            f"{count(len(results.runs))} runs \u00b7 {len(results.tasks)} tasks \u00b7 up to {seeds} seeds"
        )
        return render(directory, "Ways to train on memristors", subtitle, [], _tiles(results), sections)


def _tiles(results: Results) -> list[Tile]:
    tiles = []
    for task, metric in results.tasks.items():
        style = metric_style(metric)
        for rule in ("digital", "eapu", "bp"):
            spread = results.spread(task, rule, "metric")
            if spread is not None:
                tiles.append(Tile(f"{task}, {rule}", style.text(spread.mean)))
    return tiles


def _claims(results: Results) -> Section:
    findings = [
        Finding(claim.claim, claim.verdict, claim.measured, f"Assumed: {claim.assumptions}")
        for claim in judge(results)
    ]
    text = (
        "Each claim against what this table measured. Verdicts come from unrounded numbers, and from the worst seed; "
        "\u00b1 is the standard deviation over the seeds."
    )
    return Section("Claims", text, findings=findings)


def _task(results: Results, task: str) -> Section:
    style = metric_style(results.tasks[task])
    head = ["rule", style.label, "written a step", "cell writes", "pulses", "99.9 % cell", "hottest"]
    head += ["energy", "bench time"]
    rows = []
    for rule in results.rules:
        runs = results.at(task, rule)
        if not runs:
            continue
        metric = results.spread(task, rule, "metric")
        failed = sum(1 for run in runs if run.error)
        name = f"{rule} ({failed} of {len(runs)} diverged)" if failed else rule
        joules = {corner: _joules(results, task, rule, corner) for corner in CORNERS}
        typical, low, high = (with_prefix(joules[corner], "J") for corner in ("typical", "low", "high"))
        rows.append(
            [
                name,
                _pm(metric, style.factor) + f" {style.unit}" if metric else MISSING,
                share(_mean(results.spread(task, rule, "update_ratio"))),
                count(_mean(results.spread(task, rule, "writes"))),
                count(_mean(results.spread(task, rule, "pulses"))),
                count(_mean(results.spread(task, rule, "pulses_p999_cell"))),
                count(_mean(results.spread(task, rule, "pulses_hottest_cell"))),
                f"{typical} ({low} to {high})" if joules["typical"] else MISSING,
                duration(_mean(results.spread(task, rule, "bench_time_s"))) if rule != "digital" else MISSING,
            ]
        )
    here = [run for run in results.runs if run.task == task and run.point == 0]
    steps = max(run.values.get("steps") or 0 for run in here)
    seeds = len({run.seed for run in here})
    over = f"mean and standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    text = (
        f"{count(steps)} steps, {over}; the same "
        "data, initial weights and chips for every rule. Pulses per cell count the initial writing."
    )
    return Section(task.replace("_", " ").capitalize(), text, tables=[Table(rows, head)])


def _quality(directory: Path, results: Results) -> list[Section]:
    sections = []
    for task, metric in results.tasks.items():
        if not any(run.point for run in results.runs if run.task == task):
            continue
        style = metric_style(metric)
        curves = [
            curve for rule in results.rules if (curve := _curve(results, task, rule, style.factor)).points
        ]
        digital = results.spread(task, "digital", "metric")
        name = f"quality_{task}.png"
        reference = style.factor * digital.mean if digital else None
        draw_quality(directory / "figures" / name, curves, f"{style.label} ({style.unit}), {task}", reference)
        text = (
            "Each curve is one rule at several thresholds, rates or pulse strengths, the chosen one filled; "
            "dashed: digital. Every point is one run of the same length."
        )
        winners = Table(
            _winners(curves), ["pulses up to", "best rule", f"{style.label} ({style.unit})"], text_columns=2
        )
        sections.append(Section(f"Quality against pulses: {task}", text, name, tables=[winners]))
    return sections


def _curve(results: Results, task: str, rule: str, factor: float) -> RuleCurve:
    points = []
    numbers = sorted({run.point for run in results.runs if (run.task, run.rule) == (task, rule)})
    for number in numbers:
        metric, pulses = (results.spread(task, rule, column, number) for column in ("metric", "pulses"))
        if metric is not None and pulses is not None:
            points.append(Point(pulses.mean, factor * metric.mean, number == 0))
    return RuleCurve(rule, sorted(points, key=lambda point: point.pulses))


def _winners(curves: list[RuleCurve]) -> list[list[str]]:
    """The best point of all within each budget of pulses, a factor of about three apart."""
    points = [(point.pulses, point.quality, curve.rule) for curve in curves for point in curve.points]
    if not points:
        return []
    low, high = min(p[0] for p in points), max(p[0] for p in points)
    rows: list[list[str]] = []
    for exponent in np.arange(np.floor(2 * np.log10(low)) + 1, np.ceil(2 * np.log10(high)) + 1) / 2:
        affordable = [point for point in points if point[0] <= 10**exponent]
        if affordable:
            _, quality, rule = max(affordable, key=lambda point: point[1])
            rows.append([count(10**exponent), rule, f"{quality:.2f}"])
    return rows


def _reuse(directory: Path, results: Results) -> list[Section]:
    """Energy of bp over eapu's, by reuse; of the task with the longest runs."""
    found = [
        (bp, eapu)
        for task in results.tasks
        for bp, eapu in zip(results.at(task, "bp")[:1], results.at(task, "eapu")[:1], strict=False)
        if bp.values.get("writes") and eapu.values.get("writes")
    ]
    if not found:
        return []
    bp, eapu = max(found, key=lambda pair: pair[1].values["steps"] or 0)
    x = np.geomspace(REUSES[0], REUSES[-1], 60)
    curves = {f"{c} parameters": np.array([energy_ratio(bp, eapu, r, c) for r in x]) for c in CORNERS}
    curves["typical, with optimizer and gradients"] = np.array(
        [energy_ratio(bp, eapu, r, "typical", digital=True) for r in x]
    )
    draw_ratio(directory / "figures" / "energy_ratio.png", x, curves)
    text = (
        f"Training energy of bp over that of eapu, from the counts of the runs on {bp.task}. Products take the "
        "same under every rule, so the ratio falls with the number of products that a weight makes between two "
        "updates."
    )
    return [Section("Energy ratio by weight reuse", text, "energy_ratio.png")]


def _rules(results: Results) -> Section:
    return Section(
        "Rules", tables=[Table([[rule, text] for rule, text in results.rules.items()], text_columns=2)]
    )


def _assumptions() -> Section:
    rows = []
    for key, assumed in ASSUMPTIONS.items():
        name, values = key.rpartition("_")[0].replace("_", " "), (assumed.low, assumed.typical, assumed.high)
        rows.append([name, assumed.source, *(with_prefix(value, assumed.unit) for value in values)])
    head = ["parameter", "what and from where", "low", "typical", "high"]
    return Section("Assumed energies", tables=[Table(rows, head, text_columns=2)])


def _joules(results: Results, task: str, rule: str, corner: str) -> float | None:
    parts = [results.spread(task, rule, f"{part}_j_{corner}") for part in ("write", "product")]
    return sum(part.mean for part in parts if part is not None) if all(parts) else None


def _mean(spread: Spread | None) -> float | None:
    return spread.mean if spread is not None else None


def _pm(spread: Spread, factor: float) -> str:
    text = f"{factor * spread.mean:.2f}"
    return text if spread.sd is None else f"{text} \u00b1 {factor * spread.sd:.2f}"
