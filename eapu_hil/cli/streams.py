"""stdout and stderr as they are found: closed, gone with their terminal, full, or in an encoding that lacks letters."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from eapu_hil.base.errors import HilError

# For what the encoding of a redirected stream (cp1252 on Windows, ASCII) lacks.
_PLAIN = {"\u2009": " ", "\u202f": " ", "\u2212": "-", "\u2013": "-", "\u2026": "...", "\u00b1": "+-", "\u00b5": "u",
          "\u03bc": "u", "\u00b7": ".", "\u00d7": "x", "\u00b0": " deg ", "\u2265": ">=", "\u2264": "<=",
          "\u2500": "-", "\u2501": "-", "\u2022": "*"}  # fmt: skip
_NEAREST = "eapu_hil.nearest"


class OutputError(HilError):
    """What is printed reaches nobody: a pipe that the other side closed, a full disk, a terminal that is gone."""


class Errors:
    """stderr as it is at the moment. What it does not take is dropped.

    It may have gone with the terminal, just when a signal makes its way out: a line that nobody can read must not
    come between that and 0 V.
    """

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


@contextmanager
def printing() -> Iterator[None]:
    """Around what goes to stdout. Raises OutputError where that is gone; from then on it leads nowhere."""
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        with suppress(OSError, ValueError):  # else Python would complain once more at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputError(
            f"stdout: what was to be printed cannot be written ({error.strerror or error})"
        ) from error


def mended_streams() -> bool:
    """Gives a process without stdout or stderr one that leads nowhere; returns whether stdout is closed."""
    closed = sys.stdout is None
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - to the end
    return closed


def _nearest(error: UnicodeError) -> tuple[str, int]:
    """An error handler of codecs: a character that cannot be written becomes the plain one nearest to it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    wrong = error.object[error.start : error.end]
    return "".join(_PLAIN.get(letter, "?") for letter in wrong), error.end


codecs.register_error(_NEAREST, _nearest)


def write_anything(stream: Any) -> None:
    """A character is never a reason to lose a result; the name of a file may hold any bytes."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=_NEAREST)
