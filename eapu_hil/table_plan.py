"""The plan of a table: which rules on which tasks, with which parameters, how often; as a YAML file.

tasks:
  digits: {experiment: digits, set: {steps: 600}, seeds: [1, 2, 3, 4, 5]}
rules:
  eapu:
    set: {rule: {name: eapu}, optimizer: {...}}          # in place of the experiment's
    search: [{optimizer.lr: 1.0e-3}, ...]                # what was tried, the same number for every rule
    chosen: {digits: {optimizer.lr: 3.0e-3}}             # what was best, by task
    curve: [{rule.threshold_scale: 0.5}, ...]            # further points of quality against pulses
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field, NonNegativeInt, PositiveInt

from eapu_hil.config import ExperimentConfig, load_model
from eapu_hil.loading import FileModel

Overrides = dict[str, Any]


class TaskPlan(FileModel):
    """One task of the table.

    experiment: path or packaged name. set: changes to it, for all rules. seeds: one run of each rule for each.
    curve_seed: of the further points of the curves; None: this task has no curves.
    search_steps, search_seed: of the runs that the parameters were chosen with.
    """

    experiment: str
    set: Overrides = Field(default_factory=dict)
    seeds: list[NonNegativeInt] = Field(min_length=1)
    curve_seed: NonNegativeInt | None = None
    search_steps: PositiveInt | None = None
    search_seed: NonNegativeInt = 100


class RulePlan(FileModel):
    """One line of the table; see the module. text: what the line is, for the reader."""

    text: str
    set: Overrides
    search: list[Overrides] = Field(default_factory=list)
    chosen: dict[str, Overrides] = Field(default_factory=dict)
    curve: list[Overrides] = Field(default_factory=list)


class TablePlan(FileModel):
    """tasks, rules: by the name under which they stand in the table."""

    tasks: dict[str, TaskPlan] = Field(min_length=1)
    rules: dict[str, RulePlan] = Field(min_length=1)


@dataclass(frozen=True)
class PlannedRun:
    """One training run. point: 0 for the chosen parameters, n for the n-th further point of the rule's curve."""

    task: str
    rule: str
    point: int
    experiment: ExperimentConfig

    @property
    def name(self) -> str:
        """Where it lies below the table's directory."""
        return f"{self.task}/{self.rule}/point{self.point}_seed{self.experiment.seed}"


def planned_runs(plan: TablePlan, common: Overrides) -> list[PlannedRun]:
    """Every run of the table, those with the chosen parameters first; seed by seed, so that a part is a whole table.

    common: changes to all experiments, from the command line. Raises ConfigError.
    """
    runs = [
        _planned(plan, common, task, rule, 0, seed)
        for task, its in plan.tasks.items()
        for seed in its.seeds
        for rule in plan.rules
    ]
    curves = [
        _planned(plan, common, task, rule, point, its.curve_seed)
        for task, its in plan.tasks.items()
        if its.curve_seed is not None
        for rule in plan.rules
        for point in range(1, len(plan.rules[rule].curve) + 1)
    ]
    return runs + curves


def _planned(plan: TablePlan, common: Overrides, task: str, rule: str, point: int, seed: int) -> PlannedRun:
    its = plan.rules[rule]
    own = its.curve[point - 1] if point else {}
    changes = {**its.chosen.get(task, {}), **own, "seed": seed, **common}
    return PlannedRun(task, rule, point, experiment_of(plan, task, rule, changes))


def experiment_of(plan: TablePlan, task: str, rule: str, changes: Mapping[str, Any]) -> ExperimentConfig:
    """The experiment of `task` under `rule` with `changes` by dotted key. Raises ConfigError."""
    of_task, of_rule = plan.tasks[task], plan.rules[rule]
    base = load_model(ExperimentConfig, of_task.experiment, {**of_task.set, **of_rule.set}, "experiments")
    named = {**changes, "name": f"{task} {rule}"}
    return load_model(ExperimentConfig, base.model_dump(mode="json"), named, "experiments")
