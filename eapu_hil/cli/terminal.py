"""The output of the command line: results on stdout, everything else on stderr."""

from __future__ import annotations

import codecs
import errno
import io
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any, cast

from rich.console import Console
from rich.table import Table

from eapu_hil.base.errors import HilError
from eapu_hil.base.plugins import modules
from eapu_hil.base.printable import printable
from eapu_hil.base.storage import plain

_NARROW = 120  # columns when stdout is no terminal
_INFORM = ("eapu_hil", "eapu_calibration")  # whose log a person sees without -v
_BUS = ".bus"  # end of the names of the loggers where drivers log, at DEBUG, every message both ways


class OutputError(HilError):
    """What is printed reaches nobody: a pipe that the other side closed, a full disk, a terminal that is gone."""


class _Errors:
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
def _printing() -> Iterator[None]:
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


class _Out(Console):
    """rich would end the program by itself."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


class Terminal:
    """The output of a command. With `as_json` stdout holds one JSON object and nothing else.

    Raises OutputError where stdout takes nothing any more.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.complete = True  # False: done, but not all; see `not_all`
        self._kept: dict[str, Any] = {}
        for stream in (sys.stdout, sys.stderr):
            _write_anything(stream)
        errors = cast("IO[str]", _Errors())
        # No markup, no emoji: names hold words in brackets and between colons.
        self.errors = Console(file=errors, highlight=False, emoji=False, markup=False)
        out = errors if as_json else sys.stdout
        self._out = _Out(
            file=out,
            highlight=False,
            soft_wrap=True,
            width=None if out.isatty() else _NARROW,
            markup=False,
            emoji=False,
        )

    def say(self, text: str) -> None:
        """One line for a person."""
        with _printing():
            self._out.print(printable(text))

    def note(self, text: str) -> None:
        """One line on stderr."""
        self.errors.print(f"eapu-hil: {printable(text)}", markup=False, soft_wrap=True)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table for a person."""
        table = Table(*map(printable, head), box=None, pad_edge=False, header_style="bold")
        for row in rows:
            table.add_row(*map(printable, row))
        with _printing():
            self._out.print(table, soft_wrap=False)

    def not_all(self) -> None:
        """The command has done what it was asked, but not with all cells: it ends with exit code 4."""
        self.complete = False

    def keep(self, content: Mapping[str, Any]) -> None:
        """What the JSON object holds also where the command ends with an error."""
        self._kept |= content

    def result(self, content: Mapping[str, Any]) -> None:
        """The JSON object that ends the output of a command called with --json."""
        if self.as_json:
            with _printing():
                sys.stdout.write(json.dumps(plain({**self._kept, **content}), allow_nan=False) + "\n")

    @contextmanager
    def stop_hint(self, hint: str, begun: Callable[[], bool]) -> Iterator[None]:
        """Says how to go on when Ctrl-C or SIGTERM ends it. begun: whether there is something to go on with."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            text = hint if begun() else "nothing was written, nothing is left behind"
            self.note(f"stopped; {text}")
            raise

    def log_to_stderr(self, verbosity: int) -> None:
        """Shows log records; above a running progress bar where there is one.

        verbosity: 0 shows what the project informs of and the warnings of others; 1 (-v) also the details of every
            package that adds something to the project, each line with its origin; 2 (-vv) also each message to and
            from an instrument.
        """
        handler = _ConsoleHandler(self.errors)
        origin = "%(name)s: " if verbosity else ""
        handler.setFormatter(logging.Formatter(f"eapu-hil: {origin}%(message)s"))
        if verbosity < 2:
            handler.addFilter(lambda record: not record.name.endswith(_BUS))
        logging.basicConfig(handlers=[handler], force=True)
        for name in modules() if verbosity else _INFORM:
            logging.getLogger(name).setLevel(logging.DEBUG if verbosity else logging.INFO)


# For what the encoding of a redirected stream (cp1252 on Windows, ASCII) lacks.
_PLAIN = {"\u2009": " ", "\u202f": " ", "\u2212": "-", "\u2013": "-", "\u2026": "...", "\u00b1": "+-", "\u00b5": "u",
          "\u03bc": "u", "\u00b7": ".", "\u00d7": "x", "\u00b0": " deg ", "\u2265": ">=", "\u2264": "<=",
          "\u2500": "-", "\u2501": "-", "\u2022": "*"}  # fmt: skip
_NEAREST = "eapu_hil.nearest"


def _nearest(error: UnicodeError) -> tuple[str, int]:
    """An error handler of codecs: a character that cannot be written becomes the plain one nearest to it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    wrong = error.object[error.start : error.end]
    return "".join(_PLAIN.get(letter, "?") for letter in wrong), error.end


codecs.register_error(_NEAREST, _nearest)


def _write_anything(stream: Any) -> None:
    """A character is never a reason to lose a result; the name of a file may hold any bytes."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=_NEAREST)


class _ConsoleHandler(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print(printable(self.format(record)), markup=False, soft_wrap=True)
