"""What a command has found out about cells: it reaches a file or stdout however the command ends."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.storage import ReservedFile, StorageError
from eapu_hil.bench.cellcsv import READING_HEADER, status_text, write_cells
from eapu_hil.cli.streams import OutputError
from eapu_hil.cli.terminal import Terminal
from eapu_hil.hal import Cells, CellStatus, ConfigError, Crossbar, FloatArray, LimitError, StatusArray

ROW_BYTES = 96  # of a line with the longest status
_FIRST = 16  # cells of the first block
_BLOCK_s = 10.0  # bench time of the others, about
_WAITS = 10.0  # of a block against what its recipe only waits


def blocks(
    array: Crossbar, count: int, waits_s: float = 0.0, tell: Callable[[int], None] = lambda _: None
) -> Iterator[slice]:
    """Parts of `count` cells that take about ten seconds each: so much is lost when a command is stopped.

    waits_s: what each takes however few cells it has. tell: is told how many cells are done.
    """
    start, size = 0, _FIRST
    while start < count:
        stop, began_s = min(start + size, count), array.clock_s()
        yield slice(start, stop)
        tell(stop)
        took_s = array.clock_s() - began_s - waits_s
        share = max(_BLOCK_s, _WAITS * waits_s) / took_s if took_s > 0 else count
        size, start = max(_FIRST, int(min(share * (stop - start), count))), stop


class CellResults:
    """Of each cell that is done: conductance, status and what else a command tells as JSON."""

    def __init__(self, out: Path | None, number: int, terminal: Terminal) -> None:
        """out: the new file for them; None: stdout. number: of the array."""
        self._out, self._number, self._terminal = out, number, terminal
        self._file: ReservedFile | None = None
        self._asked = 0
        self._under_way: Cells | None = None
        self._parts: list[tuple[Cells, FloatArray, StatusArray]] = []
        self._more: dict[str, list[NDArray[Any]]] = {}

    def reserve(self, cells: int) -> None:
        """Takes the room for so many cells, before anything is sent. Raises StorageError where there is none."""
        self._asked = cells
        if self._out is not None:
            self._file = ReservedFile(self._out, ROW_BYTES * (cells + 1))

    def begin(self, cells: Cells) -> None:
        """From now on, until `add`, nobody knows what these cells hold."""
        self._under_way = cells

    def add(self, cells: Cells, g_S: FloatArray, status: StatusArray, **more: NDArray[Any]) -> None:
        """Cells that are done."""
        self._under_way = None
        self._parts.append((cells, g_S, status))
        for name, values in more.items():
            self._more.setdefault(name, []).append(values)

    def content(self) -> dict[str, Any]:
        """The results so far, for JSON."""
        cells, g_S, status = self._joined()
        columns = [cells.row, cells.col, 1e6 * g_S, [status_text(int(code)) for code in status]]
        more = {name: np.concatenate(values) for name, values in self._more.items()}
        return {
            "array": self._number,
            "out": self._out,
            **dict(zip(READING_HEADER, columns, strict=True)),
            **more,
        }

    def save(self) -> None:
        """Into the file, or to stdout; where the file fails, to stdout as well. Raises StorageError for that."""
        text = io.StringIO()
        write_cells(text, *self._joined())
        if self._file is not None:
            try:
                self._file.write(text.getvalue().encode())
            except BaseException:  # also Ctrl-C in the middle of it
                self._file.discard()
                self._terminal.file(text.getvalue())
                raise
        else:
            self._terminal.file(text.getvalue())

    def save_what_is_done(self, error: BaseException) -> None:
        """After an error or a signal: saves and tells what was done before. The error is the one to pass on."""
        if self._under_way is not None and not isinstance(error, LimitError):  # that one was not sent
            unknown = self._under_way
            status = np.full(len(unknown), CellStatus.ABORTED, np.uint8)
            more = {name: np.full(len(unknown), np.nan) for name in self._more}
            self.add(unknown, np.full(len(unknown), np.nan), status, **more)
        if not self._parts:
            if self._file is not None:
                self._file.discard()
            return
        where = "stdout" if self._out is None else self._out
        self._terminal.keep(self.content())
        try:
            self.save()
        except StorageError as failure:
            self._terminal.note(str(failure))
            where = "stdout"
        except OutputError as failure:  # `error` is still the one to pass on
            self._terminal.note(str(failure))
            return
        done = int(np.count_nonzero((self._joined()[2] & CellStatus.ABORTED) == 0))
        self._terminal.note(
            f"stopped; {done} of {self._asked} cells are done; what is known of them is in {where}"
        )

    def _joined(self) -> tuple[Cells, FloatArray, StatusArray]:
        row, col = (
            np.concatenate([np.zeros(0, np.int64), *(getattr(cells, line) for cells, _, _ in self._parts)])
            for line in ("row", "col")
        )
        g_S = np.concatenate([np.zeros(0), *(g_S for _, g_S, _ in self._parts)])
        status = np.concatenate([np.zeros(0, np.uint8), *(status for _, _, status in self._parts)])
        return Cells(row, col), g_S, status


@contextmanager
def saving(out: Path | None, number: int, terminal: Terminal) -> Iterator[CellResults]:
    """Around a command: saves its results at the end, and what is done so far where it does not come to the end.

    Raises ConfigError where `out` cannot be made, before anything is opened.
    """
    require_free(out)
    results = CellResults(out, number, terminal)
    try:
        yield results
    except BaseException as error:
        results.save_what_is_done(error)
        raise
    try:
        results.save()
    except StorageError:
        terminal.keep(results.content())
        raise


def require_free(out: Path | None) -> None:
    """Raises ConfigError, before anything is pulsed, when the result could not be saved in `out`."""
    if out is not None and out.exists():
        raise ConfigError(f"{out}: already exists; name a new file with --out")
    if out is not None and not out.parent.is_dir():
        raise ConfigError(f"{out}: there is no directory {out.parent}")
