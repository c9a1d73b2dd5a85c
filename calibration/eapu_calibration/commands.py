"""The commands that measure chips: calibrate, drift, import, fit-twin."""

from __future__ import annotations

import io
import math
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eapu_calibration.passport_commands import as_json, chip_argument, say_entries
from eapu_hil.base.errors import ConfigError
from eapu_hil.base.quantities import duration
from eapu_hil.base.storage import ReservedFile, StorageError, require_space, storage_errors, write_new
from eapu_hil.cli import options
from eapu_hil.cli.arrays import chosen_array, open_as_it_is
from eapu_hil.cli.live import beside, page_beside
from eapu_hil.cli.notify import notified, notify
from eapu_hil.cli.terminal import Terminal

if TYPE_CHECKING:
    from eapu_hil.bench.array import BenchArray
    from eapu_hil.bench.entries import Measurement
    from eapu_hil.bench.passport import Chip
    from eapu_hil.hal import Cells

# What runs a command is imported in there; see `eapu_hil.cli.arrays`.
_TARGETS_BYTES = 2**20  # of a table of targets: room for some 20,000 cells


def calibrate(parser: ArgumentParser) -> None:
    """Measure an array; overwrites cells.

    Each result becomes an entry in the passport of the chip, with a figure if matplotlib is installed. A calibration
    that was stopped continues when the command is given again.
    """
    options.bench(parser)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="measurement of the plan, or `forming`; default: all measurements of the plan",
    )
    parser.add_argument(
        "--plan",
        default="quick",
        metavar="PLAN",
        help="path of a plan file, or the name of a packaged one; default: %(default)s",
    )
    options.array(parser)
    parser.add_argument(
        "--seed",
        type=options.whole,
        default=0,
        metavar="N",
        help="random seed that picks the cells; default: %(default)s",
    )
    beside(parser)
    notify(parser)
    parser.set_defaults(command=_calibrate)


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
    parser.set_defaults(command=_drift)


def import_file(parser: ArgumentParser) -> None:
    """Add a measurement from a file to a passport."""
    parser.add_argument(
        "mapping",
        type=Path,
        metavar="IMPORT.yaml",
        help="file that names the data file and says what its columns hold",
    )
    parser.add_argument(
        "--chip",
        type=Path,
        required=True,
        metavar="DIR",
        help="directory of the passport; a new passport is made if there is none",
    )
    _bootstrap_seed(parser)
    parser.set_defaults(command=_import)


def fit_twin(parser: ArgumentParser) -> None:
    """Fit a preset of the twin to the measurements of a chip."""
    chip_argument(parser)
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="PRESET.yaml", help="preset file to write"
    )
    options.array(parser)
    parser.add_argument(
        "--base",
        default="rram_180nm",
        metavar="PRESET",
        help="path or packaged name of the preset that supplies all values that were not measured; "
        "default: %(default)s",
    )
    _bootstrap_seed(parser)
    parser.set_defaults(command=_fit_twin)


def _bootstrap_seed(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--seed",
        type=options.whole,
        default=0,
        metavar="N",
        help="random seed of the bootstrap; default: %(default)s",
    )


def _calibrate(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    from eapu_calibration.calibrate import calibrate as measure
    from eapu_calibration.calibrate import with_forming
    from eapu_calibration.plan import chosen_names, load_plan
    from eapu_hil.bench.progress_file import ProgressFile
    from eapu_hil.cli.bars import measurement_bars

    figures = _Figures(terminal)
    plan = load_plan(args.plan)
    names = chosen_names(plan, args.names)
    left: list[Cells] = []
    began = time.monotonic()
    changes = options.changes(args)
    about = {"command": "calibrate", "bench": args.bench, "array": args.array}
    with (
        notified(args.notify, terminal, about),
        open_as_it_is(args.bench, terminal, changes, exchanged=args.exchanged) as bench,
        page_beside(bench.chip.directory, terminal, wanted=args.live),
    ):
        array = chosen_array(bench, args.array)
        if bench.config.simulated:
            names = with_forming(names, bench.chip, args.array)
        require_space(bench.chip.directory, _room(array))
        began_s = array.clock_s()
        hint = "to continue, give the same command again"
        with (
            terminal.stop_hint(hint, lambda: True),
            measurement_bars(terminal) as bars,
            ProgressFile(bench, args.array, names) as progress,
        ):
            found = measure(
                bench,
                args.array,
                plan,
                names,
                seed=args.seed,
                progress_of=progress.following(bars),
                left_over=left.append,
                recorded=lambda entry: figures.drawn(bench.chip, [entry]) if args.live else None,
            )
        bench_time_s = array.clock_s() - began_s
    drawn = figures.drawn(bench.chip, found)
    say_entries(found, terminal)
    wall_s = time.monotonic() - began
    terminal.say(
        f"written to the passport {bench.chip.directory}; took {duration(bench_time_s)} of bench time"
    )
    faulty = sum(len(cells) for cells in left)
    if faulty:
        terminal.say(f"{faulty} cells could not be formed or written, or wore out; see eapu-hil passport")
        terminal.not_all()
    entries = [as_json(entry) for entry in found]
    return {
        "passport": bench.chip.directory,
        "entries": entries,
        "faulty_cells": faulty,
        "figures": drawn,
        "bench_time_s": bench_time_s,
        "wall_s": wall_s,
    }


def _drift(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    from eapu_calibration.drift import look
    from eapu_hil.bench.cellcsv import write_targets
    from eapu_hil.cli.results import require_free

    require_free(args.out)
    figures = _Figures(terminal)
    changes = options.changes(args)
    with (
        nullcontext() if args.out is None else ReservedFile(args.out, _TARGETS_BYTES) as file,
        open_as_it_is(args.bench, terminal, changes, exchanged=args.exchanged) as bench,
    ):
        array = chosen_array(bench, args.array)
        require_space(bench.chip.directory, _room(array))
        if args.after:
            array.wait(args.after)
        band_S = bench.recipe.band_S if args.band is None else 1e-6 * args.band
        pulses = bench.ledger.arrays[args.array].snapshot()["pulses"]
        found, entry = look(array, args.array, bench.chip, bench.recipe.v_read_v, band_S, pulses)
        now_s = array.clock_s()
        refresh = found.refresh()
        if file is not None and len(refresh):
            text = io.StringIO()
            write_targets(text, refresh)
            file.write(text.getvalue().encode())
        drawn = figures.drawn(bench.chip, [entry])
    say_entries([entry], terminal)
    if len(refresh):
        longest = duration(now_s - float(found.since_s[found.out].min()))
        terminal.say(f"{len(refresh)} cells are out of their band; the longest for at least {longest}")
        if args.out is not None:
            terminal.say(
                f"to program them again: eapu-hil program {args.bench} {args.out} --array {args.array}"
            )
    elif args.out is not None:
        terminal.say(f"no cell is out of its band, so {args.out} is not written")
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


def _import(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    import numpy as np

    from eapu_calibration.importing import import_file as read_file
    from eapu_calibration.importing import load_import
    from eapu_hil.bench.passport import Chip

    figures = _Figures(terminal)
    entry = read_file(load_import(args.mapping), args.chip, np.random.default_rng(args.seed))
    drawn = figures.drawn(Chip.open(args.chip), [entry])
    say_entries([entry], terminal)
    terminal.say(f"written to the passport {args.chip}")
    return {"passport": args.chip, **as_json(entry), "figures": drawn}


def _fit_twin(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    import numpy as np

    from eapu_calibration.fit_twin import estimate_words
    from eapu_calibration.fit_twin import fit_twin as fit
    from eapu_hil.base.loading import load_model
    from eapu_hil.bench.passport import Chip
    from eapu_hil.cli.results import require_free
    from eapu_hil.twin.preset import TwinPreset

    require_free(args.out)
    chip = Chip.open(args.chip)
    base = load_model(TwinPreset, args.base, [], "presets")
    found = fit(chip, args.array, base, np.random.default_rng(args.seed))
    passport = chip.passport
    description = f"fitted to array {args.array} of {passport.model}, {passport.serial}"
    text = found.text(args.out.stem, description)
    write_new(args.out, lambda file: file.write(text))
    rows = [[one.key, estimate_words(one), str(one.entry)] for one in found.fitted]
    terminal.table(["fitted", "value (95 % interval)", "entry"], rows)
    terminal.table([f"as in {base.name}", "because"], [[one.keys, one.reason] for one in found.kept])
    if found.relaxation_ks:
        worst = max(found.relaxation_ks.values())
        terminal.say(
            f"Kolmogorov-Smirnov distance of the conductance changes from the fitted law: at most {worst:.3f}"
        )
    terminal.say(f"to use it, write in a bench file with another chip directory:  preset: {args.out}")
    return {
        "preset": args.out,
        "fitted": {one.key: {**one.estimate.plain(), "entry": one.entry} for one in found.fitted},
        "kept": {one.keys: one.reason for one in found.kept},
        "relaxation_ks": [{"age_s": age_s, "distance": ks} for age_s, ks in found.relaxation_ks.items()],
    }


class _Figures:
    """Draws entries of a passport, where matplotlib is installed. Made before anything is measured: it says if not."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._draw: Callable[[Measurement, Path], bool] | None = None
        try:
            from eapu_calibration.figures import draw
        except ConfigError as error:
            terminal.note(f"no figures will be drawn: {error}")
        else:
            self._draw = draw

    def drawn(self, chip: Chip, entries: list[Measurement]) -> list[Path]:
        """The files of those entries whose kind has a figure."""
        if self._draw is None:
            return []
        folder = chip.directory / "figures"
        paths = {entry.number: folder / f"{entry.number:04d}_{entry.kind}.png" for entry in entries}
        try:
            with storage_errors(folder):
                folder.mkdir(exist_ok=True)
                return [paths[entry.number] for entry in entries if self._draw(entry, paths[entry.number])]
        except StorageError as error:  # what was measured is in the passport
            self._terminal.note(f"no figures, but the passport holds what was measured: {error}")
            return []


def _room(array: BenchArray) -> int:
    """Bytes that entries of the passport and their figures take."""
    return 4_000_000 + 400 * math.prod(array.shape)
