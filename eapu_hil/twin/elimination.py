"""The exact transfer matrix of a crossbar with resistive lines, found in pieces that may be far apart in time.

With the columns' voltages given, each row wire and its cells form a tridiagonal system, whose inverse is
semiseparable and thus written down without a factorisation. What remains is a block tridiagonal system of the column
nodes, one block a row. Elimination from the top gives one inverse a row, X_i = (A_i - X_(i-1))^-1, and carries the
sources of the rows above down with it: R_i = [R_(i-1); source_i] X_i. The last R is the transfer matrix. No block is
kept, so that memory is a few blocks and time some 2 m n (m + n) n operations.

The blocks of wide arrays are single precision beside their diagonals, which stay in double: columns see each other
only through the row wires, so that what is rounded is small (some 1e-8 of the largest element for wires as they are
made).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from eapu_hil.hal import FloatArray
from eapu_hil.twin.kernels.wires import divider, inner_block, mirror, split_inverse

DOUBLE_UP_TO = 128  # columns
_SMALL = 128  # side of a matrix that LAPACK inverts faster than products of its halves do


def _cost(side: int) -> float:
    """Operations of `_inverted`."""
    own: float = 1.0 * side * side * side
    return own if side <= _SMALL else 2.0 * _cost((side + 1) // 2) + own


class Elimination:
    """Finds T for conductances `g_S` (m, n), S, with segments of `row_ohm` and `col_ohm`.

    transfer_S: T (m, n), once `done` is 1. Raises ValueError if the wires let nothing through.
    """

    def __init__(self, g_S: FloatArray, row_ohm: float, col_ohm: float) -> None:
        """`g_S` is copied: the caller's may change while the elimination is under way."""
        # Blocks are as large as the number of columns. Turning the array by reciprocity (columns become rows, driven
        # where they are sensed) makes that the smaller of the two numbers.
        self._turned = g_S.shape[0] < g_S.shape[1]
        if self._turned:
            g_S, row_ohm, col_ohm = g_S[::-1, ::-1].T, col_ohm, row_ohm
        m, n = g_S.shape
        self._operations, self._made = m * _cost(n) + m * (m + 1) * n**2, 0.0
        self._carried_S = np.empty((m, n))
        self._pieces = self._eliminate(np.array(g_S, order="C"), row_ohm, col_ohm)
        self.done = 0.0

    @property
    def transfer_S(self) -> FloatArray:
        result = self._carried_S
        return np.ascontiguousarray(result[::-1, ::-1].T) if self._turned else result

    @property
    def operations(self) -> float:
        """Of the whole, floating point."""
        return float(self._operations)

    def advance(self, share: float = 1.0) -> None:
        """Goes on until `share` of the operations are made, at least by one piece."""
        while self.done < 1.0:
            operations = next(self._pieces, None)
            if operations is None:
                self.done = 1.0
                return
            self._made += operations
            self.done = min(self._made / self._operations, 1.0 - 1e-9)
            if self.done >= share:
                return

    def _eliminate(self, g_S: FloatArray, row_ohm: float, col_ohm: float) -> Iterator[float]:
        m, n = g_S.shape
        dtype = np.float64 if n <= DOUBLE_UP_TO else np.float32
        voltage, ohm = divider(np.ascontiguousarray(row_ohm * g_S.T))
        loaded = 1.0 / (1.0 + row_ohm * g_S * ohm.T)
        fall = voltage.T * loaded
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            rise = ohm.T * loaded / fall
        if not np.isfinite(rise).all():
            raise ValueError("the row wires attenuate by more than a double holds: line resistance too large")
        source_S = g_S * fall
        del voltage, ohm, loaded, fall  # an elimination may be under way for long
        block, scaled = np.zeros((n, n), dtype), np.zeros((n, n), dtype)
        diagonal = np.zeros(n)  # of the inverse; `block` holds the rest of it
        for i in range(m):
            up = row_ohm * col_ohm * g_S[i] * rise[i]
            kept = col_ohm * g_S[i] + (2.0 if i else 1.0) - up * source_S[i] - diagonal  # open above row 0
            if not kept.min() > 0.0:
                raise ValueError(
                    "the conductances and the line resistance are too far apart for this circuit"
                )
            root = 1.0 / np.sqrt(kept)
            inner_block(block, up, source_S[i], root, scaled)
            yield 0.0
            inverse = scaled.copy()
            yield from _inverted(inverse)
            split_inverse(scaled, inverse, root, block, diagonal)
            self._carried_S[i] = source_S[i]
            step = max(_SMALL**3 // n**2, 64) * 2
            for start in range(0, i + 1, step):
                part = self._carried_S[start : min(start + step, i + 1)]
                through = np.matmul(part.astype(dtype), block)
                part *= diagonal
                part += through
                yield 2.0 * part.shape[0] * n**2


def _inverted(matrix: FloatArray) -> Iterator[float]:
    """Replaces a positive definite matrix, symmetric and given by its upper triangle, by its whole inverse."""
    from scipy.linalg import lapack  # takes its time; who only reads and writes needs no circuit

    side = len(matrix)
    if side <= _SMALL:
        double = matrix.dtype == np.float64
        potrf, potri = (lapack.dpotrf, lapack.dpotri) if double else (lapack.spotrf, lapack.spotri)
        lower, info = potrf(matrix.T, lower=1, clean=0)
        if info != 0:
            raise ValueError("the conductances and the line resistance are too far apart for this circuit")
        lower, _ = potri(lower, lower=1, overwrite_c=1)
        mirror(lower.T, matrix)
        yield float(side**3)
        return
    half = (side + 1) // 2
    first, across, last = matrix[:half, :half], matrix[:half, half:], matrix[half:, half:]
    yield from _inverted(first)
    through = first @ across
    last -= across.T @ through
    yield side**3 / 2
    yield from _inverted(last)
    np.matmul(through, last, out=across)
    first += across @ through.T
    across *= -1.0
    matrix[half:, :half] = across.T
    yield side**3 / 2
