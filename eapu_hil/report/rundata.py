"""The data of a report: a run directory read back, with its curves and maps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.quantities import MetricStyle, metric_style
from eapu_hil.report.figures import Curve
from eapu_hil.rules import RuleModel, known_rule
from eapu_hil.training.proof import prove
from eapu_hil.training.runs import read_metrics, read_snapshots, read_start, read_summary, read_writes


@dataclass(frozen=True, eq=False)
class RunData:
    """The data of a report. `summary` is empty when the run did not end.

    rule_model: the config class of its rule.
    """

    path: Path
    start: dict[str, Any]
    summary: dict[str, Any]
    steps: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]
    writes: NDArray[np.void]
    snapshots: dict[str, NDArray[Any]]
    rule_model: type[RuleModel]

    @classmethod
    def read(cls, run_dir: Path, allow_modules: Collection[str] = ()) -> RunData:
        """allow_modules: where the rule may come from.

        Raises ConfigError when `run_dir` is no run, HilError when something in it is damaged.
        """
        prove(run_dir)
        start = read_start(run_dir)
        rule = name_of((start.get("experiment") or {}).get("rule"))
        return cls(
            path=run_dir,
            start=start,
            summary=read_summary(run_dir) or {},
            steps=sorted(read_metrics(run_dir, "step"), key=lambda line: line["step"]),
            evaluations=sorted(read_metrics(run_dir, "evaluation"), key=lambda line: line["step"]),
            writes=read_writes(run_dir),
            snapshots=read_snapshots(run_dir),
            rule_model=known_rule(rule, allow_modules),
        )

    @property
    def experiment(self) -> Mapping[str, Any]:
        return self.start.get("experiment") or {}

    @property
    def task(self) -> str:
        return name_of(self.experiment.get("task"))

    @property
    def rule(self) -> str:
        return name_of(self.experiment.get("rule"))

    @property
    def rule_label(self) -> str:
        """The rule's name, of `module:Class` the class."""
        return self.rule.rpartition(":")[2]

    @property
    def on_array(self) -> bool:
        """Whether the run used a bench."""
        return self.rule_model.trains_on != "host"

    @property
    def metric(self) -> Mapping[str, Any]:
        """The summary's metric; for a run that did not end, the last evaluation."""
        last = self.evaluations[-1] if self.evaluations else {}
        so_far = {"name": last.get("name", "metric"), "input": last.get("input"), "final": last.get("metric")}
        return self.summary.get("metric") or so_far

    def column(self, key: str) -> NDArray[np.float64]:
        """One value of every step line; NaN where a line lacks it."""
        return np.array([number(line.get(key)) for line in self.steps], dtype=np.float64)

    def layer_column(self, name: str) -> NDArray[np.float64]:
        """The update ratio of one layer, of every step line."""
        ratios = [line.get("update_ratio_layer") or {} for line in self.steps]
        return np.array([number(ratio.get(name)) for ratio in ratios], dtype=np.float64)

    @property
    def mean_update_ratio(self) -> float | None:
        """Mean share of the weights written in a step so far; None before the first."""
        known = self.column("update_ratio")
        known = known[np.isfinite(known)]
        return float(known.mean()) if known.size else None

    def curve(self, key: str, name: str = "", colour: str | None = None) -> Curve:
        return Curve(name, self.column("step"), self.column(key), colour)

    @property
    def style(self) -> MetricStyle:
        return metric_style(str(self.metric["name"]))

    def metric_curve(self, name: str = "", colour: str | None = None) -> Curve:
        """The metric of every evaluation, in the unit in which it is shown; hollow: those on the whole held-out set,
        where others are on a part of it.
        """
        x = np.array([line["step"] for line in self.evaluations], dtype=np.float64)
        y = np.array([number(line.get("metric")) for line in self.evaluations], dtype=np.float64)
        quick = np.array([bool(line.get("quick")) for line in self.evaluations], dtype=np.bool_)
        return Curve(name, x, y * self.style.factor, colour, ~quick if quick.any() else None)

    def maps(self, prefix: str) -> dict[int, NDArray[Any]]:
        """Snapshots `<prefix>_<array>`, by array."""
        split = {name: name.rpartition("_") for name in self.snapshots}
        return {
            int(tail): self.snapshots[name]
            for name, (head, _, tail) in split.items()
            if head == prefix and tail.isdigit()
        }


def name_of(value: object) -> str:
    """`denoise` from "denoise" or {"name": "denoise", ...}."""
    return str(value.get("name", "unknown") if isinstance(value, Mapping) else value or "unknown")


def bench_text(run: RunData) -> str:
    """The bench in a few words."""
    bench = run.experiment.get("bench") or {}
    rows, columns = bench.get("shape") or ("?", "?")
    what = Path(str(bench.get("preset") or bench.get("port") or bench.get("resource") or "")).stem
    arrays = bench.get("arrays", 1)
    name = " ".join(("the", bench.get("backend", "?"), what)).strip()
    return f"{name}, {arrays} array{'s' if arrays != 1 else ''} of {rows} x {columns}"


def clock_words(run: RunData) -> str:
    """What the run's bench time is by."""
    sessions = run.start.get("sessions") or [{}]
    clock = str(sessions[-1].get("clock") or "")
    if clock.startswith("simulated"):
        return "simulated: the time that the bench would take"
    if clock:
        return "from the first write to the end by the time of day, pauses included"
    return "by the clock of the bench"


def number(value: object) -> float:
    """`value`, or NaN when it is no number (null in metrics.jsonl)."""
    return float(value) if isinstance(value, (int, float)) else float("nan")
