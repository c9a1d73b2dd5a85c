"""What the table of every rule on every task would take, from a share of its plan.

Of each rule some steps of `digits` are timed, of a few rules some of `denoise`; the others are taken as the mean of
those, and super_resolution as denoise. What a run takes besides its steps is the time until its first step.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from eapu_hil.base.loading import load_model
from eapu_hil.study.plan import PlannedRun, TablePlan, planned_runs
from speed.benches import StepClock, time_steps
from speed.figures import Figure
from speed.timing import processor_s

STEPS = {"digits": 8, "denoise": 5}
DENOISED = ("digital", "eapu", "bp", "mixed_precision")  # rules of which steps of denoise are timed
AT_MOST_min = 60.0


def table() -> list[Figure]:
    """Core minutes of the packaged plan."""
    runs = planned_runs(load_model(TablePlan, "table", [], "tables"))
    timed: dict[tuple[str, str], tuple[float, float]] = {}
    for run in runs:
        key = (run.task, run.rule)
        if run.task in STEPS and key not in timed and (run.task == "digits" or run.rule in DENOISED):
            timed[key] = _timed_s(run)
    minutes = sum(_seconds(run, timed) for run in runs) / 60
    shares = ", ".join(f"{steps} steps of {name}" for name, steps in STEPS.items())
    work = f"the table of {len({run.rule for run in runs})} rules, {len(runs)} runs, core minutes"
    return [Figure(work, f"{minutes:.0f} min", f"by {shares} a rule", minutes, AT_MOST_min)]


def _timed_s(run: PlannedRun) -> tuple[float, float]:
    """Of a step, and of all before the first one."""
    with tempfile.TemporaryDirectory() as scratch:
        clock = StepClock(STEPS[run.task], skipped=1)
        whole_s = processor_s(lambda: time_steps(run.experiment, Path(scratch) / "run", clock))
    return statistics.median(clock.steps_s), whole_s - sum(clock.steps_s)


def _seconds(run: PlannedRun, timed: dict[tuple[str, str], tuple[float, float]]) -> float:
    """Of the whole run, as a run of a task that was timed."""
    alike = "digits" if run.experiment.task.name == "digits" else "denoise"
    known = [taken for (task, rule), taken in timed.items() if task == alike and rule == run.rule]
    known = known or [taken for (task, _), taken in timed.items() if task == alike]
    step_s, rest_s = (statistics.mean(column) for column in zip(*known, strict=True))
    return run.experiment.steps * step_s + rest_s
