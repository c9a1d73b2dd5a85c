"""Quality against pulses: the winner at each budget, and the causes of each rule's loss of quality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from eapu_hil.base.quantities import MISSING, count, metric_style
from eapu_hil.report.page import Finding, PageSection, PageTable
from eapu_hil.rules import DIGITAL
from eapu_hil.study.figures import Point, RuleCurve, draw_quality
from eapu_hil.study.results import Results

OWN = "rule and window"
ARRAY_ONLY = "Among the rules that train on the array. "
FAR = 20.0
SHORT = 1.1  # end of a stretch over its beginning


@dataclass(frozen=True)
class Losses:
    """The distance of one rule to digital, in the metric's own unit, one value for each seed that all runs share.

    parts: by cause: the non-ideality that each ablation of the task leaves out, in their order, and the rest, `OWN`.
    """

    behind: list[float]
    parts: dict[str, list[float]]


def losses(results: Results, task: str, rule: str) -> Losses | None:
    """None where digital or an ablation of `task` is missing, for instance on another bench than the plan's."""
    ablations = {its.lacks: name for name, its in results.ablations.items() if its.repeats == task}
    steps = [task, *ablations.values()]
    reached = [
        {run.seed: value for run in results.at(*at) if (value := run.values.get("metric")) is not None}
        for at in [*((name, rule) for name in steps), (task, DIGITAL)]
    ]
    seeds = [seed for seed in reached[0] if all(seed in those for those in reached)]
    if not ablations or not seeds:
        return None
    parts = {
        blamed: [after[seed] - before[seed] for seed in seeds]
        for blamed, (before, after) in zip([*ablations, OWN], pairwise(reached), strict=True)
    }
    return Losses([reached[-1][seed] - reached[0][seed] for seed in seeds], parts)


@dataclass(frozen=True)
class Winner:
    """The winner for budgets of `low` to `high` pulses, with its point; no other rule is clearly better there.

    close: rules with a point in these budgets that the winner's does not clearly beat. best, best_rule: the best.
    """

    low: float
    high: float
    rule: str
    point: Point
    close: list[str]
    best_rule: str
    best: Point


def winners(curves: Sequence[RuleCurve], noise: float) -> list[Winner]:
    """From the smallest budget on: who takes over is better by more than `noise`, which chance does.

    Left out are points that are `FAR` times the noise below the best, which hardly learn, and stretches of less than a
    tenth of their pulses.
    """
    points = sorted(((p, curve.rule) for curve in curves for p in curve.points), key=lambda of: of[0].pulses)
    if noise > 0:
        top = max(point.quality for point, _ in points)
        points = [of for of in points if of[0].quality > top - FAR * noise]
    taking: list[tuple[Point, str]] = []
    for point, rule in points:
        if not taking or point.quality > taking[-1][0].quality + noise:
            taking.append((point, rule))
    ends = [point.pulses for point, _ in taking[1:]] + [np.inf]
    found = []
    for (point, rule), high in zip(taking, ends, strict=True):
        if high < SHORT * point.pulses:
            continue
        within = [(p, its) for p, its in points if p.pulses < high]
        best, best_rule = max(within, key=lambda of: of[0].quality)
        near = [its for p, its in within if its != rule and p.quality >= point.quality - noise]
        found.append(Winner(point.pulses, high, rule, point, list(dict.fromkeys(near)), best_rule, best))
    return found


def quality_sections(directory: Path, results: Results) -> list[PageSection]:
    """For each task with curves: the figure, the winners with reasons, and the losses of every rule."""
    sections = []
    for task, metric in results.tasks.items():
        if not any(run.point for run in results.runs if run.task == task):
            continue
        style = metric_style(metric)
        curves = [c for rule in results.rules if (c := _curve(results, task, rule, style.factor)).points]
        if not curves:
            continue  # every run diverged
        digital = results.spread(task, DIGITAL, "metric")
        name = f"quality_{task}"
        reference = style.factor * digital.mean if digital else None
        draw_quality(directory / "figures" / name, curves, f"{style.axis}, {task}", reference)
        noise = style.factor * _noise(results, task)
        text = (
            "Each curve shows one rule at several thresholds, rates or pulse strengths. The filled point is its chosen "
            "setting, and the dashed line is digital. Chosen points are means over the seeds, the others are single "
            "runs. A rule wins from the budget at which it is better than the others by more than the seeds differ: "
            f"{noise:.2f} {style.unit}, the median over the rules of the standard deviation."
        )
        on_array = [curve for curve in curves if results.model(curve.rule).trains_on == "array"]
        of_all = winners(curves, noise)
        others = [winner for winner in winners(on_array, noise) if winner not in of_all]
        findings = [_why(results, task, winner, "") for winner in of_all]
        findings += [_why(results, task, winner, ARRAY_ONLY) for winner in others]
        alt = f"{style.axis} over the pulses of the run, one curve a rule. " + " ".join(
            map(_in_words, curves)
        )
        sections.append(
            PageSection(f"Quality against pulses: {task}", text, name, findings=findings, alt=alt)
        )
        sections += _losses(results, task)
    return sections


def _in_words(curve: RuleCurve) -> str:
    first, last = curve.points[0], curve.points[-1]
    text = f"{curve.rule}: {first.quality:.2f} with {count(first.pulses)} pulses"
    return text + (f", {last.quality:.2f} with {count(last.pulses)}." if last is not first else ".")


def _curve(results: Results, task: str, rule: str, factor: float) -> RuleCurve:
    points = []
    numbers = sorted({run.point for run in results.runs if (run.task, run.rule) == (task, rule)})
    for number in numbers:
        metric, pulses = (results.spread(task, rule, column, number) for column in ("metric", "pulses"))
        if metric is not None and pulses is not None:
            points.append(Point(pulses.mean, factor * metric.mean, number))
    return RuleCurve(rule, sorted(points, key=lambda point: point.pulses), results.model(rule).colour)


def _why(results: Results, task: str, winner: Winner, among: str) -> Finding:
    style, point = metric_style(results.tasks[task]), winner.point
    lines = [f"{point.quality:.2f} {style.unit} with {count(point.pulses)} pulses"]
    effort = _effort(results, task, winner.rule, point.number)
    if effort is not None:
        lines[0] += f": {effort[0]:.3g} writes per weight, {effort[1]:.2g} pulses each"
    if winner.best != point:
        lines.append(
            f"the best here, {winner.best.quality:.2f} {style.unit} by {winner.best_rule} with "
            f"{count(winner.best.pulses)} pulses, is not clearly better"
        )
    if winner.close:
        lines.append(f"not clearly worse: {', '.join(winner.close)}")
    its = losses(results, task, winner.rule)
    if its is not None:
        parts = ", ".join(
            f"{_pm(values, style.factor)} due to {blamed}" for blamed, values in its.parts.items()
        )
        lines.append(
            f"with its chosen setting it is {_pm(its.behind, style.factor)} {style.unit} behind digital: {parts}"
        )
    until = f"to {count(winner.high)} pulses" if np.isfinite(winner.high) else "pulses on"
    statement = f"{among}From {count(winner.low)} {until}: {winner.rule}"
    return Finding(statement, "wins", lines, results.rules[winner.rule])


def _losses(results: Results, task: str) -> list[PageSection]:
    style = metric_style(results.tasks[task])
    rows, means = [], dict[str, list[float]]()
    for rule in results.rules:
        its, effort = losses(results, task, rule), _effort(results, task, rule, 0)
        if its is None or effort is None:
            continue
        for blamed, values in its.parts.items():
            means.setdefault(blamed, []).append(style.factor * float(np.mean(values)))
        spent = [f"{effort[0]:.3g}", f"{effort[1]:.2g}"]
        rows.append(
            [rule, *spent, _pm(its.behind, style.factor), *(_pm(v, style.factor) for v in its.parts.values())]
        )
    if not rows:
        return []
    text = (
        f"Distance of each rule to digital ({style.unit}), and its causes. Each rule was trained again with the same "
        "seeds and settings on arrays without the first cause, then also without the next (errors of writes, of reads "
        "and between cells). The improvement is the loss due to that cause. The rest is due to the rule itself and to "
        "the window, into which all weights must fit. A negative number is a gain in quality, or chance; \u00b1 is the "
        "standard deviation over the seeds. Rules whose threshold is the measured write error have a lower threshold "
        "on the better arrays, and write more there. "
    )
    most = max(means, key=lambda blamed: float(np.std(means[blamed])))
    text += (
        f"The rules differ most in their loss to {most}: "
        f"{min(means[most]):.2f} to {max(means[most]):.2f} {style.unit}."
    )
    head = ["rule", "writes per weight", "pulses per write", "behind digital", *means]
    return [PageSection(f"Causes of lost quality: {task}", text, tables=[PageTable(rows, head)])]


def _effort(results: Results, task: str, rule: str, point: int) -> tuple[float, float] | None:
    """Cell writes a weight and pulses a write, the initial writing included."""
    writes, pulses, weights = (
        results.spread(task, rule, column, point) for column in ("writes", "pulses", "weights")
    )
    if writes is None or pulses is None or weights is None or not writes.mean:
        return None
    return writes.mean / weights.mean, pulses.mean / writes.mean


def _noise(results: Results, task: str) -> float:
    """Median over the rules of the standard deviation over the seeds; 0 with a single seed."""
    spreads = (results.spread(task, rule, "metric") for rule in results.rules)
    known = [spread.sd for spread in spreads if spread is not None and spread.sd is not None]
    return float(np.median(known)) if known else 0.0


def _pm(values: Sequence[float], factor: float) -> str:
    if not values:
        return MISSING
    mean = f"{factor * float(np.mean(values)):.2f}"
    return mean if len(values) == 1 else f"{mean} \u00b1 {factor * float(np.std(values, ddof=1)):.2f}"
