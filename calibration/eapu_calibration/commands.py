"""The commands `calibrate`, `drift`, `import`, `fit-twin` and `passport`. Each returns what --json prints."""

from __future__ import annotations

import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from eapu_hil.base.loading import load_model
from eapu_hil.base.quantities import MISSING, duration
from eapu_hil.base.storage import plain, storage_errors
from eapu_hil.bench.cellcsv import write_targets
from eapu_hil.bench.passport import Chip, Measurement
from eapu_hil.cli.array_commands import chosen_array, open_as_it_is, require_free
from eapu_hil.cli.terminal import Terminal, measurement_bars
from eapu_hil.hal import ConfigError


def calibrate(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    """Makes the measurements of a plan; each goes into the passport, with a figure where matplotlib is installed."""
    from eapu_calibration.calibrate import FORMING, chosen_names, is_formed, load_plan
    from eapu_calibration.calibrate import calibrate as measure

    plan = load_plan(args.plan)
    names = chosen_names(plan, args.names)
    began = time.monotonic()
    with open_as_it_is(args.bench, terminal) as bench:
        array = chosen_array(bench, args.array)
        if bench.config.simulated and FORMING not in names and not is_formed(bench.chip, args.array):
            names = [FORMING, *names]  # a twin's fresh chip costs nothing
        began_s = array.clock_s()
        with measurement_bars(terminal) as progress_of:
            found = measure(bench, args.array, plan, names, seed=args.seed, progress_of=progress_of)
        bench_time_s = array.clock_s() - began_s
    figures = _drawn(bench.chip, found, terminal)
    _list(found, terminal)
    wall_s = time.monotonic() - began
    terminal.say(f"in the passport {bench.chip.directory}; it took {duration(bench_time_s)} of bench time")
    entries = [_as_json(entry) for entry in found]
    return {
        "passport": bench.chip.directory,
        "entries": entries,
        "figures": figures,
        "bench_time_s": bench_time_s,
        "wall_s": wall_s,
    }


def drift(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    """Reads again what `program` wrote: which cells left their band, since when, and what to write again."""
    from eapu_calibration.drift import look

    require_free(args.out)
    with open_as_it_is(args.bench, terminal) as bench:
        array = chosen_array(bench, args.array)
        if args.after:
            array.wait(args.after)
        band_s = bench.recipe.band_s if args.band is None else 1e-6 * args.band
        pulses = bench.ledger.arrays[args.array].snapshot()["pulses"]
        found, entry = look(array, args.array, bench.chip, bench.recipe.v_read_v, band_s, pulses)
        now_s = array.clock_s()
        figures = _drawn(bench.chip, [entry], terminal)
    refresh = found.refresh()
    _list([entry], terminal)
    if len(refresh):
        longest = duration(now_s - float(found.since_s[found.out].min()))
        terminal.say(
            f"{len(refresh)} cells are out of their band, the first since {longest} (as far as was looked)"
        )
    if args.out is not None and len(refresh):
        with storage_errors(args.out), args.out.open("x", encoding="utf-8", newline="") as file:
            write_targets(file, refresh)
        terminal.say(f"to write them again: eapu-hil program {args.bench} {args.out} --array {args.array}")
    return {
        **_as_json(entry),
        "refresh": {
            "row": refresh.cells.row,
            "col": refresh.cells.col,
            "g_target_uS": 1e6 * refresh.g_target_s,
            "out_for_s": now_s - found.since_s[found.out],
        },
        "out": args.out if len(refresh) else None,
        "figures": figures,
    }


def import_(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    """Makes an entry of a passport of a measurement that is in a file."""
    from eapu_calibration.importing import import_file, load_import

    entry = import_file(load_import(args.mapping), args.chip, np.random.default_rng(args.seed))
    figures = _drawn(Chip.open(args.chip), [entry], terminal)
    _list([entry], terminal)
    terminal.say(f"in the passport {args.chip}")
    return {"passport": args.chip, **_as_json(entry), "figures": figures}


def fit(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    """Makes a twin preset of what was measured on a chip."""
    from eapu_calibration.fit_twin import estimate_words, fit_twin
    from eapu_hil.twin.preset import TwinPreset

    require_free(args.out)
    chip = Chip.open(args.chip)
    base = load_model(TwinPreset, args.base, [], "presets")
    found = fit_twin(chip, args.array, base, np.random.default_rng(args.seed))
    passport = chip.passport
    description = f"fitted to array {args.array} of {passport.model}, {passport.serial}"
    text = found.text(args.out.stem, description)
    with storage_errors(args.out), args.out.open("x", encoding="utf-8") as file:
        file.write(text)
    rows = [[one.key, estimate_words(one), str(one.entry)] for one in found.fitted]
    terminal.table(["fitted", "value (95 % interval)", "entry"], rows)
    terminal.table([f"as in {base.name}", "because"], [[one.keys, one.reason] for one in found.kept])
    if found.relaxation_ks:
        worst = max(found.relaxation_ks.values())
        terminal.say(f"changes of conductance lie within {worst:.3f} of the fitted law (Kolmogorov-Smirnov)")
    terminal.say(f"{args.out}: name it as `preset` of a bench file")
    return {
        "preset": args.out,
        "fitted": {one.key: {**one.estimate.plain(), "entry": one.entry} for one in found.fitted},
        "kept": {one.keys: one.reason for one in found.kept},
        "relaxation_ks": [{"age_s": age_s, "distance": ks} for age_s, ks in found.relaxation_ks.items()],
    }


def show(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    """All measurements of a chip in a line each, or one of them in full."""
    chip = Chip.open(args.chip)
    if args.entry is not None:
        entry = _entry(chip, args.entry)
        terminal.say(yaml.safe_dump(plain(_as_json(entry)), sort_keys=False, allow_unicode=True).rstrip())
        return _as_json(entry)
    entries = chip.history()
    passport = chip.passport
    terminal.say(
        f"{passport.model}, {passport.serial}: {passport.arrays} arrays of {passport.shape[0]} x "
        f"{passport.shape[1]} cells, known since {passport.created}"
    )
    _list(entries, terminal)
    return {**passport.model_dump(mode="json"), "entries": [_as_json(entry) for entry in entries]}


def diff(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    """What differs between two measurements of one kind."""
    from eapu_calibration.summary import changes

    chip = Chip.open(args.chip)
    first, second = _entry(chip, args.first), _entry(chip, args.second)
    if first.kind != second.kind:
        raise ConfigError(
            f"{args.chip}: entry {first.number} is {first.kind}, entry {second.number} is {second.kind}; "
            "two of one kind can be compared"
        )
    found = changes(first, second)
    words = {True: "yes", False: "no", None: MISSING}
    rows = [[one.name, _text(one.first), _text(one.second), words[one.apart]] for one in found]
    terminal.table(["figure", f"entry {first.number}", f"entry {second.number}", "intervals apart"], rows)
    return {"kind": first.kind, "changes": [vars(one) for one in found]}


def _list(entries: list[Measurement], terminal: Terminal) -> None:
    from eapu_calibration.summary import in_words

    rows = [
        [str(entry.number), entry.kind, entry.time, duration(entry.clock_s), in_words(entry)]
        for entry in entries
    ]
    terminal.table(["entry", "measurement", "time", "bench clock", "found"], rows)


def _drawn(chip: Chip, entries: list[Measurement], terminal: Terminal) -> list[Path]:
    try:
        from eapu_calibration.figures import draw
    except ConfigError as error:
        terminal.errors.print(f"eapu-hil: no figures: {error}", markup=False, soft_wrap=True)
        return []
    folder = chip.directory / "figures"
    paths = {entry.number: folder / f"{entry.number:04d}_{entry.kind}.png" for entry in entries}
    with storage_errors(folder):
        folder.mkdir(exist_ok=True)
        return [paths[entry.number] for entry in entries if draw(entry, paths[entry.number])]


def _entry(chip: Chip, number: int) -> Measurement:
    found = {entry.number: entry for entry in chip.history()}
    if number not in found:
        known = ", ".join(map(str, found)) or "none"
        raise ConfigError(f"{chip.directory}: there is no entry {number}; there are {known}")
    return found[number]


def _as_json(entry: Measurement) -> dict[str, Any]:
    return {
        "number": entry.number,
        "kind": entry.kind,
        "time": entry.time,
        "clock_s": entry.clock_s,
        "values": entry.values,
    }


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
