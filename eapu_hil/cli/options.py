"""Arguments that several commands share, and types of arguments."""

from __future__ import annotations

import math
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

Block = tuple[int, int, int, int]


def block(text: str) -> Block:
    """`r0:r1,c0:c1` -> (r0, r1, c0, c1), the rows r0 to r1 - 1 and columns c0 to c1 - 1; for argparse."""
    try:
        (row0, row1), (col0, col1) = (map(int, part.split(":")) for part in text.split(","))
    except ValueError:
        raise ArgumentTypeError(f"{text!r}: expected r0:r1,c0:c1, such as 0:8,0:64") from None
    if not (0 <= row0 < row1 and 0 <= col0 < col1):
        raise ArgumentTypeError(f"{text!r}: expected 0 <= r0 < r1 and 0 <= c0 < c1")
    return row0, row1, col0, col1


def amount(text: str) -> float:
    """A number from 0 up; for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ArgumentTypeError(f"{text!r}: expected a number from 0 up")
    return value


def whole(text: str) -> int:
    """A whole number from 0 up, such as a seed; for argparse."""
    return _at_least(0, text)


def positive(text: str) -> int:
    """A whole number from 1 up; for argparse."""
    return _at_least(1, text)


def port(text: str) -> int:
    """A number of a TCP port, 0 for any that is free; for argparse."""
    value = _at_least(0, text)
    if value > 65535:
        raise ArgumentTypeError(f"{text!r}: expected a port, 0 to 65535")
    return value


def _at_least(least: int, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise ArgumentTypeError(f"{text!r}: expected a whole number from {least} up")
    return value


def bench(parser: ArgumentParser) -> None:
    """BENCH, the bench that a command opens."""
    parser.add_argument(
        "bench",
        metavar="BENCH",
        help="path of a bench file, or the name of a packaged one (eapu-hil list benches)",
    )
    yes(parser)
    exchanged(parser)
    allow_library(parser)


def yes(parser: ArgumentParser) -> None:
    """--yes, for a bench whose limits are unusual."""
    parser.add_argument(
        "--yes",
        action="store_true",
        help="open the bench although a limit or its temperature is unusual; the same as unusual: true under limits",
    )


def changes(args: Namespace) -> list[str]:
    """The changes of the bench file that the command line asks for."""
    return ["limits.unusual=true"] if args.yes else []


def exchanged(parser: ArgumentParser) -> None:
    """--exchanged, for a chip whose board or instruments are others than before."""
    parser.add_argument(
        "--exchanged",
        action="store_true",
        help="the chip is the same, its board or instruments were exchanged; the passport records it",
    )


def array(parser: ArgumentParser) -> None:
    """--array, the array of the bench or chip that a command works on."""
    parser.add_argument(
        "--array", type=int, default=0, metavar="INDEX", help="number of the array; default: %(default)s"
    )


def after(parser: ArgumentParser) -> None:
    """--after, a wait before a command reads."""
    parser.add_argument(
        "--after",
        type=amount,
        default=0.0,
        metavar="SECONDS",
        help="wait for this long on the bench clock first; default: no wait",
    )


def picture(text: str) -> Path:
    """A file to draw, `.png` or `.svg`; for argparse."""
    path = Path(text)
    if path.suffix not in (".png", ".svg"):
        raise ArgumentTypeError(f"{text!r}: expected a file name that ends in .png or .svg")
    return path


def plot(parser: ArgumentParser) -> None:
    """--plot, a picture of the cells that a command worked on."""
    parser.add_argument(
        "--plot",
        type=picture,
        metavar="FILE",
        help="new picture of the cells, .png or .svg: map, histogram, pulses",
    )


def experiment(parser: ArgumentParser) -> None:
    """EXPERIMENT, what a command trains."""
    parser.add_argument(
        "experiment",
        metavar="EXPERIMENT",
        help="path of an experiment file, or the name of a packaged one (eapu-hil list experiments)",
    )


def run(parser: ArgumentParser) -> None:
    """RUN, a run that was made before."""
    parser.add_argument("run", type=Path, metavar="RUN", help="directory of the run")
    allow_module(parser)
    allow_library(parser)


def new_run(parser: ArgumentParser, what: str = "run") -> None:
    """--out, --bench, --set and --seed of commands that train; what: a `run`, a `comparison` or a `table`."""
    parser.add_argument(
        "--out",
        metavar="DIR",
        help=f"new directory for the {what}; default: runs/<date>-<name>-<6 hexadecimal digits>",
    )
    parser.add_argument(
        "--bench",
        metavar="BENCH",
        help="path or packaged name of a bench that replaces the one in the experiment file",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY.PATH=VALUE",
        help="change a value of the experiment file, such as optimizer.lr=0.001; repeatable",
    )
    parser.add_argument(
        "--seed", type=whole, metavar="N", help="random seed that replaces the one in the experiment file"
    )
    allow_module(parser)
    allow_library(parser)


def allow_library(parser: ArgumentParser) -> None:
    """--allow-library, for bench files that name a VISA library."""
    parser.add_argument(
        "--allow-library",
        action="append",
        default=[],
        metavar="PATH",
        help="let bench files load this VISA library (key instruments.visa); repeatable",
    )


def allow_module(parser: ArgumentParser) -> None:
    """--allow-module, for files that name a rule or a task of a module."""
    parser.add_argument(
        "--allow-module",
        action="append",
        default=[],
        metavar="NAME",
        help="let files use rules and tasks of this Python module, named NAME:Class; repeatable",
    )
