"""`eapu-hil compare table`: all rules on all tasks of a plan, and the page about it."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path
from typing import Any

from eapu_hil.base.loading import load_model
from eapu_hil.base.provenance import new_run_id
from eapu_hil.base.quantities import MISSING, count, metric_style, share
from eapu_hil.cli.terminal import BatchBar, Terminal
from eapu_hil.hal import ConfigError
from eapu_hil.study.batch import Ended
from eapu_hil.study.plan import PlannedRun, TablePlan, planned_runs

# Drawing is imported where it is needed; see `commands`.


def compare_table(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    """Runs the plan, or goes on with it, and writes table.json, table.csv, claims.json, figures and report.html."""
    from eapu_hil.study.report import write_table_report
    from eapu_hil.study.results import World, make_table

    plan = _plan(args)
    planned = planned_runs(plan, args.bench, args.set, args.allow_module)
    directory = Path(args.out) if args.out is not None else Path("runs") / new_run_id("table")
    jobs = _jobs(args.jobs, planned)
    _require_runnable(planned)
    texts = {name: rule.text for name, rule in plan.rules.items()}
    worlds = {
        name: World(its.repeats, its.lacks) for name, its in plan.tasks.items() if its.repeats is not None
    }
    hint = f"the same command with --out {directory} goes on"
    with terminal.stop_hint(hint, directory), BatchBar(terminal, "table", len(planned)) as bar:

        def tell(name: str, ended: Ended) -> None:
            metric = (ended.summary or {}).get("metric") or {}
            bar.ended(
                name,
                metric_style(str(metric.get("name"))).text(metric.get("final")) if metric else ended.error,
            )

        results = make_table(planned, texts, worlds, directory, jobs, tell)
    page = write_table_report(directory, args.allow_module)
    for task, metric_name in results.tasks.items():
        style, rows = metric_style(metric_name), []
        for rule in plan.rules_of(task):
            metric, ratio, pulses = (
                results.spread(task, rule, column) for column in ("metric", "update_ratio", "pulses")
            )
            quality = style.text(metric.mean) if metric else "diverged"
            quality += f" \u00b1 {style.factor * metric.sd:.2f}" if metric and metric.sd is not None else ""
            rows.append(
                [
                    rule,
                    quality,
                    share(ratio.mean) if ratio else MISSING,
                    count(pulses.mean) if pulses else MISSING,
                ]
            )
        terminal.table([task, style.label, "written a step", "pulses"], rows)
    terminal.say(f"table: {directory}   report: {page}")
    return {"table": directory, "report": page, "runs": len(results.runs)}


def _plan(args: Namespace) -> TablePlan:
    plan = load_model(TablePlan, "table", (), "tables")
    if args.bench is not None:
        plan = plan.on_any_bench()
    if args.quick:
        plan = plan.quick()
    if args.seed is not None:
        one = {"seeds": [args.seed], "curve_seed": args.seed}
        tasks = {
            name: its.model_copy(update=one if its.curve_seed is not None else {"seeds": [args.seed]})
            for name, its in plan.tasks.items()
        }
        plan = plan.model_copy(update={"tasks": tasks})
    return plan if args.rules is None else plan.with_rules([name.strip() for name in args.rules.split(",")])


def _require_runnable(planned: list[PlannedRun]) -> None:
    """Raises ConfigError, before anything is trained, when a rule cannot be on its bench; says how to go on."""
    from eapu_hil.training.matrices import require_fit

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


def _jobs(asked: int | None, planned: list[PlannedRun]) -> int:
    """A real bench does one run at a time; every simulated run has a chip of its own."""
    simulated = all(run.experiment.bench.simulated and run.experiment.bench.chip is None for run in planned)
    if asked is None:
        return (os.cpu_count() or 1) if simulated else 1
    if asked < 1 or (asked > 1 and not simulated):
        raise ConfigError(
            f"--jobs {asked}: at least 1, and on a bench or chip that the runs share no more than 1"
        )
    return asked
