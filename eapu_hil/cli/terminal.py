"""The output of the command line: results on stdout, everything else on stderr."""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, cast

from eapu_hil.base.plugins import modules
from eapu_hil.base.printable import printable
from eapu_hil.base.storage import plain
from eapu_hil.cli.streams import Errors, printing, write_anything

if TYPE_CHECKING:
    from rich.console import Console

# rich is imported for tables and bars only: most commands print lines, and the help waits for nothing else.
_NARROW = 120  # columns when stdout is no terminal
_INFORM = ("eapu_hil", "eapu_calibration")  # whose log a person sees without -v
_BUS = ".bus"  # end of the names of the loggers where drivers log, at DEBUG, every message both ways


class Terminal:
    """The output of a command. With `as_json` stdout holds one JSON object and nothing else.

    Raises OutputError where stdout takes nothing any more.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.complete = True  # False: done, but not all; see `not_all`
        self._kept: dict[str, Any] = {}
        for stream in (sys.stdout, sys.stderr):
            write_anything(stream)
        self._errors = cast("IO[str]", Errors())
        self._out = self._errors if as_json else sys.stdout

    @cached_property
    def errors(self) -> Console:
        """stderr for bars. A line that is noted while one runs stands above it."""
        from rich.console import Console

        # No markup, no emoji: names hold words in brackets and between colons.
        return Console(file=self._errors, highlight=False, emoji=False, markup=False)

    def say(self, text: str) -> None:
        """One line for a person."""
        with printing():
            self._out.write(f"{printable(text)}\n")

    def file(self, text: str) -> None:
        """The content of a file, as it is, unless stdout holds JSON."""
        if not self.as_json:
            with printing():
                sys.stdout.write(text)

    def note(self, text: str) -> None:
        """One line on stderr."""
        self._errors.write(f"eapu-hil: {printable(text)}\n")

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]], whole: str | None = None) -> None:
        """A table for a person. whole: the heading of the column that is never cut, whose names are typed again."""
        from rich.console import Console
        from rich.table import Column, Table

        class Out(Console):
            """rich would end the program by itself."""

            def on_broken_pipe(self) -> None:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

        columns = [
            Column(printable(name), no_wrap=name == whole, overflow="fold" if name == whole else "ellipsis")
            for name in head
        ]
        table = Table(*columns, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            table.add_row(*map(printable, row))
        with printing():
            width = None if self._out.isatty() else _NARROW
            Out(file=self._out, width=width, highlight=False, markup=False, emoji=False).print(table)

    def not_all(self) -> None:
        """The command has done what it was asked, but not with all cells: it ends with exit code 4."""
        self.complete = False

    def keep(self, content: Mapping[str, Any]) -> None:
        """What the JSON object holds also where the command ends with an error."""
        self._kept |= content

    def result(self, content: Mapping[str, Any]) -> None:
        """The JSON object that ends the output of a command called with --json."""
        if self.as_json:
            with printing():
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
        handler = _Lines(self._errors)
        origin = "%(name)s: " if verbosity else ""
        handler.setFormatter(logging.Formatter(f"eapu-hil: {origin}%(message)s"))
        if verbosity < 2:
            handler.addFilter(lambda record: not record.name.endswith(_BUS))
        logging.basicConfig(handlers=[handler], force=True)
        for name in modules() if verbosity else _INFORM:
            logging.getLogger(name).setLevel(logging.DEBUG if verbosity else logging.INFO)


class _Lines(logging.Handler):
    def __init__(self, stream: IO[str]) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        self._stream.write(f"{printable(self.format(record))}\n")
