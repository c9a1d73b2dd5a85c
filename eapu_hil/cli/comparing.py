"""The commands that compare and report: compare, table, report."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eapu_hil.base.errors import ConfigError
from eapu_hil.base.plugins import load
from eapu_hil.base.quantities import MISSING, MetricStyle, count, metric_style, share, with_prefix
from eapu_hil.cli import options
from eapu_hil.cli.terminal import Terminal
from eapu_hil.cli.training import load_experiment, new_place
from eapu_hil.rules.spoken_of import COMPARED

if TYPE_CHECKING:
    from eapu_hil.study.batch import Ended
    from eapu_hil.study.results import Results

# What runs a command is imported in there; see `eapu_hil.cli.arrays`.
_PAGES = "eapu_hil.pages"  # entry points for pages of other packages: chip


def compare(parser: ArgumentParser) -> None:
    """Train the same experiment under several rules and compare them.

    Runs that have finished are not repeated when the command is given again with the same --out.
    """
    options.experiment(parser)
    parser.add_argument("--rules", metavar="A,B,...", help=f"rules to compare; default: {','.join(COMPARED)}")
    # `compare table` was the name of `table`
    parser.add_argument("--quick", action="store_true", help=SUPPRESS)
    parser.add_argument("--jobs", type=int, help=SUPPRESS)
    options.new_run(parser, "comparison")
    parser.set_defaults(command=_compare)


def table(parser: ArgumentParser) -> None:
    """Train every rule on every task and write one table of the results.

    Runs that have finished are not repeated when the command is given again with the same --out.
    """
    parser.add_argument(
        "--rules", metavar="A,B,...", help="rules of the table; default: all rules of its plan"
    )
    parser.add_argument("--quick", action="store_true", help="one task, one seed, few steps")
    parser.add_argument(
        "--jobs",
        type=options.positive,
        metavar="N",
        help="number of runs at a time; default: the number of cores",
    )
    options.new_run(parser, "table")
    parser.set_defaults(command=_table)


def report(parser: ArgumentParser) -> None:
    """Draw the figures of a run, a comparison or a chip and write its HTML page; of several runs one page.

    Runs, comparisons and tables that have not ended are reported as far as they are, with what is missing. The page
    of a chip shows its history, maps, bad cells, drift and wear.
    """
    parser.add_argument(
        "runs",
        type=Path,
        nargs="+",
        metavar="RUN|COMPARISON|CHIP",
        help="directory of a run, a comparison, a table or a chip; or directories of several runs",
    )
    parser.add_argument(
        "--standalone", action="store_true", help="one HTML file with the figures inside, to be mailed"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="directory for the page of several runs; default: runs/<date>-report-<6 hexadecimal digits>",
    )
    options.allow_module(parser)
    parser.set_defaults(command=_report)


def _compare(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    if args.experiment == "table":
        terminal.note("`compare table` is now called `table`; the old name still works")
        return _table(args, terminal)
    if args.quick or args.jobs is not None:
        raise ConfigError("--quick and --jobs: only for `table`")
    from eapu_hil.cli.bars import TrainingBar
    from eapu_hil.study import compare as comparing

    rules = [name.strip() for name in args.rules.split(",")] if args.rules is not None else list(COMPARED)
    experiments = comparing.with_rules(load_experiment(args.experiment, args), rules, args.allow_module)
    name = next(iter(experiments.values())).name
    directory = new_place(args, f"{name}-compare")
    with terminal.stop_hint(_again(directory), directory.exists):
        comparison = comparing.compare(experiments, directory, lambda rule: TrainingBar(terminal, rule))
    rows = []
    for rule, summary in comparison["rules"].items():
        metric = summary.get("metric") or {}
        style = metric_style(str(metric.get("name")))
        on_array = experiments[rule].rule.trains_on != "host"
        ratio = summary.get("update_ratio_mean") if on_array else None
        numbers = [share(ratio), count(summary.get("writes_total")), count(summary.get("pulses_total"))]
        energy = with_prefix((summary.get("energy_j") or {}).get("total"), "J")
        rows.append([rule, style.text(metric.get("final")), *numbers, energy])
    terminal.table(["rule", "metric", "written per step", "cell writes", "pulses", "energy"], rows)
    terminal.say(f"comparison: {directory}   (eapu-hil report {directory})")
    return {"comparison": directory, **comparison}


def _table(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    from eapu_hil.base.loading import load_model
    from eapu_hil.cli.bars import BatchBar
    from eapu_hil.study.plan import TablePlan, planned_runs, require_runnable
    from eapu_hil.study.report import write_table_report
    from eapu_hil.study.results import Ablation, make_table, runs_at_a_time

    plan = load_model(TablePlan, "table", (), "tables")
    if args.bench is not None:
        plan = plan.on_any_bench()
    if args.quick:
        plan = plan.quick()
    if args.seed is not None:
        plan = plan.with_seed(args.seed)
    if args.rules is not None:
        plan = plan.with_rules([name.strip() for name in args.rules.split(",")])
    planned = planned_runs(plan, args.bench, args.set, args.allow_module)
    directory = new_place(args, "table")
    jobs = runs_at_a_time(args.jobs, planned)
    require_runnable(planned)
    texts = {name: rule.text for name, rule in plan.rules.items()}
    ablations = {
        name: Ablation(its.repeats, its.lacks) for name, its in plan.tasks.items() if its.repeats is not None
    }
    with (
        terminal.stop_hint(_again(directory), directory.exists),
        BatchBar(terminal, "table", len(planned)) as bar,
    ):

        def tell(name: str, ended: Ended) -> None:
            metric = (ended.summary or {}).get("metric") or {}
            style = metric_style(str(metric.get("name")))
            bar.ended(name, style.text(metric.get("final")) if metric else ended.error)

        results = make_table(planned, texts, ablations, directory, jobs, tell)
    page = write_table_report(directory, args.allow_module)
    for task, metric_name in results.tasks.items():
        _say_task(task, metric_style(metric_name), plan.rules_of(task), results, terminal)
    terminal.say(f"table: {directory}   report: {page}")
    return {"table": directory, "report": page, "runs": len(results.runs)}


def _say_task(task: str, style: MetricStyle, rules: list[str], results: Results, terminal: Terminal) -> None:
    rows = []
    for rule in rules:
        metric, ratio, pulses = (
            results.spread(task, rule, column) for column in ("metric", "update_ratio", "pulses")
        )
        quality = style.text(metric.mean) if metric else "diverged"
        quality += f" \u00b1 {style.factor * metric.sd:.2f}" if metric and metric.sd is not None else ""
        written = share(ratio.mean) if ratio else MISSING
        rows.append([rule, quality, written, count(pulses.mean) if pulses else MISSING])
    terminal.table([task, style.label, "written per step", "pulses"], rows)


def _report(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    from eapu_hil.bench.chip_id import PASSPORT
    from eapu_hil.report.comparison_data import COMPARISON
    from eapu_hil.report.comparison_report import write_comparison_report
    from eapu_hil.report.overlay import write_overlay
    from eapu_hil.report.run_report import write_report
    from eapu_hil.study.report import write_table_report
    from eapu_hil.study.results import RUNS, TABLE

    options = {"standalone": args.standalone}
    if len(args.runs) == 1 and (args.runs[0] / PASSPORT).is_file() and args.out is None:
        page = load(_PAGES, "chip", "page")(args.runs[0], **options)
    elif len(args.runs) > 1:
        directory = new_place(args, "report")
        page = write_overlay(args.runs, directory, args.allow_module, **options)
    elif args.out is not None:
        raise ConfigError("--out: only for the page of several runs; that of one run lies in its directory")
    elif (args.runs[0] / TABLE).exists() or (args.runs[0] / RUNS).is_dir():
        page = write_table_report(args.runs[0], args.allow_module, **options)
    elif (args.runs[0] / COMPARISON).exists():
        page = write_comparison_report(args.runs[0], args.allow_module, **options)
    else:
        page = write_report(args.runs[0], args.allow_module, **options)
    terminal.say(f"report: {page}")
    return {"report": page}


def _again(directory: Path) -> str:
    return f"to continue, give the same command with --out {directory}"
