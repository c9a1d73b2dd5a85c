"""The command `passport`, and how entries of a passport are shown."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eapu_hil.base.errors import ConfigError
from eapu_hil.base.quantities import MISSING, duration
from eapu_hil.base.storage import plain
from eapu_hil.cli.terminal import Terminal

if TYPE_CHECKING:
    from eapu_hil.bench.entries import Measurement
    from eapu_hil.bench.passport import Chip

# What runs a command is imported in there; see `eapu_hil.cli.arrays`.


def passport(parser: ArgumentParser) -> None:
    """Show the measurements of a chip, or compare two of them."""
    views = parser.add_subparsers(title="views", required=True, metavar="VIEW")
    text = "Show all measurements of a chip in one line each, or one of them in full"
    show = views.add_parser("show", help=text, description=f"{text}.")
    chip_argument(show)
    show.add_argument("entry", type=int, nargs="?", metavar="ENTRY", help="number of the measurement")
    show.set_defaults(command=_show)
    text = "Show the differences between two measurements of one kind"
    diff = views.add_parser("diff", help=text, description=f"{text}.")
    chip_argument(diff)
    diff.add_argument("first", type=int, metavar="ENTRY", help="number of the first measurement")
    diff.add_argument("second", type=int, metavar="ENTRY", help="number of the second measurement")
    diff.set_defaults(command=_diff)


def _show(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    import yaml

    from eapu_hil.bench.passport import Chip

    chip = Chip.open(args.chip)
    if args.entry is not None:
        entry = _entry(chip, args.entry)
        terminal.say(yaml.safe_dump(plain(as_json(entry)), sort_keys=False, allow_unicode=True).rstrip())
        return as_json(entry)
    entries = chip.history()
    passport = chip.passport
    terminal.say(
        f"{passport.model}, {passport.serial}: {passport.arrays} arrays of {passport.shape[0]} x "
        f"{passport.shape[1]} cells, first seen {passport.created}"
    )
    say_entries(entries, terminal)
    return {**passport.model_dump(mode="json"), "entries": [as_json(entry) for entry in entries]}


def _diff(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    from eapu_calibration.summary import changes
    from eapu_hil.bench.passport import Chip

    chip = Chip.open(args.chip)
    first, second = _entry(chip, args.first), _entry(chip, args.second)
    if first.kind != second.kind:
        raise ConfigError(
            f"{args.chip}: entry {first.number} is {first.kind}, entry {second.number} is {second.kind}; "
            "only two of the same kind can be compared"
        )
    found = changes(first, second)
    words = {True: "yes", False: "no", None: MISSING}
    rows = [[one.name, _text(one.first), _text(one.second), words[one.apart]] for one in found]
    terminal.table(["figure", f"entry {first.number}", f"entry {second.number}", "intervals apart"], rows)
    return {"kind": first.kind, "changes": [vars(one) for one in found]}


def chip_argument(parser: ArgumentParser) -> None:
    """CHIP, the passport that a command works on."""
    parser.add_argument("chip", type=Path, metavar="CHIP", help="directory of the chip's passport")


def say_entries(entries: list[Measurement], terminal: Terminal) -> None:
    """One line for each measurement, with what it found."""
    from eapu_calibration.summary import in_words

    rows = [
        [str(entry.number), entry.kind, entry.time, duration(entry.clock_s), in_words(entry)]
        for entry in entries
    ]
    terminal.table(["entry", "measurement", "time", "bench clock", "found"], rows)


def as_json(entry: Measurement) -> dict[str, Any]:
    """A measurement as commands print it with --json."""
    return {
        "number": entry.number,
        "kind": entry.kind,
        "time": entry.time,
        "clock_s": entry.clock_s,
        "values": entry.values,
    }


def _entry(chip: Chip, number: int) -> Measurement:
    found = {entry.number: entry for entry in chip.history()}
    if number not in found:
        known = ", ".join(map(str, found)) or "none"
        raise ConfigError(f"{chip.directory}: there is no entry {number}; the entries are {known}")
    return found[number]


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
