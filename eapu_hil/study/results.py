"""The table: the results of all planned runs, in table.json and table.csv."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from eapu_hil.base.filenames import require_file_name
from eapu_hil.base.seals import write_sealed_json
from eapu_hil.base.storage import storage_errors, write_aside
from eapu_hil.hal import ConfigError, HilError
from eapu_hil.rules import RuleModel, known_rule
from eapu_hil.study.batch import Ended, run_all
from eapu_hil.study.plan import PlannedRun
from eapu_hil.training.proof import read_over_runs

TABLE = "table.json"
RUNS = "runs"  # below the table's directory

# Column of table.csv and key of table.json: where it stands in a run's summary.
_COLUMNS: dict[str, tuple[str, ...]] = {
    "metric": ("metric", "final"),
    "update_ratio": ("update_ratio_mean",),
    "update_ratio_last": ("update_ratio_last",),
    "writes": ("writes_total",),
    "pulses": ("pulses_total",),
    "pulses_mean_cell": ("pulses_per_cell", "mean"),
    "pulses_p999_cell": ("pulses_per_cell", "p999"),
    "pulses_hottest_cell": ("pulses_per_cell", "max"),
    "cells": ("cells",),
    "cell_products": ("vmm_cells_total",),
    "write_j_low": ("energy_range_j", "low", "writes"),
    "write_j_typical": ("energy_range_j", "typical", "writes"),
    "write_j_high": ("energy_range_j", "high", "writes"),
    "product_j_low": ("energy_range_j", "low", "products"),
    "product_j_typical": ("energy_range_j", "typical", "products"),
    "product_j_high": ("energy_range_j", "high", "products"),
    "product_cell_j": ("energy_j", "vmm"),
    "bench_time_s": ("bench_time_s",),
    "wall_s": ("wall_s",),
    "weights": ("weights",),
    "steps": ("steps",),
    "products_per_weight": ("products_per_weight",),
}


@dataclass(frozen=True)
class Run:
    """One run of the table. point: 0 for the chosen parameters. values: by column, None where the run has none."""

    task: str
    rule: str
    point: int
    seed: int
    values: dict[str, float | None]
    error: str = ""


def known_values(run: Run) -> dict[str, float]:
    """The values that the run has."""
    return {key: value for key, value in run.values.items() if value is not None}


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over the seeds; None with a single one."""

    mean: float
    sd: float | None
    n: int


@dataclass(frozen=True)
class Ablation:
    """A task that is trained again on arrays without one non-ideality. repeats: the original task. lacks: the
    non-ideality that is left out, in addition to those of the ablations before it.
    """

    repeats: str
    lacks: str


@dataclass(frozen=True)
class Results:
    """All runs of a table that have ended. tasks, rules: in the order of the plan; rules with their descriptions.

    missing: names of runs that have not ended.
    """

    tasks: dict[str, str]  # name -> name of its metric
    rules: dict[str, str]
    runs: list[Run]
    ablations: dict[str, Ablation] = field(default_factory=dict)  # by the name of the task in their runs
    # Of a line of `rules`, where it is known.
    models: dict[str, type[RuleModel]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def at(self, task: str, rule: str, point: int = 0) -> list[Run]:
        """The runs of one line and point, seed by seed."""
        return [run for run in self.runs if (run.task, run.rule, run.point) == (task, rule, point)]

    def model(self, rule: str) -> type[RuleModel]:
        """The config class of the rule of a line. A line has the name of its rule unless the table says otherwise."""
        return self.models.get(rule) or known_rule(rule)

    def spread(self, task: str, rule: str, column: str, point: int = 0) -> Spread | None:
        """Over the runs that have this value; None if there is none."""
        values = [run.values.get(column) for run in self.at(task, rule, point)]
        known = np.array([value for value in values if value is not None])
        if known.size == 0:
            return None
        sd = float(known.std(ddof=1)) if known.size > 1 else None
        return Spread(float(known.mean()), sd, int(known.size))

    def paired(self, task: str, first: str, second: str, column: str) -> list[tuple[float, float]]:
        """The values of two rules with the same seeds, where both have one."""
        others = {run.seed: run.values.get(column) for run in self.at(task, second)}
        pairs = [(run.values.get(column), others.get(run.seed)) for run in self.at(task, first)]
        return [(one, other) for one, other in pairs if one is not None and other is not None]


def make_table(
    planned: Sequence[PlannedRun],
    texts: Mapping[str, str],
    ablations: Mapping[str, Ablation],
    directory: Path,
    jobs: int,
    progress: Callable[[str, Ended], None],
) -> Results:
    """Trains what has not been trained yet and writes table.json and table.csv.

    texts: a description of each rule. ablations: the tasks that repeat another one.

    Raises ConfigError when `directory` holds something else.
    """
    _require_table(directory)
    ended: dict[str, Ended] = {}

    def keep(name: str, its: Ended) -> None:
        """A report can be made at any time: what has ended so far is in table.json."""
        ended[name] = its
        _write(_results(planned, ended, texts, ablations), planned, directory)
        progress(name, its)

    run_all({run.name: run.experiment for run in planned}, directory / RUNS, jobs, keep)
    results = _results(planned, ended, texts, ablations)
    _write(results, planned, directory)
    _write_csv(directory / "table.csv", results.runs)
    return results


def _results(
    planned: Sequence[PlannedRun],
    ended: Mapping[str, Ended],
    texts: Mapping[str, str],
    ablations: Mapping[str, Ablation],
) -> Results:
    done = [run for run in planned if run.name in ended]
    metrics = {run.task: _metric_of(run, ended[run.name]) for run in done if ended[run.name].summary}
    return Results(
        tasks={run.task: metrics.get(run.task, "") for run in done if run.task not in ablations},
        rules={rule: text for rule, text in texts.items() if any(run.rule == rule for run in planned)},
        runs=[_extract(run, ended[run.name]) for run in done],
        ablations=dict(ablations),
        models={run.rule: type(run.experiment.rule) for run in planned},
        missing=[run.name for run in planned if run.name not in ended],
    )


def _write(results: Results, planned: Sequence[PlannedRun], directory: Path) -> None:
    content = {
        "tasks": results.tasks,
        "rules": results.rules,
        "rule_names": {run.rule: run.experiment.rule.name for run in planned},
        "ablations": {name: vars(ablation) for name, ablation in results.ablations.items()},
        "runs": [vars(run) for run in results.runs],
        "missing": results.missing,
    }
    with storage_errors(directory / TABLE):
        write_sealed_json(directory / TABLE, content, "table", {})


def runs_at_a_time(asked: int | None, planned: Sequence[PlannedRun]) -> int:
    """How many runs may go side by side: on a real bench or a chip that they share, one.

    asked: None takes as many as there are cores where each run has a chip of its own. Raises ConfigError for more than
    one on what they share.
    """
    simulated = all(run.experiment.bench.simulated and run.experiment.bench.chip is None for run in planned)
    if asked is None:
        return (os.cpu_count() or 1) if simulated else 1
    if asked < 1 or (asked > 1 and not simulated):
        raise ConfigError(
            f"--jobs {asked}: must be at least 1, and 1 on a real bench or on a chip that the runs share"
        )
    return asked


def read_results(directory: Path, allow_modules: Collection[str] = ()) -> Results:
    """Reads the table that `make_table` wrote. allow_modules: modules of rules. Raises ConfigError if there is none."""
    path = directory / TABLE
    content = read_over_runs(path, "table")
    if content is None:
        raise ConfigError(
            f"{directory}: holds no {TABLE}; the same `table` command with --out {directory} writes it"
        )
    try:
        plain = content.get("ablations", content.get("worlds", {}))  # older tables call them worlds
        ablations = {name: Ablation(**ablation) for name, ablation in plain.items()}
        names = dict(content.get("rule_names", {}))
        tasks, rules = dict(content["tasks"]), dict(content["rules"])
        runs = [Run(**run) for run in content["runs"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise HilError(f"{path}: damaged: {error!r}; give the same `table` command again") from error
    for task in tasks:  # they name figures
        require_file_name(task, f"{path}: tasks")
    models = {rule: known_rule(name, allow_modules) for rule, name in names.items()}
    return Results(tasks, rules, runs, ablations, models, list(map(str, content.get("missing", []))))


def _require_table(directory: Path) -> None:
    if not directory.exists():
        return
    if not directory.is_dir() or (any(directory.iterdir()) and not (directory / RUNS).is_dir()):
        raise ConfigError(f"{directory}: already exists and is no table; name a new directory with --out")


def _extract(run: PlannedRun, ended: Ended) -> Run:
    values = {column: _value(ended.summary, path) for column, path in _COLUMNS.items()}
    if run.experiment.rule.trains_on == "host":
        # Every weight changes in every step, but nothing is written.
        values["update_ratio"] = values["update_ratio_last"] = None
    return Run(run.task, run.rule, run.point, run.experiment.seed, values, ended.error)


def _value(summary: Mapping[str, Any] | None, path: Sequence[str]) -> float | None:
    found: Any = summary
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return float(found) if found is not None else None


def _metric_of(run: PlannedRun, ended: Ended) -> str:
    if ended.summary is None:
        raise HilError(f"{run.name}: no summary")
    return str(ended.summary["metric"]["name"])


def _write_csv(path: Path, runs: Sequence[Run]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["task", "rule", "point", "seed", *_COLUMNS, "error"])
    for run in runs:
        cells = ["" if run.values[column] is None else repr(run.values[column]) for column in _COLUMNS]
        writer.writerow([run.task, run.rule, run.point, run.seed, *cells, run.error])
    with storage_errors(path):
        write_aside(path, lambda file: file.write(text.getvalue().encode()))
