"""What a `Crossbar` may be able to do besides the contract. Whoever uses an ability asks for it with isinstance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal.crossbar import Cells, Direction, Reading, Targets, WriteOutcome
from eapu_hil.hal.recipe import Recipe
from eapu_hil.hal.vectors import IntArray


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
    """One limit that a device itself held. limit: key of the bench file. asked, answer: in words, with figures."""

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


@dataclass(frozen=True, eq=False)
class ProductRequest:
    """Products on arrays that form a grid, as the tiles of a matrix do: `Crossbar.vmm` of each of them.

    arrays: their numbers, shape (k, m). v_in_v: (k, batch, lines in), V: those of a row of the grid share their
    voltages. lines_in, lines_out: of each array, (k, m, lines); None for all lines.
    """

    arrays: IntArray
    v_in_v: NDArray[np.floating]
    direction: Direction
    lines_in: IntArray | None = None
    lines_out: IntArray | None = None

    def grid(self) -> list[tuple[int, int, int]]:
        """Each place of the grid, and the number of the array there."""
        return [(k, m, number) for k, row in enumerate(self.arrays.tolist()) for m, number in enumerate(row)]

    def driven(self, k: int, m: int) -> IntArray | None:
        """The lines that are driven on one array of the grid; None for all."""
        return None if self.lines_in is None else self.lines_in[k, m]

    def measured(self, k: int, m: int) -> IntArray | None:
        """The lines that are measured on one array of the grid; None for all."""
        return None if self.lines_out is None else self.lines_out[k, m]


@runtime_checkable
class BenchWide(Protocol):
    """The arrays of a bench that take requests over several of them at once.

    What a driver's `open_arrays` yields may have this ability: it is then a sequence of `Crossbar`s with these methods.
    A bench without it is asked array by array. Bench time runs as if the arrays were asked in turn, and there is one
    clock for all. array: the number of the array of each cell, shape (n,).
    """

    def read_cells(self, array: IntArray, cells: Cells, v_read_v: float) -> Reading:
        """See `Crossbar.read`."""
        ...

    def program_cells(self, array: IntArray, targets: Targets, recipe: Recipe) -> WriteOutcome:
        """See `Crossbar.program`. No cell is named twice."""
        ...

    def products(self, requests: Sequence[ProductRequest]) -> list[NDArray[np.floating]]:
        """See `Crossbar.vmm`: the currents of each request, (k, m, batch, lines out), A."""
        ...


@dataclass(frozen=True)
class LinkCounts:
    """What the line to a device carried since it was opened. resent: sent again. damaged: came as no good frame.

    round_trip_s: of a message and its acknowledgement, smoothed.
    """

    frames_sent: int
    frames_received: int
    resent: int
    damaged: int
    reconnects: int
    round_trip_s: float


@runtime_checkable
class CountsLink(Protocol):
    """A `Crossbar` behind a line that keeps counts. Asking sends nothing."""

    def link_counts(self) -> LinkCounts:
        """The counts so far, of the line, which arrays of one device share."""
        ...


@dataclass(frozen=True)
class Unattended:
    """What puts the lines to 0 V where the program dies or stands still: by, in words, after `within_s` at most."""

    by: str
    within_s: float


@runtime_checkable
class GroundsUnattended(Protocol):
    """A `Crossbar` whose lines go to 0 V without its program. unattended: None where nothing does that."""

    unattended: Unattended | None
