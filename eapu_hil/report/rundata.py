"""The data of a report: a run directory read back, with its curves, maps and example images."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.quantities import MetricStyle, metric_style
from eapu_hil.report.figures import Curve, Example
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

    def curve(self, key: str, name: str = "", colour: str | None = None) -> Curve:
        return Curve(name, self.column("step"), self.column(key), colour)

    @property
    def style(self) -> MetricStyle:
        return metric_style(str(self.metric["name"]))

    @property
    def curve_evaluations(self) -> list[dict[str, Any]]:
        """The evaluations on one and the same set: the quick ones, or all where none is quick."""
        return [line for line in self.evaluations if line.get("quick")] or self.evaluations

    def metric_curve(self, name: str = "", colour: str | None = None) -> Curve:
        """The metric over the steps, in the unit in which it is shown."""
        lines = self.curve_evaluations
        x = np.array([line["step"] for line in lines], dtype=np.float64)
        y = np.array([number(line.get("metric")) for line in lines], dtype=np.float64)
        return Curve(name, x, y * self.style.factor, colour)

    def maps(self, prefix: str) -> dict[int, NDArray[Any]]:
        """Snapshots `<prefix>_<array>`, by array."""
        split = {name: name.rpartition("_") for name in self.snapshots}
        return {
            int(tail): self.snapshots[name]
            for name, (head, _, tail) in split.items()
            if head == prefix and tail.isdigit()
        }


def gallery(snapshots: Mapping[str, NDArray[Any]]) -> list[Example]:
    """The example images of `snapshots`; captions with the PSNR in dB (range 1) where a reference fits."""
    names = [str(name) for name in snapshots.get("gallery_names", np.array([]))]
    examples = []
    for index, name in enumerate(names):
        kinds = ("input", "output", "reference")
        shown = {kind: snapshots[key] for kind in kinds if (key := f"gallery_{index}_{kind}") in snapshots}
        shown = {kind: image.squeeze() for kind, image in shown.items()}
        if not shown:
            continue
        captions = {kind: kind for kind in shown}
        captions[next(iter(shown))] = f"{name}: {next(iter(shown))}"
        for kind in ("input", "output"):
            reference = shown.get("reference")
            if reference is not None and kind in shown and shown[kind].shape == reference.shape:
                error = float(np.mean((shown[kind].astype(float) - reference) ** 2))
                if error > 0:
                    captions[kind] += f", {-10 * np.log10(error):.2f} dB"
        examples.append(Example(name, shown, captions))
    return examples


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


def number(value: object) -> float:
    """`value`, or NaN when it is no number (null in metrics.jsonl)."""
    return float(value) if isinstance(value, (int, float)) else float("nan")
