"""The commands that train, and those that use what was trained. Each returns what --json prints."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eapu_hil.base.loading import load_model
from eapu_hil.base.provenance import new_run_id
from eapu_hil.base.quantities import count, duration, metric_style, share, with_prefix
from eapu_hil.base.storage import storage_errors
from eapu_hil.cli.terminal import Terminal, TrainingBar
from eapu_hil.hal import ConfigError
from eapu_hil.rules import COMPARED
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.runs import read_start

ALL_RULES = ",".join(COMPARED)  # of `compare EXPERIMENT` without --rules

# The trainer, the tasks and the drawing are imported by the commands that need them: `eapu-hil --help` and the
# commands for a bench work without the packages that only training needs.


def demo(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    """Trains the packaged experiment `denoise` and reports it."""
    from eapu_hil.report.run_report import write_report

    experiment = load_experiment("denoise", args)
    run_dir = _new_place(args, experiment.name)
    summary = _train(experiment, run_dir, terminal)
    page = write_report(run_dir, args.allow_module)
    _say_summary(summary, terminal)
    terminal.say(f"report: {page}")
    return {"run": run_dir, "report": page, "summary": summary}


def train(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    """Trains an experiment."""
    experiment = load_experiment(args.experiment, args)
    run_dir = _new_place(args, experiment.name)
    summary = _train(experiment, run_dir, terminal)
    _say_summary(summary, terminal)
    terminal.say(f"run: {run_dir}   (eapu-hil report {run_dir})")
    return {"run": run_dir, "summary": summary}


def resume(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    """Goes on with a run."""
    from eapu_hil.training import trainer

    name = str(read_start(args.run).get("name", args.run.name))
    with _resumable(args.run, terminal):
        summary = trainer.resume(args.run, TrainingBar(terminal, name), args.allow_module)
    _say_summary(summary, terminal)
    terminal.say(f"run: {args.run}   (eapu-hil report {args.run})")
    return {"run": args.run, "summary": summary}


def evaluate(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    """The trained network on a folder of images."""
    from eapu_hil.training.trainer import trained_network

    with trained_network(args.run, args.allow_module) as (task, network):
        found = task.evaluate(network.infer, quick=False, folder=args.images)
    style = metric_style(task.metric_name)
    rows = [[item.name, style.text(item.input), style.text(item.value)] for item in found.items]
    rows.append(["mean", style.text(found.input), style.text(found.value)])
    terminal.table(["image", f"{style.label} input", f"{style.label} output"], rows)
    metric = {"name": task.metric_name, "input": found.input, "value": found.value, "ssim": found.ssim}
    return {"run": args.run, "metric": metric, "images": [asdict(item) for item in found.items]}


def apply(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    """The trained network on a user's images, one file each in --out."""
    from eapu_hil.tasks.images import read_image, write_image
    from eapu_hil.training.trainer import trained_network

    images = [(path, read_image(path)) for path in args.images]
    task_name = str((read_start(args.run).get("experiment") or {}).get("task", {}).get("name", "output"))
    targets = [args.out / f"{path.stem}_{task_name}.png" for path, _ in images]
    for index, target in enumerate(targets):
        if target.exists():
            raise ConfigError(f"{target}: already exists; name another directory with --out")
        if target in targets[:index]:
            raise ConfigError(f"{args.images[index]}: a second image with the name {args.images[index].stem}")
    with trained_network(args.run, args.allow_module) as (task, network), storage_errors(args.out):
        results = [task.apply(network.infer, image) for _, image in images]
        args.out.mkdir(parents=True, exist_ok=True)
        for target, result in zip(targets, results, strict=True):
            write_image(target, result)
            terminal.say(str(target))
    return {"run": args.run, "images": targets}


def compare(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    """The same experiment under several rules."""
    if args.experiment == "table":
        from eapu_hil.cli.table_commands import compare_table

        return compare_table(args, terminal)
    if args.quick or args.jobs is not None:
        raise ConfigError("--quick and --jobs: only for `compare table`")
    from eapu_hil.study import compare as comparing

    args.rules = args.rules or ALL_RULES
    rules = [name.strip() for name in args.rules.split(",")]
    experiments = comparing.with_rules(load_experiment(args.experiment, args), rules, args.allow_module)
    name = next(iter(experiments.values())).name
    directory = _new_place(args, f"{name}-compare")
    with terminal.stop_hint(f"the same command with --out {directory} goes on", directory):
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
    terminal.table(["rule", "metric", "written a step", "cell writes", "pulses", "energy"], rows)
    terminal.say(f"comparison: {directory}   (eapu-hil report {directory})")
    return {"comparison": directory, **comparison}


def report(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    """Figures and report.html of a run or a comparison."""
    from eapu_hil.report.comparison_report import write_comparison_report
    from eapu_hil.report.run_report import write_report
    from eapu_hil.study.report import write_table_report

    if (args.run / "table.json").exists():
        page = write_table_report(args.run, args.allow_module)
    elif (args.run / "comparison.json").exists():
        page = write_comparison_report(args.run, args.allow_module)
    else:
        page = write_report(args.run, args.allow_module)
    terminal.say(f"report: {page}")
    return {"report": page}


def load_experiment(source: str, args: Namespace) -> ExperimentConfig:
    """The experiment with --bench, --seed and --set, in this order."""
    overrides = [f"bench={args.bench}"] if args.bench is not None else []
    overrides += [f"seed={args.seed}"] if args.seed is not None else []
    allowed = args.allow_module
    return load_model(ExperimentConfig, source, [*overrides, *args.set], "experiments", allow_modules=allowed)


def _new_place(args: Namespace, name: str) -> Path:
    return Path(args.out) if args.out is not None else Path("runs") / new_run_id(name)


def _train(experiment: ExperimentConfig, run_dir: Path, terminal: Terminal) -> dict[str, Any]:
    from eapu_hil.training import trainer

    with _resumable(run_dir, terminal):
        return trainer.train(experiment, run_dir, TrainingBar(terminal, experiment.name))


@contextmanager
def _resumable(run_dir: Path, terminal: Terminal) -> Iterator[None]:
    with terminal.stop_hint(f"eapu-hil resume {run_dir} goes on", run_dir):
        yield


def _say_summary(summary: Mapping[str, Any], terminal: Terminal) -> None:
    metric = summary.get("metric") or {}
    style = metric_style(str(metric.get("name")))
    lines = [f"{style.label} {style.text(metric.get('final'))} on held-out data"]
    if metric.get("input") is not None and metric.get("final") is not None:
        gain = style.text(metric["final"] - metric["input"], sign=True)
        lines[0] += f" ({gain} over the input's {style.text(metric['input'])})"
    lines[0] += f", {count(summary.get('steps'))} steps in {duration(summary.get('wall_s'))}"
    if summary.get("writes_total") is not None:
        lines.append(
            f"{share(summary.get('update_ratio_mean'))} of the weights written a step: "
            f"{count(summary['writes_total'])} cell writes, {count(summary.get('pulses_total'))} pulses, "
            f"{with_prefix((summary.get('energy_j') or {}).get('total'), 'J')}, "
            f"{duration(summary.get('bench_time_s'))} by the bench's clock"
        )
    for line in lines:
        terminal.say(line)
