"""The commands that train, and those that use a trained network: demo, train, resume, evaluate, apply."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eapu_hil.base.quantities import count, duration, metric_style, share, with_prefix
from eapu_hil.base.storage import StorageError
from eapu_hil.cli import options
from eapu_hil.cli.terminal import Terminal

if TYPE_CHECKING:
    from eapu_hil.training.config import ExperimentConfig

# What runs a command is imported in there, see `eapu_hil.cli.arrays`; the trainer, the tasks and the drawing need the
# packages of the extra `train`.


def demo(parser: ArgumentParser) -> None:
    """Train a denoiser on the twin and write its report."""
    options.new_run(parser)
    options.exchanged(parser)
    parser.set_defaults(command=_demo)


def train(parser: ArgumentParser) -> None:
    """Train a network as an experiment file says."""
    options.experiment(parser)
    options.new_run(parser)
    options.exchanged(parser)
    parser.set_defaults(command=_train)


def resume(parser: ArgumentParser) -> None:
    """Continue a run after a stop or a crash, or beyond its end."""
    options.run(parser)
    options.exchanged(parser)
    parser.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="new total number of steps; default: that of the experiment",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY.PATH=VALUE",
        help="change a value that may change in the middle of a run, such as optimizer.lr=0.001; repeatable",
    )
    parser.set_defaults(command=_resume)


def evaluate(parser: ArgumentParser) -> None:
    """Measure a trained network on other images."""
    options.run(parser)
    options.exchanged(parser)
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder of image files")
    parser.set_defaults(command=_evaluate)


def apply(parser: ArgumentParser) -> None:
    """Denoise or enlarge images with a trained network."""
    options.run(parser)
    options.exchanged(parser)
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="image file")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="directory for the resulting images"
    )
    parser.set_defaults(command=_apply)


def _demo(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    from eapu_hil.report.run_report import write_report

    experiment = load_experiment("denoise", args)
    run_dir = new_place(args, experiment.name)
    summary = _trained(experiment, run_dir, terminal, exchanged=args.exchanged)
    page = write_report(run_dir, args.allow_module)
    _say_summary(summary, terminal)
    terminal.say(f"report: {page}")
    return {"run": run_dir, "report": page, "summary": summary}


def _train(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    experiment = load_experiment(args.experiment, args)
    run_dir = new_place(args, experiment.name)
    summary = _trained(experiment, run_dir, terminal, exchanged=args.exchanged)
    _say_summary(summary, terminal)
    terminal.say(f"run: {run_dir}   (eapu-hil report {run_dir})")
    return {"run": run_dir, "summary": summary}


def _resume(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    from eapu_hil.cli.bars import TrainingBar
    from eapu_hil.training import trainer
    from eapu_hil.training.runs import read_start

    name = str(read_start(args.run).get("name", args.run.name))
    with _resumable(args.run, terminal):
        bar = TrainingBar(terminal, name)
        summary = trainer.resume(
            args.run, bar, args.allow_module, steps=args.steps, changes=args.set, exchanged=args.exchanged
        )
    _say_summary(summary, terminal)
    terminal.say(f"run: {args.run}   (eapu-hil report {args.run})")
    return {"run": args.run, "summary": summary}


def _evaluate(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    from eapu_hil.training.trainer import trained_network

    with trained_network(args.run, args.allow_module, exchanged=args.exchanged) as (task, network):
        found = task.evaluate(network.infer, quick=False, folder=args.images)
    style = metric_style(task.metric_name)
    rows = [[item.name, style.text(item.input), style.text(item.value)] for item in found.items]
    rows.append(["mean", style.text(found.input), style.text(found.value)])
    terminal.table(["image", f"{style.label} input", f"{style.label} output"], rows)
    metric = {"name": task.metric_name, "input": found.input, "value": found.value, "ssim": found.ssim}
    return {"run": args.run, "metric": metric, "images": [asdict(item) for item in found.items]}


def _apply(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    from eapu_hil.training.applying import apply_to_files

    written = apply_to_files(args.run, args.images, args.out, args.allow_module, exchanged=args.exchanged)
    for path in written:
        terminal.say(str(path))
    return {"run": args.run, "images": written}


def load_experiment(source: str, args: Namespace) -> ExperimentConfig:
    """The experiment with --bench, --seed and --set, in this order."""
    from eapu_hil.base.loading import load_model
    from eapu_hil.training.config import ExperimentConfig

    overrides = [f"bench={args.bench}"] if args.bench is not None else []
    overrides += [f"seed={args.seed}"] if args.seed is not None else []
    return load_model(
        ExperimentConfig, source, [*overrides, *args.set], "experiments", allow_modules=args.allow_module
    )


def new_place(args: Namespace, name: str) -> Path:
    """The directory that --out names, or a new one in `runs`."""
    from eapu_hil.base.provenance import new_run_id

    return Path(args.out) if args.out is not None else Path("runs") / new_run_id(name)


def _trained(
    experiment: ExperimentConfig, run_dir: Path, terminal: Terminal, *, exchanged: bool
) -> dict[str, Any]:
    from eapu_hil.cli.bars import TrainingBar
    from eapu_hil.training import trainer

    with _resumable(run_dir, terminal):
        return trainer.train(experiment, run_dir, TrainingBar(terminal, experiment.name), exchanged=exchanged)


@contextmanager
def _resumable(run_dir: Path, terminal: Terminal) -> Iterator[None]:
    hint, begun = f"eapu-hil resume {run_dir}", (run_dir / "start.yaml").is_file
    try:
        with terminal.stop_hint(f"to continue: {hint}", begun):
            yield
    except StorageError:
        if begun():
            terminal.note(f"what was recorded is kept; when this is mended, continue with: {hint}")
        raise


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
            f"{share(summary.get('update_ratio_mean'))} of the weights are written in a step on average: "
            f"{count(summary['writes_total'])} cell writes, {count(summary.get('pulses_total'))} pulses, "
            f"{with_prefix((summary.get('energy_j') or {}).get('total'), 'J')}, "
            f"{duration(summary.get('bench_time_s'))} of bench time"
        )
    for line in lines:
        terminal.say(line)
