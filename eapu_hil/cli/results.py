"""What a command has found out about cells: it reaches a file or stdout however the command ends."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.printable import printable
from eapu_hil.base.provenance import now_utc
from eapu_hil.base.storage import ReservedFile, StorageError, storage_errors
from eapu_hil.bench.cellcsv import status_text, write_cells
from eapu_hil.bench.identity import label_of
from eapu_hil.bench.passport import Chip
from eapu_hil.cli.streams import OutputError
from eapu_hil.cli.terminal import Terminal
from eapu_hil.hal import Cells, CellStatus, ConfigError, Crossbar, FloatArray, LimitError, StatusArray

ROW_BYTES = 192  # of a line with the longest status, without the name of the chip
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
    """Of each cell that is done: conductance, status and what else is known, by the columns of `RESULT_HEADER`."""

    def __init__(self, out: Path | None, number: int, terminal: Terminal) -> None:
        """out: the new file for them; None: stdout. number: of the array."""
        self._out, self._number, self._terminal = out, number, terminal
        self._file: ReservedFile | None = None
        self._asked = 0
        self._under_way: tuple[Cells, dict[str, FloatArray]] | None = None
        self.same: dict[str, Any] = {}  # what is the same of all cells
        self._parts: list[dict[str, NDArray[Any]]] = []

    def reserve(self, cells: int, chip: Chip, v_read_v: float) -> None:
        """Takes the room for so many cells of `chip`, before anything is sent. Raises StorageError for none.

        v_read_v: what the cells are read at.
        """
        self._asked = cells
        self.same = same_of_all(self._number, chip, v_read_v)
        if self._out is not None:
            row_bytes = ROW_BYTES + len(self.same["chip"].encode())
            self._file = ReservedFile(self._out, row_bytes * (cells + 1))

    def begin(self, cells: Cells, **more: FloatArray) -> None:
        """From now on, until `add`, nobody knows what these cells hold. more: what is known of them all the same."""
        self._under_way = (cells, more)

    def add(self, cells: Cells, g_S: FloatArray, status: StatusArray, **more: NDArray[Any]) -> None:
        """Cells that are done."""
        self._under_way = None
        time = np.full(len(cells), now_utc())
        part: dict[str, NDArray[Any]] = {
            "row": cells.row,
            "col": cells.col,
            "g_uS": 1e6 * g_S,
            "status": status,
            **more,
            "time": time,
        }
        self._parts.append(part)

    def columns(self) -> dict[str, NDArray[Any]]:
        """All of it by name; the status as a number."""
        if not self._parts:
            return {name: np.zeros(0) for name in ("row", "col", "g_uS", "status")}
        return {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}

    def content(self) -> dict[str, Any]:
        """The results so far, for JSON."""
        return {**_in_words(self.columns()), **self.same, "array": self._number, "out": self._out}

    def save(self) -> None:
        """Into the file, or to stdout; where the file fails, to stdout as well. Raises StorageError for that."""
        text = csv_text(self.columns(), self.same)
        if self._file is not None:
            try:
                self._file.write(text.encode())
            except BaseException:  # also Ctrl-C in the middle of it
                self._file.discard()
                self._terminal.file(text)
                raise
        else:
            self._terminal.file(text)

    def save_what_is_done(self, error: BaseException) -> None:
        """After an error or a signal: saves and tells what was done before. The error is the one to pass on."""
        if self._under_way is not None and not isinstance(error, LimitError):  # that one was not sent
            self._add_unknown(*self._under_way)
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
        done = int(np.count_nonzero((self.columns()["status"] & CellStatus.ABORTED) == 0))
        self._terminal.note(
            f"stopped; {done} of {self._asked} cells are done; what is known of them is in {where}"
        )

    def _add_unknown(self, cells: Cells, known: dict[str, FloatArray]) -> None:
        nothing = np.full(len(cells), np.nan)
        lacking = self._parts[0].keys() - {"row", "col", "g_uS", "status", "time"} if self._parts else set()
        status = np.full(len(cells), CellStatus.ABORTED, np.uint8)
        self.add(cells, nothing, status, **{**dict.fromkeys(lacking, nothing), **known})


def same_of_all(number: int, chip: Chip, v_read_v: float) -> dict[str, Any]:
    """The columns of a result that are the same of all cells: array, chip and the voltage that they are read at."""
    return {"array": number, "chip": printable(label_of(chip)), "v_read_v": v_read_v}


def csv_text(columns: Mapping[str, NDArray[Any]], same: Mapping[str, Any]) -> str:
    """A result as CSV. columns: see `write_cells`, the status as a number. same: what is the same of all cells."""
    text = io.StringIO()
    of_all = {name: [value] * len(columns["row"]) for name, value in same.items()}
    write_cells(text, {**_in_words(columns), **of_all})
    return text.getvalue()


def _in_words(columns: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    return {**columns, "status": [status_text(int(code)) for code in columns["status"]]}


@contextmanager
def saving(out: Path | None, plot: Path | None, number: int, terminal: Terminal) -> Iterator[CellResults]:
    """Around a command: saves its results at the end, and what is done so far where it does not come to the end.

    plot: the new picture of them, which is drawn last; None: no picture.
    Raises ConfigError where one of the two cannot be made, before anything is opened.
    """
    require_free(out)
    draw = cell_drawing(plot, out)
    results = CellResults(out, number, terminal)
    try:
        yield results
    except BaseException as error:
        results.save_what_is_done(error)
        raise
    try:
        results.save()
        draw(results.columns(), results.same)
    except StorageError:
        terminal.keep(results.content())
        raise


def cell_drawing(
    plot: Path | None, out: Path | None
) -> Callable[[Mapping[str, NDArray[Any]], Mapping[str, Any]], None]:
    """What draws the columns of a result, and what is the same of all cells, to `plot`. out: the file of the result.

    Raises ConfigError, before anything is pulsed, where that could not be drawn.
    """
    if plot is None:
        return lambda *_: None
    require_free(plot, "--plot")
    if out is not None and plot.resolve() == out.resolve():
        raise ConfigError(f"{plot}: asked for by --out and by --plot; name two files")
    from eapu_hil.report.cell_figures import draw_cells

    def draw(columns: Mapping[str, NDArray[Any]], same: Mapping[str, Any]) -> None:
        last = str(max(columns.get("time", ()), default=""))
        of_what = (
            f"array {same['array']} of chip {same['chip']}, read at {same['v_read_v']:g} V" if same else ""
        )
        caption = f"{of_what}, {last}" if last else of_what
        with storage_errors(plot):
            draw_cells(plot, columns, caption)

    return draw


def require_free(out: Path | None, option: str = "--out") -> None:
    """Raises ConfigError, before anything is pulsed, when the result could not be saved in `out`."""
    if out is not None and out.exists():
        raise ConfigError(f"{out}: already exists; name a new file with {option}")
    if out is not None and not out.parent.is_dir():
        raise ConfigError(f"{out}: there is no directory {out.parent}")
