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

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from eapu_hil.base.filenames import FileName
from eapu_hil.base.loading import FileModel, load_model
from eapu_hil.hal import ConfigError
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.matrices import require_fit

Overrides = dict[str, Any]


class TaskPlan(FileModel):
    """One task of the table.

    experiment: path or packaged name. set: changes to it, for all rules; set_last: those that come after the
        rule's. seeds: one run of each rule for each.
    curve_seed: of the further points of the curves; None: this task has no curves.
    rules: which of the plan's rules it is done with; None: all.
    parameters_of: the task whose chosen parameters it takes; None: its own.
    quick_steps: steps of a run of the quick table; None: it has no such run.
    search_steps, search_seed: of the runs that the parameters were chosen with.
    repeats, lacks: the task that this one does again on arrays that lack one thing more than the one before it, and
        what; so that the report can say what each rule loses to it. Only on the plan's own bench.
    """

    experiment: str
    set: Overrides = Field(default_factory=dict)
    set_last: Overrides = Field(default_factory=dict)
    seeds: list[NonNegativeInt] = Field(min_length=1)
    curve_seed: NonNegativeInt | None = None
    rules: list[str] | None = None
    parameters_of: str | None = None
    quick_steps: PositiveInt | None = None
    search_steps: PositiveInt | None = None
    search_seed: NonNegativeInt = 100
    repeats: str | None = None
    lacks: str = ""

    @model_validator(mode="after")
    def _says_what_it_lacks(self) -> TaskPlan:
        if (self.repeats is None) != (not self.lacks):
            raise ValueError("repeats and lacks: give both or neither")
        return self


class RulePlan(FileModel):
    """One line of the table; see the module. text: what the line is, for the reader."""

    text: str
    set: Overrides
    search: list[Overrides] = Field(default_factory=list)
    chosen: dict[str, Overrides] = Field(default_factory=dict)
    curve: list[Overrides] = Field(default_factory=list)


class TablePlan(FileModel):
    """tasks, rules: by the name under which they stand in the table."""

    tasks: dict[FileName, TaskPlan] = Field(min_length=1)
    rules: dict[FileName, RulePlan] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_exist(self) -> TablePlan:
        for task, its in self.tasks.items():
            for key, names, known in (
                ("rules", its.rules or [], self.rules),
                ("parameters_of", [its.parameters_of] if its.parameters_of else [], self.tasks),
                ("repeats", [its.repeats] if its.repeats else [], self.tasks),
            ):
                for name in names:
                    if name not in known:
                        raise ValueError(
                            f"tasks.{task}.{key}: unknown {name!r}; allowed are {', '.join(known)}"
                        )
        return self

    def rules_of(self, task: str) -> list[str]:
        """Which rules `task` is done with, in the order of the plan."""
        only = self.tasks[task].rules
        return [name for name in self.rules if only is None or name in only]

    def quick(self) -> TablePlan:
        """The tasks that have `quick_steps`, so short, with their first seed and without curves."""
        tasks = {
            name: its.model_copy(
                update={
                    "set": {**its.set, "steps": its.quick_steps, "evaluate_every": its.quick_steps},
                    "seeds": its.seeds[:1],
                    "curve_seed": None,
                }
            )
            for name, its in self.tasks.items()
            if its.quick_steps is not None
        }
        return self.model_copy(update={"tasks": tasks})

    def on_any_bench(self) -> TablePlan:
        """Without the tasks that change the array itself, which only the plan's own bench allows."""
        tasks = {name: its for name, its in self.tasks.items() if its.repeats is None}
        return self.model_copy(update={"tasks": tasks})

    def with_seed(self, seed: int) -> TablePlan:
        """The same with one seed for every task, and for its curves where it has any."""
        tasks = {
            name: its.model_copy(
                update={"seeds": [seed], "curve_seed": None if its.curve_seed is None else seed}
            )
            for name, its in self.tasks.items()
        }
        return self.model_copy(update={"tasks": tasks})

    def with_rules(self, names: Sequence[str]) -> TablePlan:
        """The same with some of the rules only. Raises ConfigError for unknown ones."""
        for name in names:
            if name not in self.rules:
                raise ConfigError(f"--rules: {name!r}: not in the plan; allowed are {', '.join(self.rules)}")
        return self.model_copy(
            update={"rules": {name: self.rules[name] for name in self.rules if name in names}}
        )


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


def planned_runs(
    plan: TablePlan,
    bench: str | None = None,
    common: Sequence[str] = (),
    allow_modules: Collection[str] = (),
) -> list[PlannedRun]:
    """Every run of the table, those with the chosen parameters first; seed by seed, so that a part is a whole table.

    bench: path or packaged name, in place of the experiments'. Its own recipe then says what is pulsed: what the plan
    chose for its chip is left out, and so are points of a curve that differ in nothing else. common: changes to all of
    them, as `--set` has them. allow_modules: modules that the plan may name rules and tasks from. Raises ConfigError.
    """
    bases = {
        (task, rule): _base(plan, task, rule, bench, allow_modules)
        for task in plan.tasks
        for rule in plan.rules_of(task)
    }

    def planned(task: str, rule: str, point: int, seed: int) -> PlannedRun:
        its = plan.rules[rule]
        own = its.curve[point - 1] if point else {}
        chosen = its.chosen.get(plan.tasks[task].parameters_of or task, {})
        experiment = _changed(bases[task, rule], {**_for_bench({**chosen, **own}, bench), "seed": seed})
        return PlannedRun(task, rule, point, _changed(experiment, common) if common else experiment)

    runs = [
        planned(task, rule, 0, seed)
        for task, its in plan.tasks.items()
        for seed in its.seeds
        for rule in plan.rules_of(task)
    ]
    curves = [
        planned(task, rule, point, its.curve_seed)
        for task, its in plan.tasks.items()
        if its.curve_seed is not None
        for rule in plan.rules_of(task)
        for point, own in enumerate(plan.rules[rule].curve, 1)
        if _for_bench(own, bench)
    ]
    return runs + curves


def require_runnable(planned: Sequence[PlannedRun]) -> None:
    """Raises ConfigError, before anything is trained, when a rule cannot be on its bench; says how to go on."""
    on_array = {(run.task, run.rule): run for run in planned if run.experiment.rule.trains_on != "host"}
    configs = {run.task: run.experiment.task for run in on_array.values()}
    tasks = {name: config.make() for name, config in configs.items()}
    said: dict[str, str] = {}
    for (task, rule), run in on_array.items():
        try:
            require_fit(tasks[task], run.experiment)
        except ConfigError as error:
            said.setdefault(rule, str(error))
    if said:
        others = ",".join(dict.fromkeys(run.rule for run in planned if run.rule not in said))
        hint = f"; --rules {others} leaves them out" if others else ""
        raise ConfigError(f"{next(iter(said.values()))}: {', '.join(said)} cannot be trained here{hint}")


def experiment_of(plan: TablePlan, task: str, rule: str, changes: Mapping[str, Any]) -> ExperimentConfig:
    """The experiment of `task` under `rule` with `changes` by dotted key. Raises ConfigError."""
    return _changed(_base(plan, task, rule, None), changes)


def _base(
    plan: TablePlan, task: str, rule: str, bench: str | None, allow_modules: Collection[str] = ()
) -> ExperimentConfig:
    of_task, of_rule = plan.tasks[task], plan.rules[rule]
    other = {} if bench is None else {"bench": bench}
    changes = {**other, **of_task.set, **of_rule.set, **of_task.set_last, "name": f"{task} {rule}"}
    return load_model(
        ExperimentConfig, of_task.experiment, changes, "experiments", allow_modules=allow_modules
    )


def _changed(experiment: ExperimentConfig, changes: Mapping[str, Any] | Sequence[str]) -> ExperimentConfig:
    content, allowed = experiment.model_dump(mode="json"), experiment.modules
    return load_model(ExperimentConfig, content, changes, "experiments", allow_modules=allowed)


def _for_bench(changes: Overrides, bench: str | None) -> Overrides:
    """Voltages found for one chip are not sent to another."""
    return {key: value for key, value in changes.items() if bench is None or not key.startswith("bench.")}
