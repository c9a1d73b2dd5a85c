"""The lines of metrics.jsonl as tables, one a kind, read twice and never held as a whole."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.training.export.content import TEXT, Block, Column, Table
from eapu_hil.training.runs import NOTES
from eapu_hil.training.streams import metric_lines

_LINES_A_BLOCK = 4096
_WHOLE = np.dtype(np.int64)
_REAL = np.dtype(np.float64)


class _Kind:
    """What is known of the lines of one kind after the first reading. lines, steps: of each; -1 without a step."""

    def __init__(self) -> None:
        self.lines, self.steps = array("q"), array("q")
        self.columns: dict[str, np.dtype[Any]] = {}

    def see(self, number: int, step: int | None, line: Mapping[str, Any]) -> None:
        self.lines.append(number)
        self.steps.append(-1 if step is None else step)
        for name, value in _cells(line):
            if value is not None and self.columns.get(name) is not TEXT:
                self.columns[name] = TEXT if isinstance(value, str) else _REAL

    def kept(self) -> NDArray[np.int64]:
        """The numbers of the lines that count: of one step the last one, as `read_metrics` has it."""
        steps, lines = np.array(self.steps), np.array(self.lines)
        _, last = np.unique(steps[::-1], return_index=True)
        with_step = lines[::-1][last][np.unique(steps) >= 0]
        return np.sort(np.concatenate([with_step, lines[steps < 0]]))


def metric_tables(run_dir: Path, start: Mapping[str, Any]) -> list[Table]:
    """A table `metrics/KIND` of each kind of result. Nested values have dotted names; lists are JSON."""
    kinds: dict[str, _Kind] = {}
    for number, (line, kind, step) in enumerate(metric_lines(run_dir, start)):
        if kind not in NOTES:
            kinds.setdefault(kind, _Kind()).see(number, step, line)
    return [_table(run_dir, start, name, found) for name, found in kinds.items()]


def _table(run_dir: Path, start: Mapping[str, Any], kind: str, found: _Kind) -> Table:
    kept = found.kept()
    stepped = bool(len(found.steps)) and min(found.steps) >= 0
    columns = tuple(
        Column(name, _WHOLE if name == "step" and stepped else dtype) for name, dtype in found.columns.items()
    )

    def blocks() -> Iterator[Block]:
        lines: list[dict[str, Any]] = []
        wanted = iter(kept.tolist())
        following = next(wanted, None)
        for number, (line, _, _) in enumerate(metric_lines(run_dir, start)):
            if number != following:
                continue
            following = next(wanted, None)
            lines.append(dict(_cells(line)))
            if len(lines) == _LINES_A_BLOCK or following is None:
                yield {column.name: _values(column, lines) for column in columns}
                lines = []
            if following is None:
                return

    return Table(f"metrics/{kind}", "step" if stepped else "line", len(kept), columns, blocks)


def _values(column: Column, lines: list[dict[str, Any]]) -> NDArray[Any]:
    values = [line.get(column.name) for line in lines]
    if column.dtype is TEXT:
        return np.array(["" if value is None else str(value) for value in values], dtype=object)
    return np.array([np.nan if value is None else value for value in values], dtype=column.dtype)


def _cells(line: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float | str | None]]:
    """The values of a line by dotted name, its kind left out."""
    for name, value in line.items():
        key = prefix + name.replace("/", "_")  # a slash would lead into another group
        if isinstance(value, Mapping):
            yield from _cells(value, f"{key}.")
        elif isinstance(value, list):
            yield key, json.dumps(value)
        elif key != "kind":
            yield key, float(value) if isinstance(value, (bool, int, float)) else value
