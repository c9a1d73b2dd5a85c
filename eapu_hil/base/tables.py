"""Tables of people's own CSV files: whatever separates their columns, with or without a header."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.errors import ConfigError, did_you_mean

_SEPARATORS = ("\t", ";", ",")  # in this order: a comma may also stand in a number or in a text
_LOOKED_AT = 50  # rows that must agree on the separator
_SHOWN = 8  # names of columns in a message
LARGEST = 1e30  # of a number: float32 holds it, and no measured number comes near


def as_number(text: str, separator: str = ",") -> float | None:
    """The number that a field holds, None for other text. Between semicolons a comma is a decimal point."""
    if separator == ";" and text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    try:
        return float(text)
    except ValueError:
        return None


@dataclass(frozen=True, eq=False)
class Table:
    """The content of a CSV file.

    names: of the columns; None for a file without a header line.
    rows: the fields of each row, without blanks around them; all rows are equally long.
    lines: the line of each row in the file, from 1.
    separator: what stands between two fields.
    """

    path: Path
    names: tuple[str, ...] | None
    rows: list[list[str]]
    lines: list[int]
    separator: str

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
        values = np.empty((len(self.rows), len(columns)))
        for i, row in enumerate(self.rows):
            try:
                values[i] = [float(row[column]) for column in columns]
            except ValueError:  # a decimal comma, or no number
                values[i] = [self._number(i, column) for column in columns]
        for i, j in np.argwhere(~(np.abs(values) <= LARGEST))[:1]:
            fault = "is too large" if math.isfinite(values[i, j]) else "is not finite"
            raise ConfigError(f"{self.where(i, columns[j])}: {self.rows[i][columns[j]]} {fault}")
        return values

    def _number(self, row: int, column: int) -> float:
        field = self.rows[row][column]
        number = as_number(field, self.separator)
        if number is None:
            fault = f"{field!r} is no number" if field else "empty"
            raise ConfigError(f"{self.where(row, column)}: {fault}; every field must hold a number")
        return number

    def texts(self, column: int) -> list[str]:
        """The fields of a column as they are. Raises ConfigError that names the line of an empty one."""
        fields = [row[column] for row in self.rows]
        for i, field in enumerate(fields):
            if not field:
                raise ConfigError(f"{self.where(i, column)}: empty")
        return fields


def read_table(path: Path, names: Sequence[str] = ()) -> Table:
    """Reads a CSV file in UTF-8, with or without a byte order mark, whose fields tabs, semicolons or commas separate.

    The first line is a header when it has a text where the next line has a number, when it has no number at all, or
    when it holds one of `names`, which are those that columns will be asked for. Rows of nothing but empty fields are
    left out.

    Raises ConfigError when the file cannot be read, has no row, or has rows of different lengths, with the line.
    """
    text = _text(path)
    separator = _separator(text)
    rows, lines = _fields(path, text, separator)
    if not rows:
        raise ConfigError(f"{path}: holds no row")
    for line, row in zip(lines, rows, strict=True):
        if len(row) != len(rows[0]):
            raise ConfigError(
                f"{path}:{line}: {_counted(len(row))}; line {lines[0]} has {len(rows[0])}, "
                f"separated by {_named(separator)}"
            )
    header = None
    if _is_header(rows, separator, names):
        header = tuple(" ".join(name.split()) for name in rows[0])  # spreadsheets break long names into lines
        rows, lines = rows[1:], lines[1:]
        if not rows:
            raise ConfigError(f"{path}: holds no row but its header")
    return Table(path, header, rows, lines, separator)


def _text(path: Path) -> str:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return file.read()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: cannot be read: not UTF-8 text; save it as CSV in UTF-8") from error


def _separator(text: str) -> str:
    """The first separator that gives the first rows the same number of columns, more than one.

    Without any, that of which the first row holds most: then a row of another length can be named.
    """
    for separator in _SEPARATORS:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        try:
            widths = {len(row) for row in itertools.islice(filter(_filled, reader), _LOOKED_AT)}
        except csv.Error:
            continue  # said when the whole file is read
        if len(widths) == 1 and widths.pop() > 1:
            return separator
    first = next((line for line in text.splitlines() if line.strip()), "")
    return max(reversed(_SEPARATORS), key=first.count)


def _fields(path: Path, text: str, separator: str) -> tuple[list[list[str]], list[int]]:
    rows, lines = [], []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        first = 1
        for row in reader:
            if _filled(row):
                rows.append([field.strip() for field in row])
                lines.append(first)
            first = reader.line_num + 1  # a quoted field may hold several lines
    except csv.Error as error:
        raise ConfigError(f"{path}:{reader.line_num}: cannot be read: {error}") from error
    return rows, lines


def _filled(row: list[str]) -> bool:
    return any(field.strip() for field in row)


def _is_header(rows: list[list[str]], separator: str, names: Sequence[str]) -> bool:
    first = [as_number(field, separator) for field in rows[0]]
    second = [as_number(field, separator) for field in rows[1]] if len(rows) > 1 else []
    named = any(name in rows[0] for name in names)
    over_number = any(a is None and b is not None for a, b in zip(first, second, strict=False))
    return named or over_number or all(number is None for number in first)


def _counted(fields: int) -> str:
    return "1 field" if fields == 1 else f"{fields} fields"


def _named(separator: str) -> str:
    return {"\t": "tabs", ";": "semicolons", ",": "commas"}[separator]
