"""The command that tries the limits of a bench: check."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from eapu_hil.cli import options
from eapu_hil.cli.terminal import Terminal

# What runs a command is imported in there; see `eapu_hil.cli.arrays`.


def check(parser: ArgumentParser) -> None:
    """Prove the limits of a bench: open and identify it, request too much, ground all lines, close.

    For each limit the command asks the host's interlock for slightly more than is allowed and makes sure that it is
    refused. Then it asks the device past the interlock: a controller has to refuse such requests itself, of instruments
    compliance and protection are read back. Where the bench can test its contacts, the command also reports broken and
    shorted lines.
    """
    options.bench(parser)
    parser.set_defaults(command=_check)


def _check(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    from eapu_hil.bench.check import check as check_bench
    from eapu_hil.cli.checked import checked_as_json, say_checked

    found = check_bench(args.bench, options.changes(args), exchanged=args.exchanged)
    say_checked(found, terminal)
    return {"bench": str(args.bench), **checked_as_json(found)}
