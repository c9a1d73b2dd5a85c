"""`eapu-hil`: the command line. Exit codes: 0 done, 1 failed, 2 bad usage or file, 3 refused by the interlock."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from eapu_calibration import commands as calibration_commands
from eapu_drivers import commands as device_commands

from eapu_hil.base.stopping import grounding_signals
from eapu_hil.cli import array_commands, commands
from eapu_hil.cli.terminal import Terminal
from eapu_hil.hal import ConfigError, HilError, LimitError

Command = Callable[[Namespace, Terminal], dict[str, Any]]

FAILED, USAGE, REFUSED, INTERRUPTED = 1, 2, 3, 130
_SOURCE_METERS = {
    "2400": "Keithley 2400",
    "2450": "Keithley 2450",
    "2600b": "Keithley 2636B",
    "b2900": "Keysight B2902B",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code. SIGTERM ends it with SystemExit(143), lines grounded."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    terminal = Terminal(as_json="--json" in given)
    try:
        args = make_parser().parse_args(given)
        terminal.log_to_stderr()
        if getattr(args, "allow_module", []):
            sys.path.append(str(Path.cwd()))  # where such a module may lie, as for `python -m`
        with grounding_signals():
            terminal.result(args.command(args, terminal))
    except HilError as error:
        return _failed(error, terminal)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _failed(error: HilError, terminal: Terminal) -> int:
    code = USAGE if isinstance(error, ConfigError) else REFUSED if isinstance(error, LimitError) else FAILED
    text = " ".join(str(error).split())
    sys.stderr.write(f"eapu-hil: error: {text}\n")
    terminal.result({"error": text, "exit_code": code})
    return code


class _Parser(ArgumentParser):
    """Bad usage is an error like any other: one line, exit code 2."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see {self.prog} --help")


def make_parser() -> ArgumentParser:
    """The parser; `command` of what it returns is the function to call."""
    parser = _Parser("eapu-hil", description="Train neural networks on a memristor crossbar, or on its twin.")
    found = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add = _Adder(found)

    demo = add("demo", commands.demo, "train a denoiser on the twin and report it")
    _run_options(demo)

    train = add("train", commands.train, "train an experiment")
    train.add_argument("experiment", help="path of an experiment file, or the name of a packaged one")
    _run_options(train)

    resume = add("resume", commands.resume, "go on with a run after a stop or a crash")
    resume.add_argument("run", type=Path, help="run directory")

    evaluate = add("evaluate", commands.evaluate, "the trained network on other images")
    evaluate.add_argument("run", type=Path, help="run directory")
    evaluate.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder of image files")

    apply = add("apply", commands.apply, "denoise or enlarge images with the trained network")
    apply.add_argument("run", type=Path, help="run directory")
    apply.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="image file")
    apply.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the results go")

    _add_compare(add)

    report = add("report", commands.report, "figures and an HTML page of a run or a comparison")
    report.add_argument("run", type=Path, metavar="RUN|COMPARISON", help="directory of a run or a comparison")

    for one in (resume, evaluate, apply, report):
        _allow_module(one)

    check = add("check", array_commands.check, "prove the limits of a bench, ground it, close it")
    check.add_argument("bench", help="path of a bench file, or the name of a packaged one")

    read = add("read", array_commands.read, "conductances of cells, as CSV")
    program = add("program", array_commands.program, "write-verify of the cells in a CSV file")
    form = add("form", array_commands.form, "form cells that do not conduct yet")
    for one in (read, program, form):
        one.add_argument("bench", help="path of a bench file, or the name of a packaged one")
        one.add_argument("--array", type=int, default=0, metavar="INDEX", help="which array; default 0")
        one.add_argument("--out", type=Path, metavar="FILE", help="the CSV file to write; default: stdout")
    for one in (read, form):
        one.add_argument(
            "--block", type=array_commands.block, metavar="R0:R1,C0:C1", help="default: all cells"
        )
    read.add_argument(
        "--after",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="bench time to let pass first; default: none",
    )
    program.add_argument("targets", type=Path, metavar="TARGETS.csv", help="columns row,col,g_target_uS")

    _add_calibration(found, add)

    discover = add(
        "discover",
        device_commands.discover,
        "ask serial ports for controllers, VISA resources for instruments",
    )
    discover.add_argument(
        "ports",
        nargs="*",
        metavar="PORT|RESOURCE",
        help="device, pyserial URL or VISA name; default: every serial port and VISA resource there is",
    )
    discover.add_argument(
        "--visa",
        default="@py",
        metavar="LIBRARY",
        help="in PyVISA's words: @py, @ivi or a path; default: %(default)s",
    )

    sim = found.add_parser("sim", help="a simulated device, for any client")
    add_device = _Adder(sim.add_subparsers(title="devices", required=True, metavar="DEVICE"))
    text = "a controller: its real firmware, on the twin"
    controller = add_device("controller", device_commands.sim_controller, text)
    controller.add_argument(
        "--listen", required=True, metavar="HOST:PORT|pty", help="where it answers; port 0: a free one"
    )
    controller.add_argument("--qemu", action="store_true", help="the Cortex-M3 image in QEMU")
    controller.add_argument(
        "--bench", default="twin", metavar="BENCH", help="whose arrays it has; default: %(default)s"
    )
    for kind, model in _SOURCE_METERS.items():
        meter = add_device(kind, device_commands.sim_source_meter, f"a {model} at one cell of the twin")
        meter.add_argument(
            "--listen", required=True, metavar="HOST:PORT", help="where it answers; port 0: a free one"
        )
        meter.add_argument(
            "--bench", default="twin", metavar="BENCH", help="whose array it has; default: %(default)s"
        )
        meter.set_defaults(kind=kind)
    return parser


class _Adder:
    """Adds one command with what all of them have."""

    def __init__(self, found: Any) -> None:
        self._found = found

    def __call__(self, name: str, command: Command, text: str) -> ArgumentParser:
        parser: ArgumentParser = self._found.add_parser(name, help=text, description=f"{text.capitalize()}.")
        parser.add_argument("--json", action="store_true", help="print one JSON object last on stdout")
        parser.set_defaults(command=command)
        return parser


def _add_compare(add: _Adder) -> None:
    compare = add("compare", commands.compare, "the same experiment under several rules")
    compare.add_argument(
        "experiment",
        help="path of an experiment file, or the name of a packaged one; `table`: every rule on every task",
    )
    compare.add_argument(
        "--rules", metavar="A,B,...", help=f"default: {commands.ALL_RULES}; of the table: all of its plan"
    )
    compare.add_argument("--quick", action="store_true", help="of the table: one task, one seed, short")
    compare.add_argument(
        "--jobs", type=int, metavar="N", help="of the table: runs at a time; default: as many as cores"
    )
    _run_options(compare)


def _add_calibration(found: Any, add: _Adder) -> None:
    calibrate = add("calibrate", calibration_commands.calibrate, "measure an array; overwrites cells of it")
    calibrate.add_argument("bench", help="path of a bench file, or the name of a packaged one")
    calibrate.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="measurements of the plan, or forming; default: all of the plan",
    )
    calibrate.add_argument(
        "--plan", default="quick", metavar="PLAN", help="path or packaged name; default: %(default)s"
    )
    calibrate.add_argument("--array", type=int, default=0, metavar="INDEX", help="which array; default 0")
    calibrate.add_argument(
        "--seed", type=int, default=0, metavar="N", help="which cells; default: %(default)s"
    )

    drift = add("drift", calibration_commands.drift, "which programmed cells left their band, and since when")
    drift.add_argument("bench", help="path of a bench file, or the name of a packaged one")
    drift.add_argument("--array", type=int, default=0, metavar="INDEX", help="which array; default 0")
    drift.add_argument(
        "--after",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="bench time to let pass first",
    )
    drift.add_argument(
        "--band", type=array_commands.amount, metavar="US", help="+- this many uS; default: the recipe's band"
    )
    drift.add_argument(
        "--out", type=Path, metavar="FILE", help="the CSV file of what to write again, to make"
    )

    importing = add(
        "import", calibration_commands.import_, "a measurement that is in a file, into a passport"
    )
    importing.add_argument(
        "mapping", type=Path, metavar="IMPORT.yaml", help="which file, and which column is what"
    )
    importing.add_argument(
        "--chip", type=Path, required=True, metavar="DIR", help="the passport; made where there is none"
    )
    importing.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the resampling; default: %(default)s"
    )

    fit = add("fit-twin", calibration_commands.fit, "a twin preset from what was measured on a chip")
    fit.add_argument("chip", type=Path, help="directory of the chip's passport")
    fit.add_argument(
        "-o", "--out", type=Path, required=True, metavar="PRESET.yaml", help="the preset, to make"
    )
    fit.add_argument("--array", type=int, default=0, metavar="INDEX", help="which array; default 0")
    fit.add_argument(
        "--base",
        default="rram_180nm",
        metavar="PRESET",
        help="path or packaged name: where values come from that nothing was measured for; default: %(default)s",
    )
    fit.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the resampling; default: %(default)s"
    )

    passport = found.add_parser("passport", help="what was measured on a chip")
    add_view = _Adder(passport.add_subparsers(title="views", required=True, metavar="VIEW"))
    show = add_view("show", calibration_commands.show, "the measurements of a chip, or one of them")
    show.add_argument("chip", type=Path, help="directory of the chip's passport")
    show.add_argument("entry", type=int, nargs="?", metavar="ENTRY", help="number of one measurement")
    diff = add_view("diff", calibration_commands.diff, "what changed between two measurements of one kind")
    diff.add_argument("chip", type=Path, help="directory of the chip's passport")
    diff.add_argument("first", type=int, metavar="ENTRY", help="number of a measurement")
    diff.add_argument("second", type=int, metavar="ENTRY", help="number of a later one")


def _run_options(parser: ArgumentParser) -> None:
    parser.add_argument("--out", metavar="DIR", help="directory to make; default: runs/<date>-<name>-<6 hex>")
    parser.add_argument(
        "--bench", metavar="BENCH", help="path or packaged name, in place of the experiment's"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="change a value; repeatable"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="in place of the experiment's")
    _allow_module(parser)


def _allow_module(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--allow-module",
        action="append",
        default=[],
        metavar="NAME",
        help="a module that files may name a rule or a task from, as NAME:Class; repeatable",
    )


if __name__ == "__main__":
    sys.exit(main())
