"""The command `drift`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eapu_calibration.passport_commands import as_json, say_entries
from eapu_hil.base.provenance import now_utc
from eapu_hil.base.quantities import duration
from eapu_hil.base.storage import ReservedFile, require_space
from eapu_hil.cli import options
from eapu_hil.cli.arrays import chosen_array, open_as_it_is
from eapu_hil.cli.terminal import Terminal

if TYPE_CHECKING:
    from eapu_hil.hal import FloatArray

# What runs a command is imported in there; see `eapu_hil.cli.arrays`.
_TABLE_BYTES = 2**22  # of the cells that are out: room for some 20,000 of them


def drift(parser: ArgumentParser) -> None:
    """Read programmed cells again: which have left their band, and since when."""
    options.bench(parser)
    options.array(parser)
    options.after(parser)
    parser.add_argument(
        "--band",
        type=options.amount,
        metavar="uS",
        help="half width of the band in uS; default: that of the recipe",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write the cells to reprogram to this new CSV file"
    )
    options.plot(parser)
    parser.set_defaults(command=_drift)


def _drift(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    import numpy as np

    from eapu_calibration.drift import look
    from eapu_calibration.entry_files import EntryFiles, room
    from eapu_hil.cli.results import cell_drawing, csv_text, require_free, same_of_all

    require_free(args.out)
    draw = cell_drawing(args.plot, args.out)
    files = EntryFiles(terminal)
    changes = options.changes(args)
    with (
        nullcontext() if args.out is None else ReservedFile(args.out, _TABLE_BYTES) as file,
        open_as_it_is(args.bench, terminal, changes, exchanged=args.exchanged) as bench,
    ):
        array = chosen_array(bench, args.array)
        require_space(bench.chip.directory, room(array))
        if args.after:
            array.wait(args.after)
        band_S = bench.recipe.band_S if args.band is None else 1e-6 * args.band
        pulses = bench.ledger.arrays[args.array].snapshot()["pulses"]
        found, entry = look(array, args.array, bench.chip, bench.recipe.v_read_v, band_S, pulses)
        now_s = array.clock_s()
        refresh = found.refresh()
        columns = {**found.columns(), "time": np.full(len(found.out), now_utc())}
        same = same_of_all(args.array, bench.chip, bench.recipe.v_read_v)
        if file is not None and len(refresh):
            out = {name: values[found.out] for name, values in columns.items()}
            file.write(csv_text(out, same).encode())
        drawn = files.drawn(bench.chip, [entry])
    draw(columns, same)
    say_entries([entry], terminal)
    _say_out(args, terminal, len(refresh), now_s - found.since_s[found.out])
    return {
        **as_json(entry),
        "refresh": {
            "row": refresh.cells.row,
            "col": refresh.cells.col,
            "g_target_uS": 1e6 * refresh.g_target_S,
            "out_for_s": now_s - found.since_s[found.out],
        },
        "out": args.out if len(refresh) else None,
        "figures": drawn,
    }


def _say_out(args: Namespace, terminal: Terminal, cells: int, out_for_s: FloatArray) -> None:
    """How many cells are out of their band, and what to do about them. out_for_s: for how long each is, at least."""
    if cells:
        longest = duration(float(out_for_s.max()))
        terminal.say(f"{cells} cells are out of their band; the longest for at least {longest}")
        if args.out is not None:
            terminal.say(
                f"to program them again: eapu-hil program {args.bench} {args.out} --array {args.array}"
            )
    elif args.out is not None:
        terminal.say(f"no cell is out of its band, so {args.out} is not written")
