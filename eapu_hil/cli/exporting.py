"""The command export."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from eapu_hil.cli.terminal import Terminal
from eapu_hil.training.export import FORMATS

# What runs a command is imported in there; see `eapu_hil.cli.arrays`.


def export(parser: ArgumentParser) -> None:
    """Write a run or a chip to files that other tools open.

    hdf5 and netcdf are one file, for xarray, h5py, pandas and MATLAB; csv is a directory of tables; tensorboard is a
    directory for `tensorboard --logdir`.
    """
    parser.add_argument("source", type=Path, metavar="RUN|CHIP", help="directory of a run or of a chip")
    parser.add_argument("--to", required=True, choices=FORMATS, metavar="FORMAT", help=", ".join(FORMATS))
    parser.add_argument(
        "--out",
        type=Path,
        metavar="PATH",
        help="new file or directory; default: the name of RUN or CHIP, here",
    )
    parser.set_defaults(command=_export)


def _export(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    from eapu_hil.training.export.writing import export as write

    out = write(args.source, args.to, args.out)
    terminal.say(f"exported: {out}")
    return {"exported": out, "format": args.to}
