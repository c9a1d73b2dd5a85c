"""The linear circuit of a crossbar with resistive lines.

Row i is driven at its left end, one wire segment before the cell of column 0, and ends open after the last
column. Column j starts open above row 0 and is held at 0 V (a virtual ground) one segment below the last
row, where its current is measured. A cell of conductance g connects the two nodes of its crossing. Such a
circuit is linear, so the currents are `v_row_v @ T` with a transfer matrix T in S, and by reciprocity
`v_col_v @ T.T` when the columns are driven and the rows are the virtual grounds.

T is exact after an elimination (`elimination`). From there it follows the cells by a closed form (`tracked`), but
for arrays of few cells, which are solved anew after each change. When the
cells have moved far, the next elimination begins; it is made in pieces, a few a call, so that no product waits for
the whole of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import FloatArray, IntArray
from eapu_hil.twin.elimination import Elimination
from eapu_hil.twin.kernels.tracking import changed, sound
from eapu_hil.twin.tracked import TrackedTransfer

TOLERANCE = 5.0e-5  # of the closed form: rms of a column's error over rms of the column
# The closed form is left at a drift that grows and shrinks with the errors it was found to have, up to this, and up to
# twice the first guess: few cells may have small errors by chance.
LARGEST_DRIFT = 0.03
BEGUN_AT = 0.25  # of that drift: the next elimination
PIECE = 0.01  # of it, for each change of the cells while the drift is within its limit; of large arrays less:
PIECE_OPERATIONS = 1.5e7
FEW_CELLS = 200  # are solved anew after each change: few columns tell too little of the closed form's errors


@dataclass(frozen=True)
class _UnderWay:
    """An elimination of the conductances `g_S`, and T there as the closed form had it.

    begun: the drift of the closed form in use at that moment.
    """

    g_S: FloatArray
    elimination: Elimination
    expected_S: FloatArray
    begun: float


class LineNetwork:
    """Transfer matrix of one array, kept up to date at the price of what changed.

    shape: rows, columns. row_ohm, col_ohm: resistance of one wire segment of a row and of a column, ohm;
    0 means an ideal wire. version: goes up whenever T or the attenuation changes. Neither is kept: both are made
    when they are asked for, in little more than the time it takes to write them.
    """

    def __init__(self, shape: tuple[int, int], row_ohm: float, col_ohm: float) -> None:
        if min(shape) < 1 or not (0.0 <= row_ohm < np.inf and 0.0 <= col_ohm < np.inf):
            raise ValueError(f"no circuit of shape {shape} with segments of {row_ohm} and {col_ohm} ohm")
        self.shape = shape
        self.version = 0
        self.eliminations = 0
        self._segments_ohm = row_ohm, col_ohm
        self._g_S: FloatArray | None = None  # with resistive wires the array of `_tracked`
        self._tracked: TrackedTransfer | None = None
        self._next: _UnderWay | None = None
        self._limit = self._largest = 0.0  # until the first elimination tells

    def matrices(self, g_S: FloatArray) -> tuple[FloatArray, NDArray[np.float32]]:
        """Of conductances `g_S` (m, n) in S: T, (m, n), S, and the attenuation, (m, n), no unit.

        T gives column currents = row voltages @ T; without line resistance it is `g_S` itself. After a change, T is off
        by less than some `TOLERANCE`; an open cell's current need not be quite 0.
        The attenuation is dT_ij / dg_ij: how much of a small change of a cell arrives at its column. It is that of two
        lines whose other ends are at 0 V, off by some 1e-4 of 1 for wires as they are made, and by 0.02 at worst. 1
        without line resistance.
        Raises ValueError if `g_S` has another shape, or holds a negative or non-finite value.
        """
        g_S = np.ascontiguousarray(g_S, dtype=np.float64)
        if g_S.shape != self.shape:
            raise ValueError(f"conductances of shape {g_S.shape}; the array has {self.shape}")
        if self._g_S is None:
            _check(g_S)
            self._start(g_S)
        else:
            index = changed(self._g_S.reshape(-1), g_S.reshape(-1))
            self._update(index, g_S.ravel()[index])
        return self._matrices()

    def transfer(self, g_S: FloatArray) -> FloatArray:
        """T; see `matrices`."""
        return self.matrices(g_S)[0]

    def attenuation(self, g_S: FloatArray) -> NDArray[np.float32]:
        """See `matrices`."""
        return self.matrices(g_S)[1]

    def update(self, index: IntArray, g_S: FloatArray) -> FloatArray:
        """T after the cells `index` (k,), flat and unique, got the conductances `g_S` (k,), S.

        Raises ValueError if one is negative or not finite, RuntimeError if `transfer` never saw the others.
        """
        self._update(index, g_S)
        return self._matrices()[0]

    def _update(self, index: IntArray, g_S: FloatArray) -> None:
        if self._g_S is None:
            raise RuntimeError("a circuit is told of all its cells before it is told of changes")
        if index.size == 0:
            return
        _check(g_S)
        known_S, self._g_S = self._g_S, None  # nothing is known should an interrupt come in between
        self.version += 1
        if self._tracked is None:
            known_S.flat[index] = g_S
            self._g_S = known_S
            return
        if known_S.size < FEW_CELLS:
            known_S.flat[index] = g_S
            self._start(known_S)
            return
        self._tracked.move(index, g_S)
        self._go_on(self._tracked)
        drift = self._tracked.drift
        if drift > self._limit and self._next is None:
            expected_S = self._tracked.matrices()[0]
            exact_S = self._start(self._tracked.g_S)
            self._judge(expected_S, exact_S, drift)
        self._g_S = self._tracked.g_S

    def _matrices(self) -> tuple[FloatArray, NDArray[np.float32]]:
        if self._tracked is not None:
            return self._tracked.matrices()
        assert self._g_S is not None
        return self._g_S.copy(), np.ones(self.shape, np.float32)

    def _start(self, g_S: FloatArray) -> FloatArray:
        """Finds T of `g_S` as a whole; returns it."""
        self._next = self._g_S = None  # nothing is known should it fail
        self.version += 1
        if max(self._segments_ohm) == 0.0:
            self._g_S = g_S.copy()
            return self._g_S
        elimination = Elimination(g_S, *self._segments_ohm)
        elimination.advance()
        self.eliminations += 1
        transfer_S = elimination.transfer_S
        tracked = TrackedTransfer(g_S, *self._segments_ohm)
        tracked.anchor(transfer_S)
        if self._limit == 0.0:
            self._limit = min(TOLERANCE / max(tracked.error_of_drift(), TOLERANCE), LARGEST_DRIFT)
            self._largest = min(2.0 * self._limit, LARGEST_DRIFT)
        self._tracked, self._g_S = tracked, tracked.g_S
        return transfer_S

    def _go_on(self, now: TrackedTransfer) -> None:
        """Makes the next elimination advance as the drift does, so that it is done before the limit is reached."""
        coming, self._next, drift = self._next, None, now.drift
        if coming is None:
            if BEGUN_AT * self._limit <= drift <= self._limit:
                elimination = Elimination(now.g_S, *self._segments_ohm)
                self._next = _UnderWay(now.g_S.copy(), elimination, now.matrices()[0], drift)
            return
        share = coming.elimination.done + min(PIECE, PIECE_OPERATIONS / coming.elimination.operations)
        coming.elimination.advance(share if drift <= self._limit else 1.0)
        if coming.elimination.done < 1.0:
            self._next = coming
            return
        self.eliminations += 1
        transfer_S = coming.elimination.transfer_S
        self._judge(coming.expected_S, transfer_S, coming.begun)
        tracked = TrackedTransfer(coming.g_S, *self._segments_ohm)
        tracked.anchor(transfer_S)
        index = changed(coming.g_S.reshape(-1), now.g_S.reshape(-1))
        tracked.move(index, now.g_S.ravel()[index])
        self._tracked = tracked

    def _judge(self, expected_S: FloatArray, exact_S: FloatArray, drift: float) -> None:
        """Adapts the limit to what the closed form missed after `drift`; no bound of it is known but by experience."""
        missed, whole = (np.square(one).sum(axis=0) for one in (expected_S - exact_S, exact_S))
        error = np.sqrt((missed / np.maximum(whole, np.finfo(np.float64).tiny)).max())
        supported = 0.8 * drift * TOLERANCE / max(float(error), 1e-3 * TOLERANCE)
        if drift <= 2.0 * self._limit:  # what happens far beyond the limit does not speak against it
            self._limit = min(max(supported, 0.25 * self._limit), 2.0 * self._limit, self._largest)
        else:
            self._limit = min(max(supported, self._limit), self._largest)


def _check(g_S: FloatArray) -> None:
    if not sound(g_S.reshape(-1)):
        raise ValueError("conductances must be finite and not negative")
