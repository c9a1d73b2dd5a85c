"""The lab's command: how many cells of an array conduct how well."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

import numpy as np

from eapu_hil.cli import options
from eapu_hil.cli.arrays import chosen_array, open_as_it_is
from eapu_hil.cli.terminal import Terminal
from eapu_hil.hal import Cells


def histogram(parser: ArgumentParser) -> None:
    """Count the cells of an array by conductance."""
    options.bench(parser)
    options.array(parser)
    parser.add_argument(
        "--bins", type=int, default=8, metavar="N", help="number of bins; default: %(default)s"
    )
    parser.set_defaults(command=_histogram)


def _histogram(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    with open_as_it_is(args.bench, terminal, options.changes(args), exchanged=args.exchanged) as bench:
        array = chosen_array(bench, args.array)
        g_S = array.read(Cells.all(array.shape), bench.recipe.v_read_v).g_S
    counts, edges_S = np.histogram(g_S, bins=args.bins)
    rows = [
        [f"{1e6 * low_S:.1f} to {1e6 * high_S:.1f}", str(count)]
        for low_S, high_S, count in zip(edges_S, edges_S[1:], counts, strict=False)
    ]
    terminal.table(["conductance, uS", "cells"], rows)
    return {"edges_uS": 1e6 * edges_S, "cells": counts}
