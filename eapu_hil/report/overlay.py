"""Several runs on one page: what differs between them, their results, curves and example images."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from eapu_hil.base.quantities import MISSING, count, duration, share, with_prefix
from eapu_hil.base.storage import storage_errors
from eapu_hil.hal import ConfigError
from eapu_hil.report import alt_texts, examples, figures
from eapu_hil.report.page import PageSection, PageTable, heading, render
from eapu_hil.report.page_files import PAGE
from eapu_hil.report.rundata import RunData
from eapu_hil.training.runs import succeeded

Runs = Mapping[str, RunData]
_IMAGES_MAX, _COLUMNS_MAX = 3, 6  # drawn: examples, and runs beside each other
_HASH = 12  # characters that tell one from another
WHOLE = " Rings: on the whole held-out set; points: on a part of it, the same one each time."


def write_overlay(
    run_dirs: Sequence[Path],
    directory: Path,
    allow_modules: Collection[str] = (),
    *,
    standalone: bool = False,
) -> Path:
    """Writes figures and the page of several runs into `directory`; returns the path of the page.

    Raises ConfigError where one is no run, or named twice; HilError for a damaged one.
    """
    if len(set(map(os.path.realpath, run_dirs))) < len(run_dirs):
        raise ConfigError(f"report {' '.join(map(str, run_dirs))}: name each run once")
    runs = {
        name: RunData.read(path, allow_modules) for name, path in zip(_names(run_dirs), run_dirs, strict=True)
    }
    with storage_errors(directory):
        folder = directory / "figures"
        folder.mkdir(parents=True, exist_ok=True)
        summaries = {name: run.summary for name, run in runs.items()}
        sections = [
            differences(runs),
            results(runs, summaries, links_to(runs, directory)),
            *curves(folder, runs),
        ]
        title = " and ".join(dict.fromkeys(heading(run.task) for run in runs.values()))
        subtitle = f"{len(runs)} runs"
        return render(
            directory,
            f"{title}: runs compared",
            subtitle,
            unfinished(runs),
            [],
            sections,
            standalone=standalone,
        )


def links_to(runs: Runs, directory: Path) -> dict[str, str]:
    """The page of each run that has one, else its directory; relative to `directory`."""
    found = {}
    for name, run in runs.items():
        target = run.path / PAGE if (run.path / PAGE).is_file() else run.path
        found[name] = quote(Path(os.path.relpath(target, directory)).as_posix())
    return found


def unfinished(runs: Runs) -> list[str]:
    """A notice for each run that did not come to its end."""
    notices = []
    for name, run in runs.items():
        if not succeeded(run.summary):
            last = int(run.steps[-1]["step"]) if run.steps else 0
            how = f"ended as “{run.summary['exit_status']}”" if run.summary else "has not ended"
            notices.append(
                f"{name} {how}: step {last} of {run.experiment.get('steps', '?')} is the last one here."
            )
    return notices


def differences(runs: Runs) -> PageSection:
    """What is not the same in the configurations, key by key."""
    configurations = {name: _flat(_configuration(run)) for name, run in runs.items()}
    keys = list(dict.fromkeys(key for its in configurations.values() for key in its))
    rows = []
    for key in keys:
        values = [its.get(key, MISSING) for its in configurations.values()]
        if len(set(values)) > 1:
            rows.append([key, *values])
    if not rows:
        return PageSection("Differences", "All runs have the same configuration.")
    text = "Keys of the resolved experiments, and of what they ran with, that are not the same in all runs."
    return PageSection(
        "Differences", text, tables=[PageTable(rows, ["key", *runs], text_columns=len(runs) + 1)]
    )


def results(runs: Runs, summaries: Mapping[str, Mapping[str, Any]], links: Mapping[str, str]) -> PageSection:
    """The numbers of each run in one table. summaries: empty for a run that has not ended."""
    rows = []
    for name, run in runs.items():
        summary = summaries.get(name) or _so_far(run)
        metric = summary.get("metric") or run.metric
        ratio = summary.get("update_ratio_mean", run.mean_update_ratio)
        rows.append(
            [
                name,
                f"{run.style.label} {run.style.text(metric.get('final'))}",
                count(summary.get("steps", len(run.steps))),
                share(ratio) if run.on_array else MISSING,
                count(summary.get("writes_total")),
                count(summary.get("pulses_total")),
                count((summary.get("writes_per_cell") or {}).get("max")),
                with_prefix((summary.get("energy_j") or {}).get("total"), "J"),
                duration(summary.get("bench_time_s")) if run.on_array else MISSING,
            ]
        )
    head = ["run", "metric", "steps", "written per step", "cell writes", "pulses", "most writes to one cell"]
    head += ["energy", "bench time"]
    text = "A cell write is a request that gave the cell at least one pulse."
    return PageSection("Results", text, tables=[PageTable(rows, head, links=links)])


def _so_far(run: RunData) -> dict[str, Any]:
    """What the records of a run say that has not ended, by the names of its summary."""
    if not run.on_array:
        return {}
    pulses = run.writes["pulses"]
    return {"writes_total": int(np.count_nonzero(pulses)), "pulses_total": int(pulses.sum())}


def curves(folder: Path, runs: Runs) -> list[PageSection]:
    """Metric, loss, share written and pulses of all runs, and their example images."""
    colours = _colours(runs)
    sections = _metrics(folder, runs, colours)
    losses = [run.curve("loss", name, colours.get(name)) for name, run in runs.items() if run.steps]
    if losses:
        text = "The loss of the batches, averaged over short stretches of steps."
        sections.append(_drawn(folder, "loss", losses, "Loss", text, log=True))
    written = {name: run for name, run in runs.items() if run.on_array and run.steps}
    left_out = [name for name in runs if name not in written]
    beside = f" Nothing is written to cells by {', '.join(left_out)}." if left_out else ""
    if written:
        shares = [
            figures.Curve(name, run.column("step"), 100 * run.column("update_ratio"), colours.get(name))
            for name, run in written.items()
        ]
        text = (
            "Share of the weights that are written in a step, averaged over short stretches of steps."
            + beside
        )
        sections.append(_drawn(folder, "updates", shares, "Weights written per step (%)", text, log=True))
    pulsed = [_pulses(name, run, colours.get(name)) for name, run in written.items() if run.writes.size]
    if pulsed:
        text = "All pulses up to each step, the initial writing of the weights included." + beside
        sections.append(_drawn(folder, "pulses", pulsed, "Pulses since the start", text, log=True))
    return [*sections, *_examples(folder, runs)]


def _metrics(folder: Path, runs: Runs, colours: Mapping[str, str]) -> list[PageSection]:
    sections, kinds = [], dict.fromkeys(run.style for run in runs.values() if run.evaluations)
    for number, style in enumerate(kinds):
        lines = [
            run.metric_curve(name, colours.get(name))
            for name, run in runs.items()
            if run.style == style and run.evaluations
        ]
        whole = WHOLE if any(line.hollow is not None for line in lines) else ""
        text = "The metric on held-out data during training, from the first evaluation to the last." + whole
        name = "metric" if not number else f"metric_{number + 1}"
        sections.append(_drawn(folder, name, lines, style.axis, text, log=False))
    return sections


def _drawn(
    folder: Path, name: str, lines: Sequence[figures.Curve], title: str, text: str, *, log: bool
) -> PageSection:
    figures.draw_curves(folder / name, lines, title, log=log, average=not name.startswith("metric"))
    return PageSection(title, text, name, alt=alt_texts.of_curves(lines, title))


def _pulses(name: str, run: RunData, colour: str | None) -> figures.Curve:
    steps, of_each = np.unique(run.writes["step"], return_inverse=True)
    pulses = np.bincount(of_each, run.writes["pulses"])
    return figures.Curve(name, steps.astype(np.float64), np.cumsum(pulses), colour)


def _examples(folder: Path, runs: Runs) -> list[PageSection]:
    having = {name: run.snapshots for name, run in runs.items() if "gallery_names" in run.snapshots}
    shown = dict(list(having.items())[:_COLUMNS_MAX])
    found = examples.side_by_side(shown)[:_IMAGES_MAX] if shown else []
    if not found:
        return []
    examples.draw_gallery(folder / "gallery", found)
    more = [name for name in runs if name not in shown]
    text = "The same held-out images after the last step of each run."
    text += f" Not shown, for want of images or of room: {', '.join(more)}." if more else ""
    return [PageSection("Examples side by side", text, "gallery", alt=examples.in_words(found))]


def _colours(runs: Runs) -> dict[str, str]:
    """That of each rule; of runs that share one the first has it, the others take what is free."""
    first: dict[str, str] = {}
    for name, run in runs.items():
        if run.rule_model.colour is not None:
            first.setdefault(run.rule_model.colour, name)
    return {name: colour for colour, name in first.items()}


def _configuration(run: RunData) -> dict[str, Any]:
    return {
        **run.experiment,
        "chip": str(run.start.get("chip") or MISSING)[:_HASH],
        "commit": str(run.start.get("commit") or MISSING)[:_HASH],
        "changed in mid-run": [
            f"after step {change.get('after_step')}" for change in run.start.get("changes") or []
        ],
        "packages": run.start.get("packages") or {},
    }


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            found[f"{prefix}{key}"] = text or MISSING
    return found


def _names(run_dirs: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    parts = [Path(os.path.realpath(path)).parts for path in run_dirs]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(its[-length:]) for its in parts]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in run_dirs]
