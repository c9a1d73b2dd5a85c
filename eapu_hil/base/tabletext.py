"""What stands in a file with a table: its encoding, its separator, its comments, and the fields of each line."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eapu_hil.base.errors import ConfigError

# In this order where two fit: a comma may also stand in a number or in a text.
SEPARATORS = ("\t", ";", ",", " ")
COMMENTS = ("#", "%", "//")  # begin a line that is no row
LARGEST_FILE = 2**30  # bytes, unpacked: a packed file can hold a thousand times its size
_LOOKED_AT = 50  # rows that must agree on the separator
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_WORDS = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?", re.ASCII)
_EXCEL = re.compile(r'"?sep=([\t;,])"?')  # the line that Excel takes the separator from
_CONTROL = re.compile("[\x00-\x08\x0e-\x19\x1b-\x1f]")  # all but white space, and the DOS end of file
_MARKS = (  # the longer ones first: that of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8 with a byte order mark"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)


@dataclass(frozen=True)
class Record:
    """One row of a file: its fields without blanks around them, and the line it begins on, from 1."""

    line: int
    fields: list[str]


def has_decimal_comma(text: str, separator: str) -> bool:
    """Whether a field holds a number with a decimal comma, which only a comma between fields forbids."""
    return separator != "," and _DECIMAL_COMMA.fullmatch(text) is not None


def as_number(text: str, separator: str = ",") -> float | None:
    """The number that a field holds, None for other text. Where no comma separates, one is a decimal sign."""
    if has_decimal_comma(text, separator):
        text = text.replace(",", ".")
    # float() alone would also take 1_000 and digits of other scripts.
    return float(text) if _NUMBER.fullmatch(text) or _WORDS.fullmatch(text) else None


def read_text(path: Path) -> tuple[str, str]:
    """The text of a file and the name of its encoding; a file packed by gzip is unpacked.

    Raises ConfigError for a file that cannot be read, that is too large, or that holds no text.
    """
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = _unpacked(path, data)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: cannot be read: No such file or directory") from error
    except (OSError, zlib.error, EOFError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise ConfigError(f"{path}: cannot be read: {reason}") from error
    try:
        text, encoding = _decoded(data)
    except UnicodeError as error:
        raise ConfigError(f"{path}: cannot be read as text: {error}; save it as CSV in UTF-8") from error
    if (found := _CONTROL.search(text)) is not None:
        line = text.count("\n", 0, found.start()) + 1
        raise ConfigError(
            f"{path}:{line}: holds the byte {ord(found[0]):#04x}, so it is no text file; save the table as CSV in UTF-8"
        )
    return text.removesuffix("\x1a"), encoding


def _unpacked(path: Path, data: bytes) -> bytes:
    unpacked, rest = b"", data
    while rest:  # one file may hold several parts
        part = zlib.decompressobj(wbits=31)
        unpacked += part.decompress(rest, LARGEST_FILE + 1 - len(unpacked))
        if len(unpacked) > LARGEST_FILE:
            raise ConfigError(f"{path}: holds more than {LARGEST_FILE >> 20} MiB unpacked; cut it into parts")
        if not part.eof:
            raise EOFError("the packed data end too early")
        rest = part.unused_data.lstrip(b"\0")
    return unpacked


def _decoded(data: bytes) -> tuple[str, str]:
    for mark, encoding, name in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding), name
    if data and len(data) % 2 == 0:
        # The digits and separators of a table are one byte and a zero byte in UTF-16.
        even, odd = data[::2].count(0), data[1::2].count(0)
        half = len(data) // 2
        if odd > 0.5 * half and even < 0.1 * half:
            return data.decode("utf-16-le"), "UTF-16 without a byte order mark"
        if even > 0.5 * half and odd < 0.1 * half:
            return data.decode("utf-16-be"), "UTF-16 without a byte order mark"
    for encoding, name in (("utf-8", "UTF-8"), ("cp1252", "Windows-1252")):
        try:
            return data.decode(encoding), name
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1"), "Latin-1"


class Records:
    """The rows of a text between which one separator stands; iterates over `Record`s.

    skip: lines at the start that are left out. comments: after the iteration, the comment lines that were left out.
    Raises ConfigError for a quote that is never closed.
    """

    def __init__(self, path: Path, text: str, separator: str, skip: int) -> None:
        self.comments: list[tuple[int, str]] = []
        self._path, self._text, self._separator, self._skip = path, text, separator, skip
        self._line, self._first = 0, 0  # last line taken; where the present row begins, 0 before it

    def __iter__(self) -> Iterator[Record]:
        # Strict: otherwise a quote that is not closed would swallow the rest of the file as one field.
        reader = csv.reader(self._lines(), delimiter=self._separator, skipinitialspace=True, strict=True)
        while True:
            self._first = 0
            try:
                row = next(reader, None)
            except csv.Error as error:
                where = f"{self._path}:{self._first or self._line}"
                if "unexpected end" in str(error):
                    raise ConfigError(f"{where}: a quote is opened here and never closed") from error
                raise ConfigError(f"{where}: cannot be read: {error}") from error
            if row is None:
                return
            fields = [field.strip() for field in row]
            if any(fields):
                yield Record(self._first, fields)

    def _lines(self) -> Iterator[str]:
        for line in io.StringIO(self._text, newline=""):
            self._line += 1
            if self._line <= self._skip:
                continue
            if self._first == 0:
                stripped = line.strip(" \t\r\n")
                if self._line == 1 and _EXCEL.fullmatch(line.strip("\r\n")):
                    continue
                if stripped.startswith(COMMENTS):
                    self.comments.append((self._line, stripped))
                    continue
                if not stripped:
                    continue
                self._first = self._line
            # Between runs of blanks those at the ends separate nothing.
            yield line.replace("\t", " ").strip(" \r\n") + "\n" if self._separator == " " else line


def find_separator(path: Path, text: str, skip: int) -> str:
    """Of the separators that give the first rows equally many columns, more than one, that with the most numbers.

    Without any, that of which the first row holds most: then a row of another length can be named.
    """
    told = _EXCEL.match(text)
    if told is not None:
        return told[1]
    best, most = None, -1.0
    for separator in SEPARATORS:
        try:
            rows = [
                record.fields for record in itertools.islice(Records(path, text, separator, skip), _LOOKED_AT)
            ]
        except ConfigError:
            continue  # said when the whole file is read
        if len({len(row) for row in rows}) != 1 or len(rows[0]) < 2:
            continue
        numbers = sum(as_number(field, separator) is not None for row in rows for field in row)
        share = numbers / (len(rows) * len(rows[0]))
        if share > most:
            best, most = separator, share
    if best is not None:
        return best
    lines = itertools.islice(io.StringIO(text, newline=""), skip, None)
    stripped = (line.strip() for line in lines)
    first = next((line for line in stripped if line and not line.startswith(COMMENTS)), "")
    return max((",", ";", "\t"), key=first.count)


def separator_name(separator: str) -> str:
    """The name of a separator in messages."""
    return {"\t": "tabs", ";": "semicolons", ",": "commas", " ": "blanks"}[separator]
