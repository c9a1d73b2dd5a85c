"""The report of a table: claims, one table for each task, quality against pulses, energy ratio by reuse."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from eapu_hil.base.quantities import MISSING, count, duration, metric_style, share, with_prefix
from eapu_hil.base.storage import storage_errors, write_json
from eapu_hil.bench.energy import ASSUMPTIONS, CORNERS, EnergyModel, digital_j
from eapu_hil.hal import ConfigError
from eapu_hil.report.page import Finding, PageSection, PageTable, Tile, heading, render
from eapu_hil.rules import BP, DIGITAL, EAPU
from eapu_hil.study.claims import ENERGY_CLAIM, REUSES, judge
from eapu_hil.study.figures import draw_ratio
from eapu_hil.study.quality import quality_sections
from eapu_hil.study.results import Results, Spread, read_results
from eapu_hil.study.scenarios import as_run, other_arrays
from eapu_hil.study.verdicts import RULES_OF_VERDICTS

_NAMED = 12  # missing runs


def write_table_report(
    directory: Path, allow_modules: Collection[str] = (), *, standalone: bool = False
) -> Path:
    """Writes claims.json, the figures and the page from table.json, also of a table that has not ended.

    Returns the path of the page. allow_modules: where rules may come from. Raises ConfigError when `directory` holds no
    table, or none of its runs has ended.
    """
    results = read_results(directory, allow_modules)
    if not results.tasks:
        raise ConfigError(f"{directory}: none of the table's {len(results.missing)} runs has ended yet")
    write_json(directory / "claims.json", {"claims": [vars(claim) for claim in judge(results)]})
    with storage_errors(directory):
        (directory / "figures").mkdir(exist_ok=True)
        sections = [_claims(results)]
        sections += [_task(results, task) for task in results.tasks]
        sections += quality_sections(directory, results)
        sections += _reuse(directory, results)
        sections += [_rules(results), _assumptions()]
        seeds = len({run.seed for run in results.runs})
        subtitle = (
            f"{count(len(results.runs))} runs \u00b7 {len(results.tasks)} tasks \u00b7 up to {seeds} seeds"
        )
        title, notices = "Ways to train on memristors", _missing(results, directory)
        return render(directory, title, subtitle, notices, _tiles(results), sections, standalone=standalone)


def _missing(results: Results, directory: Path) -> list[str]:
    missing = results.missing
    if not missing:
        return []
    named = ", ".join(missing[:_NAMED]) + (
        f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    )
    return [
        f"This table has not ended: {len(missing)} of {len(missing) + len(results.runs)} runs are missing: {named}. "
        f"The command that made it goes on with --out {directory}."
    ]


def _tiles(results: Results) -> list[Tile]:
    tiles = []
    for task, metric in results.tasks.items():
        style = metric_style(metric)
        for rule in (DIGITAL, EAPU, BP):
            spread = results.spread(task, rule, "metric")
            if spread is not None:
                tiles.append(Tile(f"{task}, {rule}", style.text(spread.mean)))
    return tiles


def _claims(results: Results) -> PageSection:
    findings = [
        Finding(claim.claim, claim.verdict, claim.measured, f"Assumed: {claim.assumptions}")
        for claim in judge(results)
    ]
    text = (
        "Each claim is compared with the results of this table. Verdicts use unrounded numbers and the worst seed; "
        f"\u00b1 is the standard deviation over the seeds. {RULES_OF_VERDICTS}"
    )
    return PageSection("Claims", text, findings=findings)


def _task(results: Results, task: str) -> PageSection:
    style = metric_style(results.tasks[task])
    head = [
        "rule",
        style.label,
        "written per step",
        "cell writes",
        "pulses",
        "pulses, 99.9 % cell",
        "pulses, hottest cell",
    ]
    head += ["energy", "bench time"]
    rows = []
    for rule in results.rules:
        runs = results.at(task, rule)
        if not runs:
            continue
        metric = results.spread(task, rule, "metric")
        on_array = results.model(rule).trains_on != "host"
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
                duration(_mean(results.spread(task, rule, "bench_time_s"))) if on_array else MISSING,
            ]
        )
    here = [run for run in results.runs if run.task == task and run.point == 0]
    steps = max((run.values.get("steps") or 0 for run in here), default=0)
    seeds = len({run.seed for run in here})
    over = f"mean and standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    text = (
        f"{count(steps)} steps, {over}. All rules see the same data, initial weights and chips. "
        "Pulses per cell include the initial writing."
    )
    return PageSection(heading(task), text, tables=[PageTable(rows, head)])


def _reuse(directory: Path, results: Results) -> list[PageSection]:
    """Energy of bp over eapu's, by reuse; of the task with the longest runs."""
    found = [
        (bp, eapu)
        for task in results.tasks
        for bp, eapu in zip(results.at(task, BP)[:1], results.at(task, EAPU)[:1], strict=False)
        if bp.values.get("writes") and eapu.values.get("writes")
    ]
    if not found:
        return []
    bp, eapu = max(found, key=lambda pair: pair[1].values["steps"] or 0)
    x = np.geomspace(REUSES[0], REUSES[-1], 60)
    corners = {corner: as_run(bp, eapu, corner) for corner in CORNERS}
    curves = {f"{c} parameters": np.array([its.ratio(r) for r in x]) for c, its in corners.items()}
    model = EnergyModel()
    curves["typical, with optimizer and gradients"] = np.array(
        [corners["typical"].ratio(r, digital_j(1, 1, r, model)) for r in x]
    )
    draw_ratio(directory / "figures" / "energy_ratio", x, curves)
    alt = "Ratio over products per weight and step, falling from left to right. " + " ".join(
        f"{name}: {y[0]:.3g} at reuse {x[0]:.0f}, {y[-1]:.3g} at {x[-1]:.0f}." for name, y in curves.items()
    )
    text = (
        f"Training energy of bp divided by that of eapu, from the counts of the runs on {bp.task}, first seed. "
        "Products need the same energy under every rule. So the ratio falls with the reuse, which is the number of "
        "products of a weight between two updates: it is at most 1 plus the energy of the writes under bp divided by "
        "the energy of these products. For arrays with all cells in use, the energy of products is computed, not "
        "measured. In the last rows only the number of writes is measured."
    )
    rows = [
        [
            its.name,
            with_prefix(its.write_j, "J"),
            with_prefix(its.product_j, "J"),
            *(f"{its.ratio(reuse):.3g}" for reuse in (1, 8, 32, 128)),
            f"{its.largest_reuse(ENERGY_CLAIM):.3g}",
        ]
        for its in [*corners.values(), *other_arrays(bp, eapu)]
    ]
    head = [
        "array",
        "one write under bp",
        "one product",
        "ratio at reuse 1",
        "at 8",
        "at 32",
        "at 128",
        "largest reuse with 50",
    ]
    return [
        PageSection(
            "Energy ratio by weight reuse", text, "energy_ratio", tables=[PageTable(rows, head)], alt=alt
        )
    ]


def _rules(results: Results) -> PageSection:
    return PageSection(
        "Rules", tables=[PageTable([[rule, text] for rule, text in results.rules.items()], text_columns=2)]
    )


def _assumptions() -> PageSection:
    rows = []
    for key, assumed in ASSUMPTIONS.items():
        name, values = key.rpartition("_")[0].replace("_", " "), (assumed.low, assumed.typical, assumed.high)
        rows.append([name, assumed.source, *(with_prefix(value, assumed.unit) for value in values)])
    head = ["parameter", "meaning and source", "low", "typical", "high"]
    return PageSection("Assumed energies", tables=[PageTable(rows, head, text_columns=2)])


def _joules(results: Results, task: str, rule: str, corner: str) -> float | None:
    parts = [results.spread(task, rule, f"{part}_j_{corner}") for part in ("write", "product")]
    return sum(part.mean for part in parts if part is not None) if all(parts) else None


def _mean(spread: Spread | None) -> float | None:
    return spread.mean if spread is not None else None


def _pm(spread: Spread, factor: float) -> str:
    text = f"{factor * spread.mean:.2f}"
    return text if spread.sd is None else f"{text} \u00b1 {factor * spread.sd:.2f}"
