"""The commands for one-off work on an array: read, program, form, check. Each returns what --json prints."""

from __future__ import annotations

import math
import sys
from argparse import ArgumentTypeError, Namespace
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


def read(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    """Reads cells, after a wait if one is asked for."""
    require_free(args.out)
    with open_as_it_is(args.bench, terminal) as bench:
        array = chosen_array(bench, args.array)
        cells = _cells(array, args.block)
        if args.after:
            array.wait(args.after)
        reading = array.read(cells, bench.recipe.v_read_v)
    return _report_cells(args, terminal, cells, reading.g_s, reading.status)


def program(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    """Write-verify of the cells in a CSV file; the passport remembers the targets."""
    require_free(args.out)
    with open_as_it_is(args.bench, terminal) as bench:
        array = chosen_array(bench, args.array)
        targets = read_targets(args.targets, array.shape)
        outcome = array.program(targets)
    failed = int(np.count_nonzero(outcome.status))
    terminal.errors.print(
        f"eapu-hil: {len(targets) - failed} of {len(targets)} cells in band, {outcome.pulses.sum()} pulses",
        soft_wrap=True,
    )
    extra = {"pulses": outcome.pulses, "g_before_uS": 1e6 * outcome.g_before_s}
    return _report_cells(args, terminal, targets.cells, outcome.g_after_s, outcome.status) | extra


def form(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    """Forms cells that do not conduct yet."""
    from eapu_hil.bench.forming import form as form_cells

    require_free(args.out)
    with open_as_it_is(args.bench, terminal) as bench:
        array = chosen_array(bench, args.array)
        cells = _cells(array, args.block)
        formed = form_cells(array, cells, bench.recipe)
    unformed = formed.g_formed_s < bench.recipe.form.g_formed_s
    status = np.where(unformed, CellStatus.NOT_CONVERGED, CellStatus.OK).astype(np.uint8)
    terminal.errors.print(
        f"eapu-hil: {len(cells) - int(unformed.sum())} of {len(cells)} cells formed, "
        f"{int(np.isfinite(formed.v_form_v).sum())} of them now",
        soft_wrap=True,
    )
    extra = {"v_form_v": formed.v_form_v, "g_fresh_uS": 1e6 * formed.g_fresh_s}
    return _report_cells(args, terminal, cells, formed.g_formed_s, status) | extra


def check(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    """Proves the limits of a bench."""
    found = check_bench(args.bench)
    for number, (identity, shape) in enumerate(zip(found.identities, found.shapes, strict=True)):
        parts = (identity.model, identity.serial, identity.firmware, identity.git_hash)
        what = ", ".join(part for part in parts if part)
        terminal.say(f"array {number}: {what}, {shape[0]} x {shape[1]} cells")
    rows = [[str(proof.array), proof.limit, proof.asked, "refused"] for proof in found.proofs]
    terminal.table(["array", "limit", "asked", "answer"], rows)
    terminal.say(f"{len(rows)} requests refused; every line grounded, bench closed")
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
def open_as_it_is(source: str, terminal: Terminal) -> Iterator[Bench]:
    """The bench as it is: nothing is formed or measured unasked.

    A bench file without a chip gets one in chips/NAME, so that one command finds what another has written.
    """
    config = load_model(BenchConfig, source, (), "benches")
    chip_dir = None if config.chip is not None else Path("chips") / Path(source).stem
    if chip_dir is not None:
        terminal.errors.print(f"eapu-hil: the bench names no chip: using {chip_dir}", soft_wrap=True)
    with open_bench(config, chip_dir=chip_dir, commission=False) as bench:
        yield bench


def chosen_array(bench: Bench, number: int) -> BenchArray:
    """Array `number` of a bench. Raises ConfigError where it has none such."""
    if not 0 <= number < len(bench.arrays):
        raise ConfigError(f"--array {number}: the bench has arrays 0 to {len(bench.arrays) - 1}")
    return bench.arrays[number]


def _cells(array: Crossbar, chosen: Block | None) -> Cells:
    rows, columns = array.shape
    if chosen is None:
        return Cells.all(array.shape)
    row0, row1, col0, col1 = chosen
    if row1 > rows or col1 > columns:
        raise ConfigError(f"--block {row0}:{row1},{col0}:{col1}: the array has {rows} x {columns} cells")
    return Cells.block(row0, row1, col0, col1)


def require_free(out: Path | None) -> None:
    """Before anything is pulsed: a result that cannot be saved is a write for nothing."""
    if out is not None and out.exists():
        raise ConfigError(f"{out}: already exists; name a new file with --out")
    if out is not None and not out.parent.is_dir():
        raise ConfigError(f"{out}: there is no directory {out.parent}")


def _report_cells(
    args: Namespace, terminal: Terminal, cells: Cells, g_s: FloatArray, status: StatusArray
) -> dict[str, Any]:
    if args.out is not None:
        with storage_errors(args.out), args.out.open("x", encoding="utf-8", newline="") as file:
            write_cells(file, cells, g_s, status)
    elif not terminal.as_json:
        write_cells(sys.stdout, cells, g_s, status)
    columns = [cells.row, cells.col, 1e6 * g_s, [status_text(int(code)) for code in status]]
    content = dict(zip(READING_HEADER, columns, strict=True))
    return {"array": args.array, "out": args.out, **content}
