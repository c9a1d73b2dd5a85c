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
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from eapu_hil.hal.recipe import Recipe

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
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


def _vector(value: ArrayLike, dtype: type, length: int, name: str) -> NDArray[np.generic]:
    array: NDArray[np.generic] = np.asarray(value, dtype=dtype)
    if array.ndim == 0:
        array = np.full(length, array)
    if array.shape != (length,):
        raise ValueError(f"{name} has shape {array.shape}; expected one value for each of {length} cells")
    return array


@dataclass(frozen=True, eq=False)
class Cells:
    """Positions in one array: `row` and `col`, int64 arrays of shape (n,)."""

    row: IntArray
    col: IntArray

    def __post_init__(self) -> None:
        row = np.atleast_1d(np.asarray(self.row, dtype=np.int64))
        object.__setattr__(self, "row", row)
        object.__setattr__(self, "col", _vector(self.col, np.int64, row.size, "col"))

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
        return Cells(self.row[index], self.col[index])


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
            dtype = np.float64 if field.name in ("amplitude_v", "gate_v", "width_s") else np.int64
            value = _vector(getattr(self, field.name), dtype, len(self.cells), field.name)
            object.__setattr__(self, field.name, value)


@dataclass(frozen=True, eq=False)
class Targets:
    """The conductance wanted of each cell, in S."""

    cells: Cells
    g_target_S: FloatArray

    def __post_init__(self) -> None:
        value = _vector(self.g_target_S, np.float64, len(self.cells), "g_target_S")
        object.__setattr__(self, "g_target_S", value)

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
    ) -> FloatArray:
        """Products: applies each vector of `v_in_v` to the driven lines, measures the current of the others.

        v_in_v: shape (batch, lines in), V.
        lines_in: the driven line of each column of `v_in_v` (all by default); the rest are held at 0 V.
        lines_out: which of the measured lines are wanted (all by default); only those are converted.
        Returns the currents in A, shape (batch, lines out).
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


@dataclass(frozen=True)
class LineFault:
    """A fault that a test of contacts found. where: "row 3", "cell (3, 2)". problem: in words, with figures."""

    where: str
    problem: str


@runtime_checkable
class ContactTest(Protocol):
    """A `Crossbar` that can tell, with voltages that change nothing, which of its lines are open or shorted."""

    def test_contacts(self) -> list[LineFault]:
        """Tests every line; grounds afterwards."""
        ...


@dataclass(frozen=True)
class DeviceProof:
    """How a device itself held one limit. limit: key of the bench file. asked, answer: in words, with figures."""

    limit: str
    asked: str
    answer: str


@runtime_checkable
class ProvesLimits(Protocol):
    """A `Crossbar` that can show, past the host's interlock, that the device itself holds its limits."""

    def prove_limits(self) -> list[DeviceProof]:
        """Asks the device about each limit that it can hold by itself; nothing reaches a cell.

        A controller is sent requests that its firmware has to refuse. Instruments would carry such requests out:
        they are sent none, their compliance and protection are read back. Raises HilError where a limit is not
        held.
        """
        ...
