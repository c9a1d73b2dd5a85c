"""The commands for single jobs on an array: check, read, program, form."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from eapu_hil.base.loading import load_model
from eapu_hil.base.storage import storage_errors
from eapu_hil.bench import Bench, open_bench
from eapu_hil.bench.array import BenchArray
from eapu_hil.bench.cellcsv import READING_HEADER, read_targets, status_text, write_cells
from eapu_hil.bench.check import check as check_bench
from eapu_hil.bench.config import BenchConfig
from eapu_hil.bench.forming import form as form_cells
from eapu_hil.bench.forming import note_formed
from eapu_hil.bench.forming_record import FormingRecord
from eapu_hil.cli import options
from eapu_hil.cli.terminal import Terminal
from eapu_hil.hal import (
    Cells,
    CellStatus,
    ConfigError,
    Crossbar,
    FloatArray,
    HilError,
    LineFault,
    StatusArray,
)


def check(parser: ArgumentParser) -> None:
    """Prove the limits of a bench: open and identify it, request too much, ground all lines, close.

    For each limit the command asks for slightly more than is allowed and makes sure that it is refused. Where the
    bench can test its contacts, it also reports broken and shorted lines.
    """
    options.bench(parser)
    parser.set_defaults(command=_check)


def read(parser: ArgumentParser) -> None:
    """Read the conductances of cells, as CSV."""
    options.bench(parser)
    options.array(parser)
    _csv_out(parser)
    _block(parser)
    options.after(parser)
    parser.set_defaults(command=_read)


def program(parser: ArgumentParser) -> None:
    """Program cells to the conductances in a CSV file, with write-verify."""
    options.bench(parser)
    parser.add_argument(
        "targets", type=Path, metavar="TARGETS.csv", help="CSV file with the columns row,col,g_target_uS"
    )
    options.array(parser)
    _csv_out(parser)
    parser.set_defaults(command=_program)


def form(parser: ArgumentParser) -> None:
    """Form the cells that do not conduct yet.

    The passport keeps which cells were formed; they are not formed again unless --again and --block name them.
    """
    options.bench(parser)
    options.array(parser)
    _csv_out(parser)
    _block(parser)
    known = parser.add_mutually_exclusive_group()
    known.add_argument(
        "--formed",
        action="store_true",
        help="the cells were formed elsewhere: note that in the passport, apply no pulse",
    )
    known.add_argument(
        "--again",
        action="store_true",
        help="form the cells of --block even if they were formed before; destroys what they hold",
    )
    parser.set_defaults(command=_form)


def _csv_out(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="new CSV file for the result; default: stdout"
    )


def _block(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--block",
        type=options.block,
        metavar="R0:R1,C0:C1",
        help="rows R0 to R1 - 1 and columns C0 to C1 - 1; default: all cells",
    )


def _read(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    require_free(args.out)
    with open_as_it_is(args.bench, terminal, exchanged=args.exchanged) as bench:
        array = chosen_array(bench, args.array)
        cells = _cells(array, args.block)
        if args.after:
            array.wait(args.after)
        reading = array.read(cells, bench.recipe.v_read_v)
    return _report_cells(args, terminal, cells, reading.g_S, reading.status)


def _program(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    require_free(args.out)
    with open_as_it_is(args.bench, terminal, exchanged=args.exchanged) as bench:
        array = chosen_array(bench, args.array)
        targets = read_targets(args.targets, array.shape)
        outcome = array.program(targets)
    failed = int(np.count_nonzero(outcome.status))
    terminal.note(
        f"{len(targets) - failed} of {len(targets)} cells are in band, {outcome.pulses.sum()} pulses"
    )
    extra = {"pulses": outcome.pulses, "g_before_uS": 1e6 * outcome.g_before_S}
    return _report_cells(args, terminal, targets.cells, outcome.g_after_S, outcome.status) | extra


def _form(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    if args.again and args.block is None:
        raise ConfigError("--again: name the cells to form again with --block R0:R1,C0:C1")
    require_free(args.out)
    with open_as_it_is(args.bench, terminal, exchanged=args.exchanged) as bench:
        array = chosen_array(bench, args.array)
        cells = _cells(array, args.block)
        record = FormingRecord(bench.chip, args.array)
        if args.formed:
            formed = note_formed(array, record, cells, bench.recipe)
        else:
            formed = form_cells(array, cells, bench.recipe, again=args.again)
        kept = record.is_formed(cells)
    unformed = ~kept
    status = np.where(unformed, CellStatus.NOT_CONVERGED, CellStatus.OK).astype(np.uint8)
    terminal.note(
        f"{len(cells) - int(unformed.sum())} of {len(cells)} cells are formed, "
        f"{int(np.isfinite(formed.v_form_v).sum())} of them just now"
    )
    extra = {"v_form_v": formed.v_form_v, "g_fresh_uS": 1e6 * formed.g_fresh_S}
    return _report_cells(args, terminal, cells, formed.g_formed_S, status) | extra


def _check(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    found = check_bench(args.bench, exchanged=args.exchanged)
    for number, (identity, shape) in enumerate(zip(found.identities, found.shapes, strict=True)):
        parts = (identity.model, identity.serial, identity.firmware, identity.git_hash)
        what = ", ".join(part for part in parts if part)
        terminal.say(f"array {number}: {what}, {shape[0]} x {shape[1]} cells")
    rows = [[str(proof.array), proof.limit, proof.asked, "refused"] for proof in found.proofs]
    terminal.table(["array", "limit", "asked", "answer"], rows)
    terminal.say(f"all {len(rows)} requests were refused; every line is grounded, the bench is closed")
    _report_faults(found.faults, terminal)
    return {
        "bench": str(args.bench),
        "line_faults": [
            None if faults is None else [vars(fault) for fault in faults] for faults in found.faults
        ],
        "arrays": [
            {**vars(i), "shape": shape} for i, shape in zip(found.identities, found.shapes, strict=True)
        ],
        "proofs": [vars(proof) for proof in found.proofs],
        "grounded": True,
    }


def _report_faults(faults: list[list[LineFault] | None], terminal: Terminal) -> None:
    """Raises HilError where a line is not as it should be: such a bench is not to be used as it is."""
    tested = [(number, found) for number, found in enumerate(faults) if found is not None]
    wrong = [[str(number), fault.where, fault.problem] for number, found in tested for fault in found]
    if wrong:
        terminal.table(["array", "line", "problem"], wrong)
        first = f"array {wrong[0][0]}, {wrong[0][1]}: {wrong[0][2]}"
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise HilError(f"{first}{more}; mend the contact, or list the position under instruments.map.bad")
    if tested:
        terminal.say("every line has contact, no position is shorted, no gate leaks")


@contextmanager
def open_as_it_is(source: str, terminal: Terminal, *, exchanged: bool = False) -> Iterator[Bench]:
    """The bench as it is: nothing is formed or measured unasked.

    A bench file without a chip gets one in chips/NAME, so that one command finds what another has written.
    """
    config = load_model(BenchConfig, source, (), "benches")
    chip_dir = None if config.chip is not None else Path("chips") / Path(source).stem
    if chip_dir is not None:
        terminal.note(f"the bench file names no chip, so {chip_dir} is used")
    with open_bench(config, chip_dir=chip_dir, commission=False, exchanged=exchanged) as bench:
        yield bench


def chosen_array(bench: Bench, number: int) -> BenchArray:
    """Array `number` of a bench. Raises ConfigError where the bench has no such array."""
    if not 0 <= number < len(bench.arrays):
        raise ConfigError(f"--array {number}: the bench has arrays 0 to {len(bench.arrays) - 1}")
    return bench.arrays[number]


def _cells(array: Crossbar, chosen: options.Block | None) -> Cells:
    rows, columns = array.shape
    if chosen is None:
        return Cells.all(array.shape)
    row0, row1, col0, col1 = chosen
    if row1 > rows or col1 > columns:
        raise ConfigError(f"--block {row0}:{row1},{col0}:{col1}: the array has {rows} x {columns} cells")
    return Cells.block(row0, row1, col0, col1)


def require_free(out: Path | None) -> None:
    """Raises ConfigError, before anything is pulsed, when the result could not be saved in `out`."""
    if out is not None and out.exists():
        raise ConfigError(f"{out}: already exists; name a new file with --out")
    if out is not None and not out.parent.is_dir():
        raise ConfigError(f"{out}: there is no directory {out.parent}")


def _report_cells(
    args: Namespace, terminal: Terminal, cells: Cells, g_S: FloatArray, status: StatusArray
) -> dict[str, Any]:
    if args.out is not None:
        with storage_errors(args.out), args.out.open("x", encoding="utf-8", newline="") as file:
            write_cells(file, cells, g_S, status)
    elif not terminal.as_json:
        write_cells(sys.stdout, cells, g_S, status)
    columns = [cells.row, cells.col, 1e6 * g_S, [status_text(int(code)) for code in status]]
    content = dict(zip(READING_HEADER, columns, strict=True))
    return {"array": args.array, "out": args.out, **content}
