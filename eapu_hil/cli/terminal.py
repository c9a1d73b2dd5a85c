"""The output of the command line: results on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any, cast

from rich.console import Console
from rich.table import Table

from eapu_hil.base.plugins import modules
from eapu_hil.base.storage import plain

_NARROW = 120  # columns when stdout is no terminal
_INFORM = ("eapu_hil", "eapu_calibration")  # whose log a person sees without -v
_BUS = ".bus"  # end of the names of the loggers where drivers log, at DEBUG, every message both ways


class Messages(io.TextIOBase):
    """stderr. Where nobody can read it any more (a full disk, a lost terminal) the work goes on in silence."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr.isatty()

    def fileno(self) -> int:
        return sys.stderr.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # rich asks; the base class calls it an attribute
        return sys.stderr.encoding


class Terminal:
    """The output of a command. With `as_json` stdout holds one JSON object and nothing else."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.errors = Console(
            file=cast("IO[str]", Messages()), highlight=False, emoji=False
        )  # VISA names hold words between colons
        out = cast("IO[str]", Messages()) if as_json else sys.stdout
        self._out = Console(
            file=out,
            highlight=False,
            soft_wrap=True,
            width=None if out.isatty() else _NARROW,
            markup=False,
            emoji=False,
        )

    def say(self, text: str) -> None:
        """One line for a person."""
        self._out.print(text)

    def note(self, text: str) -> None:
        """One line on stderr."""
        self.errors.print(f"eapu-hil: {text}", markup=False, soft_wrap=True)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table for a person."""
        table = Table(*head, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            table.add_row(*row)
        self._out.print(table, soft_wrap=False)

    def result(self, content: Mapping[str, Any]) -> None:
        """The JSON object that ends the output of a command called with --json."""
        if self.as_json:
            sys.stdout.write(json.dumps(plain(content), allow_nan=False) + "\n")
            sys.stdout.flush()

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


class _ConsoleHandler(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print(self.format(record), markup=False, soft_wrap=True)
