"""The contract between a bench and everything that uses one.

A `Crossbar` is a rectangular array of programmable conductances: the numpy twin, a controller board
behind a serial port, or source-measure units behind a switch matrix. Whatever stands above this module
(write-verify, calibration, training) speaks only the requests and answers defined here and cannot tell
which kind it is talking to.

SI units everywhere, and the unit is part of the name: volts `_v`, amperes `_a`, ohms `_ohm`,
siemens `g_..._S`, seconds `width_s`, `duration_s`, joules `_j`. Vectors are numpy arrays with one element
a cell.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum, IntEnum, IntFlag
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal.vectors import FloatArray, IntArray, real_numbers, whole_numbers

if TYPE_CHECKING:
    from eapu_hil.hal.recipe import Recipe

StatusArray = NDArray[np.uint8]


class CellStatus(IntFlag):
    """The result of a request for one cell. `OK` is 0, so `status != 0` selects the cells that need attention."""

    OK = 0
    NOT_CONVERGED = 1  # the caps of the recipe were reached outside the band
    COMPLIANCE = 2  # a pulse ran into the current limit
    LIMIT = 4  # the next pulse would need more than the recipe or the limits allow
    SATURATED = 8  # the reading lies at the end of the converter's range
    STUCK = 16  # full-strength pulses both ways do not move the cell
    ABORTED = 32  # stopped before it was finished


class Direction(Enum):
    """Which lines a product drives. The others are virtual grounds and are measured."""

    FORWARD = "forward"  # drives rows, measures columns
    TRANSPOSED = "transposed"  # drives columns, measures rows


class Polarity(IntEnum):
    """The effect of a pulse on a 1T1R cell."""

    RESET = -1  # lowers the conductance
    SET = 1  # raises the conductance, as far as the gate voltage lets it
    FORM = 2  # the first, one-way SET of a fresh cell


@dataclass(frozen=True)
class Identity:
    """Identifies a device: model, serial number, firmware version or preset name, git hash."""

    model: str
    serial: str
    firmware: str
    git_hash: str


@dataclass(frozen=True)
class Limits:
    """Absolute maxima of one array. A request beyond them is refused, never clamped.

    v_max_v: largest magnitude on any row or column line.
    v_gate_max_v: largest gate (word line) voltage.
    i_max_a: largest current through one cell; a pulse that reaches it ends as `COMPLIANCE`.
    width_max_s: longest single pulse.
    pulses_per_cell_max: most pulses that one request may apply to one cell.
    v_read_max_v: largest magnitude in a read or a product, which must not disturb what is stored.
    """

    v_max_v: float
    v_gate_max_v: float
    i_max_a: float
    width_max_s: float
    pulses_per_cell_max: int
    v_read_max_v: float = 0.5


def _one_each(array: NDArray[Any], length: int, name: str) -> NDArray[Any]:
    """One value for each of `length` cells; a single one is meant for all."""
    if array.ndim == 0:
        array = np.full(length, array)
        array.setflags(write=False)
    if array.shape != (length,):
        raise ValueError(f"{name} has shape {array.shape}; expected one value for each of {length} cells")
    return array


@dataclass(frozen=True, eq=False)
class Cells:
    """Positions in one array: `row` and `col`, int64 arrays of shape (n,).

    As in every request, they are read-only copies of what was given. Raises LimitError for what is no whole number.
    """

    row: IntArray
    col: IntArray

    def __post_init__(self) -> None:
        row = np.atleast_1d(whole_numbers(self.row, "row"))
        object.__setattr__(self, "row", _one_each(row, row.size, "row"))
        object.__setattr__(self, "col", _one_each(whole_numbers(self.col, "col"), row.size, "col"))

    @classmethod
    def block(cls, row0: int, row1: int, col0: int, col1: int) -> Cells:
        """Cells of the rectangle [row0, row1) x [col0, col1), row by row."""
        row, col = np.mgrid[row0:row1, col0:col1]
        return cls(row.ravel(), col.ravel())

    @classmethod
    def all(cls, shape: tuple[int, int]) -> Cells:
        """Every cell of an array of `shape` (rows, columns), row by row."""
        return cls.block(0, shape[0], 0, shape[1])

    def __len__(self) -> int:
        return int(self.row.size)

    def __getitem__(self, index: NDArray[np.generic] | slice) -> Cells:
        """The chosen cells; `index` is a slice, a boolean mask or an index array."""
        row, col = self.row[index], self.col[index]
        for values in (row, col):
            values.setflags(write=False)
        # They are whole numbers already: nothing is to be proven or copied again.
        chosen = object.__new__(Cells)
        object.__setattr__(chosen, "row", row)
        object.__setattr__(chosen, "col", col)
        return chosen


@dataclass(frozen=True, eq=False)
class Pulses:
    """`count` identical pulses for each cell. Amplitudes are magnitudes; the polarity gives the sign.

    Scalars are broadcast over the cells.
    """

    cells: Cells
    polarity: IntArray
    amplitude_v: FloatArray
    gate_v: FloatArray
    width_s: FloatArray
    count: IntArray

    @classmethod
    def same(
        cls,
        cells: Cells,
        polarity: Polarity,
        amplitude_v: float,
        gate_v: float,
        width_s: float,
        count: int = 1,
    ) -> Pulses:
        """The same pulse for each of `cells`."""
        n = len(cells)
        volts, gates, widths = np.full((3, n), np.array([[amplitude_v], [gate_v], [width_s]]))
        return cls(cells, np.full(n, int(polarity)), volts, gates, widths, np.full(n, count))

    def __post_init__(self) -> None:
        for field in fields(self)[1:]:
            taken = whole_numbers if field.name in ("polarity", "count") else real_numbers
            value = taken(getattr(self, field.name), field.name)
            object.__setattr__(self, field.name, _one_each(value, len(self.cells), field.name))


@dataclass(frozen=True, eq=False)
class Targets:
    """The conductance wanted of each cell, in S."""

    cells: Cells
    g_target_S: FloatArray

    def __post_init__(self) -> None:
        value = real_numbers(self.g_target_S, "g_target_S")
        object.__setattr__(self, "g_target_S", _one_each(value, len(self.cells), "g_target_S"))

    def __len__(self) -> int:
        return len(self.cells)


@dataclass(frozen=True, eq=False)
class Reading:
    """Measured conductances in S, shape (n,), and a `CellStatus` for each: `OK` or `SATURATED`.

    A cell that the bench knows as bad and does not connect reads NaN, `STUCK`.
    """

    g_S: FloatArray
    status: StatusArray


@dataclass(frozen=True, eq=False)
class PulseOutcome:
    """A `CellStatus` for each cell: `OK` or `COMPLIANCE`."""

    status: StatusArray


@dataclass(frozen=True, eq=False)
class WriteOutcome:
    """The result of write-verify for each cell; arrays of shape (n,).

    g_before_S, g_after_S: the first and the last verify reading, in S.
    pulses, reads: how many of each the cell took.
    energy_j: energy of the pulses in the cell, from amplitude, width and the readings around each pulse.
    status: `CellStatus` of each cell. A cell that did not converge is a status, not an exception.
    """

    g_before_S: FloatArray
    g_after_S: FloatArray
    pulses: IntArray
    reads: IntArray
    energy_j: FloatArray
    status: StatusArray


@runtime_checkable
class Crossbar(Protocol):
    """One array of programmable conductances with its drivers and converters."""

    @property
    def identity(self) -> Identity: ...

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        ...

    @property
    def limits(self) -> Limits: ...

    def clock_s(self) -> float:
        """Bench time in s. It only moves forward; the twin's is simulated."""
        ...

    def wait(self, duration_s: float) -> None:
        """Lets `duration_s` of bench time pass: sleeps on hardware, advances the twin's clock."""
        ...

    def read(self, cells: Cells, v_read_v: float) -> Reading:
        """Measures the conductance of each cell at `v_read_v`."""
        ...

    def vmm(
        self,
        v_in_v: NDArray[np.floating],
        direction: Direction,
        lines_in: IntArray | None = None,
        lines_out: IntArray | None = None,
    ) -> NDArray[np.floating]:
        """Products: applies each vector of `v_in_v` to the driven lines, measures the current of the others.

        v_in_v: shape (batch, lines in), V.
        lines_in: the driven line of each column of `v_in_v` (all by default); the rest are held at 0 V.
        lines_out: which of the measured lines are wanted (all by default); only those are converted.
        Returns the currents in A, shape (batch, lines out), which are the caller's to change. They may be float32
        where the voltages are.
        """
        ...

    def pulse(self, pulses: Pulses) -> PulseOutcome:
        """Applies each pulse exactly once. No reading, no retry."""
        ...

    def program(self, targets: Targets, recipe: Recipe | None = None) -> WriteOutcome:
        """Write-verify, as near to the cells as the backend can. None means the bench's own recipe."""
        ...

    def ground(self) -> None:
        """Every line to 0 V, now. Always allowed, also after an error."""
        ...
