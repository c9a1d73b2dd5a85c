"""The commands for single jobs on an array: read, program, form.

As in every module of commands, what runs one is imported in there: the arguments, their help and their completion wait
for argparse alone, and so does a mistake in them.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eapu_hil.base.errors import ConfigError
from eapu_hil.base.storage import require_space
from eapu_hil.cli import options
from eapu_hil.cli.terminal import Terminal

if TYPE_CHECKING:
    from eapu_hil.bench import Bench
    from eapu_hil.bench.array import BenchArray
    from eapu_hil.bench.forming import FormedCells
    from eapu_hil.cli.results import CellResults
    from eapu_hil.hal import Cells, Crossbar, Targets, WriteOutcome
    from eapu_hil.hal.recipe import Recipe

# Of an entry in the passport, ledger and state of a twin included.
_CHIP_BYTES, _CHIP_BYTES_A_CELL = 2**20, 256


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
        "targets",
        type=Path,
        metavar="TARGETS.csv",
        help="CSV file with the columns row,col,g_target_uS, or a result of this program",
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
        help="form the cells of --block again where they do not conduct; destroys what those hold",
    )
    parser.set_defaults(command=_form)


def _csv_out(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="new CSV file for the result; default: stdout"
    )
    options.plot(parser)


def _block(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--block",
        type=options.block,
        metavar="R0:R1,C0:C1",
        help="rows R0 to R1 - 1 and columns C0 to C1 - 1; default: all cells",
    )


def _read(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    import numpy as np

    from eapu_hil.cli.cell_bar import cell_bar
    from eapu_hil.cli.results import blocks, saving

    with (
        saving(args.out, args.plot, args.array, terminal) as results,
        open_as_it_is(args.bench, terminal, options.changes(args), exchanged=args.exchanged) as bench,
        cell_bar(terminal, "read") as bar,
    ):
        array = chosen_array(bench, args.array)
        cells = _cells(array, args.block)
        results.reserve(len(cells), bench.chip, bench.recipe.v_read_v)
        if args.after:
            array.wait(args.after)
        for block in blocks(array, len(cells), tell=bar(len(cells))):
            reading = array.read(cells[block], bench.recipe.v_read_v)
            results.add(cells[block], reading.g_S, reading.status, reads=np.ones(len(reading.g_S), np.int64))
    return results.content()


def _program(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    from eapu_hil.bench.cellcsv import read_targets
    from eapu_hil.bench.programmed import NotRecordedError
    from eapu_hil.cli.cell_bar import cell_bar
    from eapu_hil.cli.results import blocks, saving
    from eapu_hil.hal import Targets

    failed, pulses = 0, 0
    with (
        saving(args.out, args.plot, args.array, terminal) as results,
        open_as_it_is(args.bench, terminal, options.changes(args), exchanged=args.exchanged) as bench,
        cell_bar(terminal, "program") as bar,
    ):
        array = chosen_array(bench, args.array)
        targets = read_targets(args.targets, array.shape, bench.recipe, args.array)
        _take_room(bench, results, len(targets))
        for block in blocks(array, len(targets), _waits_s(bench.recipe), bar(len(targets))):
            part = Targets(targets.cells[block], targets.g_target_S[block])
            results.begin(part.cells, g_target_uS=1e6 * part.g_target_S)
            try:
                outcome = array.program(part)
            except NotRecordedError as error:
                _add_written(results, part, error.outcome)
                raise
            _add_written(results, part, outcome)
            failed += int((outcome.status != 0).sum())
            pulses += int(outcome.pulses.sum())
    terminal.note(f"{len(targets) - failed} of {len(targets)} cells are in band, {pulses} pulses")
    if failed:
        terminal.not_all()
    return results.content()


def _form(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    from eapu_hil.bench.forming import form as form_cells
    from eapu_hil.bench.forming import note_formed
    from eapu_hil.bench.forming_record import FormingRecord
    from eapu_hil.cli.cell_bar import cell_bar
    from eapu_hil.cli.formed import add_formed, counted_since, say_formed
    from eapu_hil.cli.results import saving
    from eapu_hil.hal import CellStatus

    if args.again and args.block is None:
        raise ConfigError("--again: name the cells to form again with --block R0:R1,C0:C1")
    begun: list[FormedCells] = []
    with (
        saving(args.out, args.plot, args.array, terminal) as results,
        open_as_it_is(args.bench, terminal, options.changes(args), exchanged=args.exchanged) as bench,
        cell_bar(terminal, "form") as bar,
    ):
        array = chosen_array(bench, args.array)
        cells, record = _cells(array, args.block), FormingRecord(bench.chip, args.array)
        _take_room(bench, results, len(cells))
        counted = bench.ledger.arrays[args.array].snapshot()
        try:
            if args.formed:
                begun.append(note_formed(array, record, cells, bench.recipe))
            else:
                form_cells(array, cells, bench.recipe, begun.append, again=args.again, tell=bar(len(cells)))
        finally:  # also what was formed before a stop
            left = CellStatus.NOT_CONVERGED if sys.exception() is None else CellStatus.ABORTED
            more = counted_since(counted, bench, args.array, cells)
            for formed in begun:
                add_formed(results, cells, formed, record.is_formed(cells), left, more)
        known = record.is_formed(cells)
    (formed,) = begun
    if not say_formed(formed, known, bench.recipe.form.g_formed_S, terminal):
        terminal.not_all()
    return results.content()


def _take_room(bench: Bench, results: CellResults, cells: int) -> None:
    """Raises StorageError, before a pulse, where the results or the notes about the chip cannot be kept."""
    require_space(bench.chip.directory, _CHIP_BYTES + _CHIP_BYTES_A_CELL * cells)
    results.reserve(cells, bench.chip, bench.recipe.v_read_v)


def _add_written(results: CellResults, targets: Targets, outcome: WriteOutcome) -> None:
    results.add(
        targets.cells,
        outcome.g_after_S,
        outcome.status,
        pulses=outcome.pulses,
        reads=outcome.reads,
        g_before_uS=1e6 * outcome.g_before_S,
        g_target_uS=1e6 * targets.g_target_S,
    )


def _waits_s(recipe: Recipe) -> float:
    return (recipe.epochs - 1) * recipe.epoch_wait_s


@contextmanager
def open_as_it_is(
    source: str, terminal: Terminal, changes: Sequence[str] = (), *, exchanged: bool = False
) -> Iterator[Bench]:
    """The bench as it is: nothing is formed or measured unasked. changes: see `options.changes`.

    A bench file without a chip gets one in chips/NAME, so that one command finds what another has written.
    """
    from eapu_hil.base.filenames import require_file_name
    from eapu_hil.base.loading import load_model
    from eapu_hil.bench import open_bench
    from eapu_hil.bench.config import BenchConfig

    config = load_model(BenchConfig, source, changes, "benches")
    chip_dir = (
        None if config.chip is not None else Path("chips") / require_file_name(Path(source).stem, source)
    )
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
    from eapu_hil.hal import Cells

    rows, columns = array.shape
    if chosen is None:
        return Cells.all(array.shape)
    row0, row1, col0, col1 = chosen
    if row1 > rows or col1 > columns:
        raise ConfigError(f"--block {row0}:{row1},{col0}:{col1}: the array has {rows} x {columns} cells")
    return Cells.block(row0, row1, col0, col1)
