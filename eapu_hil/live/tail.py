"""Follows the two files of a run that grow: whole lines of metrics.jsonl, whole records of writes.bin, each once.

Nothing is proven here, as `eapu_hil.training.runs` does it: what is shown may be wrong once, and the run is left alone.
A file that became shorter was cut by `resume`: it is read anew from its beginning.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.training.records import as_records

_CHUNK = 1 << 18
_LINE_MAX = 1 << 22  # a longer line is not one of ours


class _Tail:
    """A file by pieces, from where the last one ended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._inode = -1

    def pieces(self, unit: int) -> Iterator[tuple[bool, bytes]]:
        """What has been added, in whole multiples of `unit` bytes, and whether the file begins anew with it.

        A piece counts as taken when it is handed out.
        """
        try:
            file = os.open(self._path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        except OSError:  # not there yet, or a link
            return
        try:
            found = os.fstat(file)
            anew = found.st_size < self._at or found.st_ino != self._inode
            if anew:
                self._at, self._inode = 0, found.st_ino
            os.lseek(file, self._at, os.SEEK_SET)
            while piece := os.read(file, _CHUNK // unit * unit):
                whole = len(piece) // unit * unit
                if not whole:
                    return
                self._at += whole
                yield anew, piece[:whole]
                anew = False
                if whole < len(piece):
                    return
        finally:
            os.close(file)


class LineTail:
    """metrics.jsonl, or any file of JSON lines. A line that is none is passed over."""

    def __init__(self, path: Path) -> None:
        self._tail = _Tail(path)
        self._torn = b""

    def batches(self) -> Iterator[tuple[bool, list[dict[str, Any]]]]:
        """Those that have been added, in pieces, each with whether the file begins anew with it."""
        for anew, piece in self._tail.pieces(1):
            if anew:
                self._torn = b""
            *whole, self._torn = (self._torn + piece).split(b"\n")
            if len(self._torn) > _LINE_MAX:
                self._torn = b""
            yield anew, [line for text in whole if (line := _object(text)) is not None]


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) else None


class RecordTail:
    """writes.bin. dtype: of its records, as start.yaml describes them."""

    def __init__(self, path: Path, dtype: np.dtype[np.void]) -> None:
        self._tail = _Tail(path)
        self._dtype = dtype

    def records(self) -> Iterator[tuple[bool, NDArray[np.void]]]:
        """Those that have been added, in pieces, as `WRITE_DTYPE`, each with whether the file begins anew with it."""
        for anew, piece in self._tail.pieces(self._dtype.itemsize):
            yield anew, as_records(np.frombuffer(piece, np.uint8), self._dtype)
