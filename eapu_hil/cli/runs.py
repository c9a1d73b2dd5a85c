"""The command that lists runs, and removes one: runs."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eapu_hil.base.errors import ConfigError, did_you_mean
from eapu_hil.base.quantities import MISSING, count, duration, metric_style, with_prefix
from eapu_hil.base.yamltext import parse_yaml
from eapu_hil.cli.terminal import Terminal

if TYPE_CHECKING:
    from eapu_hil.training.run_list import RunRow

# Keys of --sort and --where, and of each run in the JSON object.
_COLUMNS = (
    "name", "state", "experiment", "task", "rule", "bench", "chip", "seed", "metric", "metric_name", "step", "steps",
    "writes", "records", "wall_s", "disk_bytes", "time", "id", "since_s", "process",
)  # fmt: skip


def runs(parser: ArgumentParser) -> None:
    """List runs: how they ended, metric, writes, time and disk space.

    States: running, paused, frozen, done, stopped, failed, crashed, damaged; docs/runs.md says what each means.
    """
    parser.add_argument(
        "directory", nargs="?", type=Path, default=Path("runs"), metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument(
        "--sort",
        default="name",
        metavar="KEY",
        help=f"order of the list: {', '.join(_COLUMNS)}, or a key of the experiment such as optimizer.lr; "
        "--sort=-KEY for the reverse; default: %(default)s",
    )
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="list only runs with this value, such as state=done or rule.name=eapu; repeatable",
    )
    parser.add_argument(
        "--remove",
        type=Path,
        metavar="RUN",
        help="remove this run with all its files, after a question; a running one is refused",
    )
    parser.set_defaults(command=_runs)


def _runs(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    from eapu_hil.training.run_list import list_runs

    if args.remove is not None:
        return _remove(args.remove, args.directory, terminal)
    rows = list_runs(args.directory)
    for text in args.where:
        before, rows = rows, _chosen(rows, text)
        if before and not rows:
            terminal.say(_none_like(before, text, args.directory))
    if rows:
        rows = _sorted(rows, args.sort)
    listed = [_values(row) for row in rows]
    if listed:
        terminal.table(list(_SHOWN), [_cells(values) for values in listed], whole="run")
    elif not args.where:
        terminal.say(f"{args.directory}: no runs")
    return {"directory": args.directory, "runs": listed}


def _values(row: RunRow) -> dict[str, Any]:
    """One run by the names of `_COLUMNS`, with its note."""
    facts = {key: value for key, value in asdict(row.facts).items() if key in _COLUMNS}
    return {"name": row.name, **facts, **asdict(row.standing)}


_VALUES_NAMED = 8  # of a key, where none is the one that is asked for
_SHOWN = ("state", "run", "experiment", "rule", "bench", "chip", "metric", "steps", "writes", "wall", "disk")


def _cells(values: Mapping[str, Any]) -> list[str]:
    style = metric_style(values["metric_name"])
    metric = f"{style.label} {style.text(values['metric'])}" if values["metric"] is not None else MISSING
    steps = count(values["step"])
    if values["steps"] is not None and values["steps"] != values["step"]:
        steps += f" of {count(values['steps'])}"
    texts = [values[key] or MISSING for key in ("state", "name", "experiment", "rule", "bench")]
    chip = values["chip"][:8] or MISSING
    writes = count(values["writes"])
    if values["writes"] is None and values["records"]:  # some of these needed no pulse
        writes = f"\u2264 {count(values['records'])}"
    numbers = [writes, duration(values["wall_s"]), with_prefix(values["disk_bytes"], "B")]
    return [*texts, chip, metric, steps, *numbers]


def _chosen(rows: Sequence[RunRow], text: str) -> list[RunRow]:
    from eapu_hil.training.run_state import STATES

    key, sign, wanted = text.partition("=")
    if not sign or not key:
        raise ConfigError(f"--where {text}: expected KEY=VALUE, such as state=done")
    if key == "state" and wanted not in STATES:
        hint = did_you_mean(wanted, list(STATES))
        raise ConfigError(f"--where {text}: no such state{hint}; allowed are {', '.join(STATES)}")
    _require_known(rows, key, "--where")
    return [row for row in rows if _equal(_value(row, key), wanted)]


def _none_like(rows: Sequence[RunRow], text: str, directory: Path) -> str:
    """What to say where no run has the value that is asked for: the values that there are."""
    key, _, wanted = text.partition("=")
    values = list(dict.fromkeys(str(value) for row in rows if (value := _value(row, key)) not in (None, "")))
    more = ", ..." if len(values) > _VALUES_NAMED else ""
    there = f"; there are {', '.join(values[:_VALUES_NAMED])}{more}" if values else ""
    return f"{directory}: no run with {text}{did_you_mean(wanted, values)}{there}"


def _sorted(rows: Sequence[RunRow], text: str) -> list[RunRow]:
    key = text.removeprefix("-")
    _require_known(rows, key, "--sort")
    having = [row for row in rows if _value(row, key) is not None]
    without = [row for row in rows if _value(row, key) is None]
    numbers = all(isinstance(_value(row, key), (int, float)) for row in having)
    order = (lambda row: _value(row, key)) if numbers else (lambda row: str(_value(row, key)))
    return [*sorted(having, key=order, reverse=text != key), *without]  # what has no value comes last


def _require_known(rows: Sequence[RunRow], key: str, option: str) -> None:
    """Raises ConfigError where there are runs and none of them could have such a key."""
    if key not in _COLUMNS and rows and all(_value(row, key) is None for row in rows):
        keys = {name for row in rows for name in _dotted(row.facts.config)}
        raise ConfigError(
            f"{option} {key}: no run has such a key{did_you_mean(key, [*_COLUMNS, *sorted(keys)])}; allowed are "
            f"{', '.join(_COLUMNS)}, and keys of the experiment such as optimizer.lr"
        )


def _dotted(config: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """The keys of an experiment, as `optimizer.lr`."""
    for key, value in config.items():
        yield f"{before}{key}"
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{before}{key}.")


def _value(row: RunRow, key: str) -> Any:
    """A column, or what the resolved experiment holds under a dotted key."""
    if key in _COLUMNS:
        return _values(row).get(key)
    value: Any = row.facts.config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _equal(value: Any, wanted: str) -> bool:
    if value is None or isinstance(value, str):
        return (value or "") == wanted
    try:
        return bool(value == parse_yaml(wanted, "--where"))
    except ConfigError:
        return False


def _remove(given: Path, directory: Path, terminal: Terminal) -> dict[str, Any]:
    from eapu_hil.training.run_list import row_of
    from eapu_hil.training.run_place import remove_run

    path = directory / given if not given.exists() and (directory / given).exists() else given
    row = row_of(path)
    if row.standing.process is not None:
        raise ConfigError(
            f"{path}: this run goes on (process {row.standing.process}) and is not removed; stop it first"
        )
    what = f"{path}: {row.standing.state}, {count(row.facts.step)} steps, {with_prefix(row.facts.disk_bytes, 'B')}"
    if (path / "chip").is_dir():
        what += "; its chip lies in it, so what was counted and measured of that chip goes too"
    terminal.note(f"{what}. Remove it? Answer yes to do so:")
    removed = sys.stdin.readline().strip().lower() in ("y", "yes")
    if removed:
        remove_run(path)
    terminal.say(f"{path}: {'removed' if removed else 'kept'}")
    return {"run": path, "removed": removed}
