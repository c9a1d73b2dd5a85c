"""Tables of people's own text files: whatever their encoding and separator, with or without a header."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.errors import ConfigError, did_you_mean
from eapu_hil.base.tabletext import (
    COMMENTS,
    Record,
    Records,
    as_number,
    find_separator,
    has_decimal_comma,
    read_text,
    separator_name,
)

_LOG = logging.getLogger(__name__)
_SHOWN = 8  # names of columns in a message
LARGEST = 1e30  # of a number: float32 holds it, and no measured number comes near


@dataclass(frozen=True, eq=False)
class Table:
    """The content of a file.

    names: of the columns; None for a file without a header line.
    rows: the fields of each row, without blanks around them; all rows are equally long.
    lines: the line of each row in the file, from 1.
    separator: what stands between two fields; a blank stands for a run of blanks and tabs.
    header_line: the line of the header, or without one of the first row.
    """

    path: Path
    names: tuple[str, ...] | None
    rows: list[list[str]]
    lines: list[int]
    separator: str
    header_line: int

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.rows[0])

    def column(self, wanted: str | int) -> int:
        """The index of a column, by its name or number: from 0, negative numbers count from the end.

        Raises ConfigError when there is none, or more than one of that name.
        """
        if isinstance(wanted, int):
            if not -self.width <= wanted < self.width:
                raise ConfigError(
                    f"{self.path}: no column {wanted}; it has {self.width}, numbered from 0 to {self.width - 1}"
                )
            return wanted % self.width
        if self.names is None:
            raise ConfigError(
                f"{self.path}: column {wanted!r} is asked for by name, but the file has no header line; "
                f"give its number, from 0 to {self.width - 1}"
            )
        found = [i for i, name in enumerate(self.names) if name == wanted]
        if len(found) == 1:
            return found[0]
        if found:
            raise ConfigError(
                f"{self.path}: {len(found)} columns are called {wanted!r}; give the number of one"
            )
        shown = ", ".join(self.names[:_SHOWN]) + (", ..." if len(self.names) > _SHOWN else "")
        raise ConfigError(
            f"{self.path}: no column {wanted!r}{did_you_mean(wanted, self.names)}; it has {shown}"
        )

    def arranged(self, names: Sequence[str]) -> Table:
        """The same rows with these columns in this order. Raises ConfigError as `column` does."""
        columns = [self.column(name) for name in names]
        rows = [[row[column] for column in columns] for row in self.rows]
        return replace(self, names=tuple(names), rows=rows)

    def label(self, column: int) -> str:
        """How messages call a column."""
        return f"column {column if self.names is None else repr(self.names[column])}"

    def where(self, row: int, column: int) -> str:
        """How messages call a field: file, line and column."""
        return f"{self.path}:{self.lines[row]}: {self.label(column)}"

    def numbers(self, columns: Sequence[int]) -> NDArray[np.float64]:
        """The fields of some columns as finite numbers, (rows, columns).

        Raises ConfigError that names the line and the column of what is none.
        """
        values = self.values(columns)
        for i, j in np.argwhere(~(np.abs(values) <= LARGEST))[:1]:
            fault = "is too large" if math.isfinite(values[i, j]) else "is not finite"
            raise ConfigError(f"{self.where(i, columns[j])}: {self.rows[i][columns[j]]} {fault}")
        return values

    def values(self, columns: Sequence[int]) -> NDArray[np.float64]:
        """The fields of some columns as numbers, (rows, columns), which may be NaN, infinite or very large.

        Raises ConfigError that names the line and the column of what is no number, and where numbers with a decimal
        comma and with a decimal point stand side by side: 1,234 may then be either.
        """
        values = np.empty((len(self.rows), len(columns)))
        comma = point = None
        for i, row in enumerate(self.rows):
            for j, column in enumerate(columns):
                field = row[column]
                number = as_number(field, self.separator)
                if number is None:
                    fault = f"{field!r} is no number" if field else "empty"
                    raise ConfigError(f"{self.where(i, column)}: {fault}; every field must hold a number")
                values[i, j] = number
                if self.separator == ",":
                    continue
                if has_decimal_comma(field, self.separator):
                    comma = comma or (i, column)
                elif "." in field:
                    point = point or (i, column)
        if comma and point:
            raise ConfigError(
                f"{self.where(*comma)}: {self.rows[comma[0]][comma[1]]} has a decimal comma, but "
                f"{self.rows[point[0]][point[1]]} in line {self.lines[point[0]]} a decimal point; write all alike"
            )
        return values

    def texts(self, column: int) -> list[str]:
        """The fields of a column as they are. Raises ConfigError that names the line of an empty one."""
        fields = [row[column] for row in self.rows]
        for i, field in enumerate(fields):
            if not field:
                raise ConfigError(f"{self.where(i, column)}: empty")
        return fields


def read_table(
    path: Path, names: Sequence[str] = (), *, separator: str | None = None, skip: int = 0
) -> Table:
    """Reads a table from a text file: UTF-8 or UTF-16, with or without a byte order mark, or Windows-1252 (Latin-1).

    Fields are separated by tabs, semicolons, commas or runs of blanks; `separator` names one, None finds it. Blank
    lines, rows of nothing but empty fields, and lines that begin with #, % or // are left out, and `skip` lines at the
    start. A file packed by gzip is unpacked.

    The first row is a header when it has a text where the next one has a number, when it has no number at all, or
    when it holds one of `names`, which are those that columns will be asked for. So is a comment line just before the
    rows that holds one of `names`. What was taken for what is logged.

    Raises ConfigError when the file cannot be read, has no row, or has rows of different lengths, with the line.
    """
    text, encoding = read_text(path)
    used = find_separator(path, text, skip) if separator is None else separator
    found = Records(path, text, used, skip)
    records = list(found)
    if not records:
        raise ConfigError(f"{path}: holds no row")
    for record in records:
        if len(record.fields) != len(records[0].fields):
            raise ConfigError(
                f"{path}:{record.line}: {_counted(len(record.fields))}; line {records[0].line} has "
                f"{len(records[0].fields)}, separated by {separator_name(used)}"
            )
    header = _header(records, used, names)
    if header is not None:
        records = records[1:]
        if not records:
            raise ConfigError(f"{path}: holds no row but its header")
    else:
        header = _commented_header(path, found.comments, records[0], used, names)
    line = records[0].line if header is None else header.line
    _LOG.debug(
        "%s: %s, separated by %s; %s; %d rows of %d columns from line %d on, %d comment lines left out",
        path,
        encoding,
        separator_name(used),
        "no header" if header is None else f"header in line {line}: {', '.join(header.fields)}",
        len(records),
        len(records[0].fields),
        records[0].line,
        len(found.comments),
    )
    columns = None if header is None else tuple(" ".join(name.split()) for name in header.fields)
    rows, lines = [record.fields for record in records], [record.line for record in records]
    return Table(path, columns, rows, lines, used, line)


def _header(records: list[Record], separator: str, names: Sequence[str]) -> Record | None:
    """The first row, if it is a header. Spreadsheets break long names into lines."""
    first = [as_number(field, separator) for field in records[0].fields]
    second = [as_number(field, separator) for field in records[1].fields] if len(records) > 1 else []
    named = any(name in records[0].fields for name in names)
    over_number = any(a is None and b is not None for a, b in zip(first, second, strict=False))
    return records[0] if named or over_number or all(number is None for number in first) else None


def _commented_header(
    path: Path, comments: list[tuple[int, str]], first: Record, separator: str, names: Sequence[str]
) -> Record | None:
    """The last comment line before the rows, if it names a column that is asked for: "# row,col,g_target_uS"."""
    before = [comment for comment in comments if comment[0] < first.line]
    if not before:
        return None
    line, text = before[-1]
    mark = next(mark for mark in COMMENTS if text.startswith(mark))
    found = list(Records(path, text.removeprefix(mark), separator, 0))
    fits = len(found) == 1 and len(found[0].fields) == len(first.fields)
    return Record(line, found[0].fields) if fits and set(names) & set(found[0].fields) else None


def _counted(fields: int) -> str:
    return "1 field" if fields == 1 else f"{fields} fields"
