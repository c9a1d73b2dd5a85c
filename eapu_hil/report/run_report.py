"""The report of a run: figures and one HTML page, also of a run that crashed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from eapu_hil.base.colours import INK
from eapu_hil.base.quantities import MetricStyle, count, duration, share, with_prefix
from eapu_hil.base.storage import require_own_files, storage_errors
from eapu_hil.bench.cellcsv import status_text
from eapu_hil.hal import CellStatus
from eapu_hil.report import alt_texts, figures
from eapu_hil.report.examples import draw_gallery, gallery, in_words
from eapu_hil.report.overlay import WHOLE
from eapu_hil.report.page import PageSection, PageTable, Tile, heading, render
from eapu_hil.report.rundata import RunData, bench_text, clock_words
from eapu_hil.training.runs import succeeded

_EXAMPLES_MAX = 4
_ENERGY_PARTS = {
    "pulse": "pulses",
    "verify": "verify reads",
    "vmm": "products",
    "adc": "ADC",
    "dac": "DAC",
    "tia": "amplifiers",
}
_COUNTED = {"pulses_total": "pulses", "verify_reads_total": "verify reads", "vmm_total": "products"}


def write_report(run_dir: Path, allow_modules: Collection[str] = (), *, standalone: bool = False) -> Path:
    """Writes the figures and the page of a run; returns the path of the page. standalone: as one file, see `render`.

    allow_modules: modules that the rule may come from; the defaults of rules stand for one from another module.
    Raises ConfigError when `run_dir` is no run or the packages for drawing are missing.
    """
    run = RunData.read(run_dir, allow_modules)
    require_own_files(run_dir, "run")
    with storage_errors(run_dir):
        (run_dir / "figures").mkdir(exist_ok=True)
        sections = [*_curves(run), *_examples(run), *_array(run), *_energy(run), _what_was_run(run)]
        title = f"{heading(run.task)} with {run.rule_label}"
        where = f"on {bench_text(run)}" if run.on_array else "on the host, no array"
        when = str(run.start.get("time", "")).replace("T", " ")[:16]
        subtitle = f"{where} · {run_dir.resolve().name} · {when}"
        return render(run_dir, title, subtitle, _notices(run), _tiles(run), sections, standalone=standalone)


def _notices(run: RunData) -> list[str]:
    last = int(run.steps[-1]["step"]) if run.steps else 0
    if succeeded(run.summary):
        return []
    done = f"step {last} of {run.experiment.get('steps', '?')}"
    go_on = f"To continue: “eapu-hil resume {run.path}”."
    if run.summary:
        return [f"This run ended as “{run.summary.get('exit_status')}” after {done}. {go_on}"]
    return [
        f"This run has no summary: it crashed or is still running. It got to {done}; this page shows "
        f"its record up to that point. {go_on}"
    ]


def _tiles(run: RunData) -> list[Tile]:
    metric, summary = run.metric, run.summary
    tiles = []
    if metric.get("final") is not None:
        gain, style = "", run.style
        if metric.get("input") is not None:
            difference = style.text(metric["final"] - metric["input"], sign=True)
            gain = f"{difference} over the input's {style.text(metric['input'])}"
        tiles.append(Tile(f"{style.label}, held out", style.text(metric["final"]), gain))
    steps = summary.get("steps", len(run.steps))
    tiles.append(Tile("Steps", count(steps), duration(summary.get("wall_s")) + " on this machine"))
    if not run.on_array:
        return tiles
    ratio = summary.get("update_ratio_mean", run.mean_update_ratio)
    last = summary.get("update_ratio_last")
    tiles.append(
        Tile(
            "Written per step",
            share(ratio),
            f"of the weights; last tenth {share(last)}" if last is not None else "of the weights",
        )
    )
    total = summary.get("writes_total", int(np.count_nonzero(run.writes["pulses"])))
    pulses = summary.get("pulses_total", int(run.writes["pulses"].sum()))
    note = f"with at least one pulse: {count(pulses)} pulses in all"
    tiles.append(Tile("Cell writes", count(total), note))
    per_cell = summary.get("writes_per_cell") or {}
    if per_cell:
        note = f"median {per_cell['p50']:.3g}, maximum {count(per_cell['max'])}"
        tiles.append(Tile("Writes per cell", f"{per_cell['mean']:.3g}", note))
    if summary.get("energy_j"):
        tiles.append(
            Tile("Energy", with_prefix(summary["energy_j"]["total"], "J"), "the table below lists the parts")
        )
    tiles.append(Tile("Bench time", duration(summary.get("bench_time_s")), clock_words(run)))
    return tiles


def _curves(run: RunData) -> list[PageSection]:
    sections, folder, style = [], run.path / "figures", run.style
    if run.steps:
        sections.append(_training(run, folder, style))
    layers = list(dict.fromkeys(name for line in run.steps for name in line.get("update_ratio_layer") or {}))
    if layers and run.on_array:
        steps = run.column("step")
        curves = [figures.Curve(name, steps, 100 * run.layer_column(name)) for name in layers]
        curves.append(figures.Curve("all layers", steps, 100 * run.column("update_ratio"), INK))
        what = "Weights written (% of the layer)"
        figures.draw_curves(folder / "updates", curves, what, log=True)
        text = "Share of the weights of each layer that are written in a step, averaged over short stretches of steps."
        sections.append(PageSection("Update ratio", text, "updates", alt=alt_texts.of_curves(curves, what)))
    return sections


def _training(run: RunData, folder: Path, style: MetricStyle) -> PageSection:
    quick = [line for line in run.evaluations if line.get("quick")]
    given = (quick or run.evaluations or [{}])[-1].get("input")
    loss, metric = run.curve("loss"), run.metric_curve()
    name = f"{style.axis}, held-out data"
    figures.draw_training(
        folder / "training", loss, metric, name, given * style.factor if given is not None else None
    )
    text = "Left: the loss of every batch and its moving average. Right: the metric on held-out data."
    text += WHOLE if quick else ""
    alt = f"{alt_texts.of_curves([loss], 'Left: loss')} {alt_texts.of_curves([metric], f'Right: {name}')}"
    return PageSection("Training", text, "training", _items(run), alt=alt)


def _items(run: RunData) -> list[PageTable]:
    """The last full evaluation, image by image."""
    full = [line for line in run.evaluations if line["step"] and line.get("items") and not line.get("quick")]
    if not full:
        return []
    style = run.style
    last, head = full[-1], f"held out, after step {full[-1]['step']}"
    rows = [[item["name"], style.text(item["input"]), style.text(item["value"])] for item in last["items"]]
    rows.append(["mean", style.text(last["input"]), style.text(last["metric"])])
    if last["input"] is None:
        return [PageTable([[name, value] for name, _, value in rows], [head, "output"], total=True)]
    return [PageTable(rows, [head, "input", "output"], total=True)]


def _examples(run: RunData) -> list[PageSection]:
    found = gallery(run.snapshots)[:_EXAMPLES_MAX]
    if not found:
        return []
    draw_gallery(run.path / "figures" / "gallery", found)
    return [PageSection("Examples", "Held-out images, after the last step.", "gallery", alt=in_words(found))]


def _array(run: RunData) -> list[PageSection]:
    sections, folder = [], run.path / "figures"
    before, after, wear = run.maps("g_before_S"), run.maps("g_after_S"), run.maps("pulses")
    arrays = sorted(before | after | wear)
    used = sorted({int(k) for k in np.unique(run.writes["array"])} & set(arrays)) or arrays
    before, after, wear = ({k: maps[k] for k in used if k in maps} for maps in (before, after, wear))
    drawn = f" {len(arrays) - len(used)} more arrays hold no weights." if len(used) < len(arrays) else ""
    if len(used) > figures.ARRAYS_DRAWN_MAX:
        drawn += f" The first {figures.ARRAYS_DRAWN_MAX} are drawn."
    if before or after:
        figures.draw_conductance(folder / "conductance", before, after)
        moments = ("before the first step" if before else "", "after the last step" if after else "")
        text = f"The arrays were read {' and '.join(filter(None, moments))}.{drawn}"
        sections.append(PageSection("Conductance", text, "conductance", alt=alt_texts.of_maps(before, after)))
    if run.writes.size:
        sections.append(_write_error(run, folder))
    if wear:
        figures.draw_wear(folder / "wear", wear)
        taken = np.concatenate([pulses.ravel() for pulses in wear.values()])
        text = (
            f"Pulses on each cell over the life of the chip, including this run: median "
            f"{count(float(np.median(taken)))}, "
            f"99.9th percentile {count(float(np.percentile(taken, 99.9)))}, maximum {count(float(taken.max()))}."
        )
        sections.append(PageSection("Wear", text + drawn, "wear", alt=alt_texts.of_wear(wear)))
    return sections


def _write_error(run: RunData, folder: Path) -> PageSection:
    verified = run.writes[np.isfinite(run.writes["after_S"])]
    error = verified["after_S"].astype(np.float64) - verified["target_S"]
    converged = verified["status"] == CellStatus.OK
    figures.draw_write_error(folder / "write_error", error, converged)
    pulsed = int(np.count_nonzero(run.writes["pulses"]))
    text = (
        "Last verify reading minus target. Relaxation and drift later add to this error. Counted are requests: one for "
        f"each cell that was asked to take a value. {count(pulsed)} of the {count(run.writes.size)} requests needed "
        f"pulses and are cell writes; {count(run.writes.size - pulsed)} found their cell in its band."
    )
    alt = alt_texts.of_error(error, converged)
    return PageSection("Write error", text, "write_error", [_status_table(run.writes)], alt=alt)


def _status_table(writes: NDArray[np.void]) -> PageTable:
    values, counts = np.unique(writes["status"], return_counts=True)
    rows = [
        [status_text(int(value)).lower().replace("_", " "), count(int(n)), share(n / writes.size)]
        for value, n in zip(values, counts, strict=True)
    ]
    rows.append(["all requests", count(writes.size), ""])
    return PageTable(rows, ["status after the request", "requests", "share"], total=True)


def _energy(run: RunData) -> list[PageSection]:
    energy = run.summary.get("energy_j")
    if not energy or not energy["total"]:
        return []
    total = energy["total"]
    rows = [
        [text, with_prefix(energy[name], "J"), share(energy[name] / total)]
        for name, text in _ENERGY_PARTS.items()
        if name in energy
    ]
    rows.append(["total", with_prefix(total, "J"), ""])
    counted = [[text, count(run.summary[key])] for key, text in _COUNTED.items() if key in run.summary]
    assumed = [_assumption(key, value) for key, value in run.summary.get("energy_assumptions", {}).items()]
    tables = [PageTable(rows, ["spent on", "energy", "share"], total=True)]
    if counted or assumed:
        tables.append(PageTable([*counted, *assumed], ["counted and assumed", ""]))
    return [
        PageSection(
            "Energy",
            "Energy of the cells, lines and converters. The host computer is not counted.",
            tables=tables,
        )
    ]


def _assumption(key: str, value: float) -> list[str]:
    name, _, unit = key.rpartition("_")
    return [f"assumed: {name.replace('_', ' ')}", with_prefix(value, {"s": "s"}.get(unit, unit.upper()))]


def _what_was_run(run: RunData) -> PageSection:
    experiment, commit = run.experiment, run.start.get("commit")
    dirty = " with uncommitted changes" if run.start.get("dirty") else ""
    optimizer = experiment.get("optimizer")
    rows = [
        ["task", run.task],
        ["rule", run.rule],
        ["optimizer", _inline(optimizer)],
        ["steps, batch", f"{count(experiment.get('steps'))} steps of {experiment.get('batch', '?')}"],
        ["seed", str(run.start.get("seed", experiment.get("seed", "?")))],
        ["bench", bench_text(run)],
        *[[f"array {k}", _inline(identity)] for k, identity in enumerate(run.start.get("identities") or [])],
        *[["changed in mid-run", _change(change)] for change in run.start.get("changes") or []],
        ["commit", f"{commit}{dirty}" if commit else "unknown: the package does not run from a checkout"],
    ]
    details = {
        "Resolved experiment": yaml.safe_dump(dict(experiment), sort_keys=False, allow_unicode=True),
        "Package versions": yaml.safe_dump(run.start.get("packages") or {}, sort_keys=False),
    }
    if run.start.get("bench"):
        details["Resolved bench"] = yaml.safe_dump(run.start["bench"], sort_keys=False, allow_unicode=True)
    return PageSection("What was run", tables=[PageTable(rows, text_columns=2)], details=details)


def _change(change: Mapping[str, Any]) -> str:
    keys = {key: its for key, its in change.items() if isinstance(its, Mapping)}
    said = ", ".join(f"{key} from {its.get('from')} to {its.get('to')}" for key, its in keys.items())
    return f"after step {change.get('after_step')}: {said}"


def _inline(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items() if item not in (None, ""))
    return str(value if value is not None else "?")
