"""The commands that measure chips: calibrate, import, fit-twin."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eapu_calibration.passport_commands import as_json, chip_argument, say_entries
from eapu_hil.base.quantities import duration
from eapu_hil.base.storage import require_space, write_new
from eapu_hil.cli import options
from eapu_hil.cli.arrays import chosen_array, open_as_it_is
from eapu_hil.cli.live import beside, page_beside
from eapu_hil.cli.notify import notified, notify
from eapu_hil.cli.terminal import Terminal

if TYPE_CHECKING:
    from eapu_hil.bench import Bench
    from eapu_hil.bench.entries import Measurement
    from eapu_hil.hal import Cells

# What runs a command is imported in there; see `eapu_hil.cli.arrays`.


def calibrate(parser: ArgumentParser) -> None:
    """Measure an array; overwrites cells.

    Each result becomes an entry in the passport of the chip, with a CSV file beside it, and a figure if matplotlib is
    installed. A calibration that was stopped continues when the command is given again.
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
    from eapu_calibration.entry_files import EntryFiles, room
    from eapu_calibration.plan import chosen_names, load_plan
    from eapu_hil.bench.progress_file import ProgressFile
    from eapu_hil.cli.bars import measurement_bars

    files = EntryFiles(terminal)
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
        require_space(bench.chip.directory, room(array))
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
                recorded=lambda entry: files.drawn(bench.chip, [entry]) if args.live else None,
            )
        bench_time_s = array.clock_s() - began_s
    _say_measured(bench, found, bench_time_s, terminal)
    faulty = sum(len(cells) for cells in left)
    if faulty:
        terminal.say(
            f"{faulty} cells could not be formed or written, or wore out; see eapu-hil report {bench.chip.directory}"
        )
        terminal.not_all()
    return {
        "passport": bench.chip.directory,
        "entries": [as_json(entry) for entry in found],
        "faulty_cells": faulty,
        "figures": files.drawn(bench.chip, found),
        "tables": files.tables(bench.chip, found),
        "bench_time_s": bench_time_s,
        "wall_s": time.monotonic() - began,
    }


def _say_measured(bench: Bench, found: list[Measurement], bench_time_s: float, terminal: Terminal) -> None:
    say_entries(found, terminal)
    terminal.say(
        f"written to the passport {bench.chip.directory}; took {duration(bench_time_s)} of bench time"
    )


def _import(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    import numpy as np

    from eapu_calibration.entry_files import EntryFiles
    from eapu_calibration.importing import import_file as read_file
    from eapu_calibration.importing import load_import
    from eapu_hil.bench.passport import Chip

    figures = EntryFiles(terminal)
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
