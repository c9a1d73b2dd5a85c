"""The exact linear circuit of a crossbar with resistive lines.

Row i is driven at its left end, one wire segment before the cell of column 0, and ends open after the last
column. Column j starts open above row 0 and is held at 0 V (a virtual ground) one segment below the last
row, where its current is measured. A cell of conductance g connects the two nodes of its crossing. Such a
circuit is linear, so the currents are `v_row_v @ T` with a transfer matrix T in S, and by reciprocity
`v_col_v @ T.T` when the columns are driven and the rows are the virtual grounds.

How T is found: with the columns' voltages given, each row wire and its cells form a tridiagonal system,
whose inverse is semiseparable and thus written down without a factorisation. What remains is a block
tridiagonal system of the column nodes, one block a row. Block elimination from the top gives one inverse
a row, S_i = A_i - S_(i-1)^-1, and T needs only the last block row of the inverse.

When few cells changed since then, T is corrected exactly: a changed cell is a dipole between its two nodes,
and K of them are a system of K equations (Woodbury's identity).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from eapu_hil.hal import FloatArray, IntArray

# Limits of the low-rank way, in units of the shorter side of the array. Beyond them a fresh factorisation
# with its attenuation is about as fast (benchmarks/circuit.py prints the times).
NEW_CELLS_PER_LINE = 1.5
CHANGED_CELLS_PER_LINE = 4.0


def _wire_solve(x: FloatArray, ends: tuple[int, ...]) -> FloatArray:
    """Node voltages of row wires in units of one segment, each for currents put in at its nodes `ends`.

    x: (k, n), conductance of each node to ground times the resistance of a segment.
    Returns (len(ends), k, n). The k wires are solved as one tridiagonal system.
    """
    from scipy.linalg.lapack import dptsv  # takes a third of a second to import, and only products need it

    k, n = x.shape
    diagonal = x + 2.0
    diagonal[:, -1] -= 1.0  # the far end is open
    coupling = np.full((k, n), -1.0)
    coupling[:, -1] = 0.0
    rhs = np.zeros((len(ends), k, n))
    for one, end in zip(rhs, ends, strict=True):
        one[:, end] = 1.0
    off_diagonal = coupling.ravel()[
        : max(k * n - 1, 1)
    ]  # LAPACK's wrapper wants one element even for one node
    _, _, solution, info = dptsv(diagonal.ravel(), off_diagonal, rhs.reshape(len(ends), -1).T)
    if info != 0:
        raise ValueError("the conductances and the line resistance are too far apart for this circuit")
    return np.ascontiguousarray(solution.T).reshape(rhs.shape)


def _along_rows(x: FloatArray) -> FloatArray:
    """Node voltages of row wires for 1 V at their driven ends, (k, n).

    x: (k, n), conductance of each node to ground times the resistance of a segment.

    Seen from the open far end, the voltage v at a node and the current a through the segment before it, in units of one
    segment, follow from those of the node behind it: a += x v, then v += a. A sum of positive numbers is exact to
    rounding. About sqrt(n) blocks of nodes do this side by side, each for (v, a) = (1, 0) and (0, 1) where it begins;
    the ratio a / v then goes from block to block.
    """
    k, n = x.shape
    size = math.isqrt(n - 1) + 1
    blocks = -(-n // size)
    filled = blocks * size - n  # nodes beyond the far end, which conduct nothing and change nothing
    nodes = np.zeros((k, blocks * size))
    nodes[:, filled:] = x[:, ::-1]
    shunts = np.ascontiguousarray(nodes.reshape(k, blocks, size).T)
    state = np.zeros((2, 2, blocks, k))  # v and a, for both beginnings
    v, a = state
    v[0] = a[1] = 1.0
    seen = np.empty((size, 2, blocks, k))
    for shunt, at_node in zip(shunts, seen, strict=True):
        at_node[:] = v
        a += shunt * v
        v += a
    begins = np.zeros((blocks, k))  # a / v
    gains = np.empty((blocks, k))  # v at the end of a block for v = 1 at its beginning
    for block in range(blocks):
        v_end, a_end = state[:, 0, block] + state[:, 1, block] * begins[block]
        gains[block] = v_end
        if block + 1 < blocks:
            np.divide(a_end, v_end, out=begins[block + 1])
    within = seen[:, 0] + seen[:, 1] * begins
    within /= gains[::-1].cumprod(axis=0)[::-1]
    result: FloatArray = within.T.reshape(k, -1)[:, filled:][:, ::-1]
    return result


def row_read(
    g_rows_S: FloatArray, row_index: IntArray, row_ohm: float, col_ohm: float, shape: tuple[int, int]
) -> FloatArray:
    """Current per volt of whole rows read one at a time, as a verify read does it.

    Only the gates of the selected row are on, so that all other cells are off; its line is driven and every
    column is a virtual ground.

    g_rows_S: (k, n), conductances of the cells of k rows, S.
    row_index: (k,), which row of an array of `shape` (rows, columns) each of them is.
    Returns the measured conductances, (k, n), S.
    """
    to_ground_ohm = col_ohm * (shape[0] - row_index)
    g_path_S: FloatArray = g_rows_S / (1.0 + g_rows_S * to_ground_ohm[:, np.newaxis])
    if row_ohm > 0.0 and len(g_path_S) > 0:
        g_path_S *= _along_rows(row_ohm * g_path_S)
    return g_path_S


@dataclass(frozen=True, eq=False)
class _Factors:
    """The factorised circuit of conductances `g_S`, with no more columns than rows.

    The inverse of row i's wire with its cells is row_ohm * minimum(outer(rise, fall), its transpose), where
    `fall` is also the voltage along the row for 1 V at its end while all columns are at 0 V.

    g_S, rise, fall: (m, n). inverse: (m, n, n), S_i^-1. to_end: (m, n, n), currents out of the columns for
    currents into the column nodes of row i. transfer_S: (m, n), S.
    """

    g_S: FloatArray
    row_ohm: float
    col_ohm: float
    rise: FloatArray
    fall: FloatArray
    inverse: FloatArray
    to_end: FloatArray
    transfer_S: FloatArray

    @classmethod
    def of(cls, g_S: FloatArray, row_ohm: float, col_ohm: float) -> _Factors:
        m, n = g_S.shape
        fall, last = _wire_solve(row_ohm * g_S, (0, n - 1))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            rise = last / fall[:, -1:]
        if not np.isfinite(rise).all():
            raise ValueError("the row wires attenuate by more than a double holds: line resistance too large")
        source_S = g_S * fall
        # _invert looks at the triangle j <= k only, where the wire's inverse is rise[j] * fall[k].
        blocks = (-row_ohm * col_ohm * g_S * rise)[:, :, np.newaxis] * source_S[:, np.newaxis, :]
        diagonal = np.einsum("ijj->ij", blocks)
        diagonal += col_ohm * g_S + 2.0
        diagonal[0] -= 1.0  # the columns are open above row 0
        _invert(blocks[0])
        for i in range(1, m):
            blocks[i] -= blocks[i - 1]
            _invert(blocks[i])
        to_end = np.empty_like(blocks)
        to_end[m - 1] = blocks[m - 1]
        for i in range(m - 2, -1, -1):
            np.matmul(to_end[i + 1], blocks[i], out=to_end[i])
        transfer_S = np.matmul(to_end, source_S[:, :, np.newaxis])[:, :, 0]
        return cls(g_S, row_ohm, col_ohm, rise, fall, blocks, to_end, transfer_S)

    def attenuation(self) -> FloatArray:
        """dT_ij / dg_ij, (m, n): the cell's voltage for 1 V at its row times that for 1 V at its column."""
        m, n = self.g_S.shape
        source_S = self.g_S * self.fall
        green = np.zeros((n, n))  # diagonal block of the inverse of the whole system
        half = np.empty_like(green)
        column_v = np.empty((m, n))  # of row i's nodes, for 1 V at row i
        for i in range(m - 1, -1, -1):
            np.matmul(self.inverse[i], green, out=half)
            np.matmul(half, self.inverse[i], out=green)
            green += self.inverse[i]
            np.matmul(green, self.col_ohm * source_S[i], out=column_v[i])
        # products with the inverse of the row wires, as sums left and right of each cell
        left = np.cumsum(self.rise * self.g_S * column_v, axis=1)
        right = np.cumsum((source_S * column_v)[:, ::-1], axis=1)[:, ::-1] - source_S * column_v
        from_row = self.fall - column_v + self.row_ohm * (self.fall * left + self.rise * right)
        up_to, beyond = np.tri(n), 1.0 - np.tri(n)
        left = np.einsum("ijl,il->ij", self.to_end * up_to, self.rise * self.g_S)
        right = np.einsum("ijl,il->ij", self.to_end * beyond, source_S)
        from_col = np.einsum("ijj->ij", self.to_end) - self.row_ohm * (self.fall * left + self.rise * right)
        result: FloatArray = from_row * from_col
        return result


def _invert(block: FloatArray) -> None:
    """Replaces a symmetric positive definite matrix, given by its upper triangle, by its inverse."""
    from scipy.linalg.lapack import dpotrf, dtrtri

    lower, info = dpotrf(block.T, lower=1, clean=1)
    if info != 0:
        raise ValueError("the conductances and the line resistance are too far apart for this circuit")
    lower, _ = dtrtri(lower, lower=1, overwrite_c=1)
    np.matmul(lower.T, lower, out=block)


@dataclass(frozen=True, eq=False)
class _Dipoles:
    """Cells of which the response of the factorised circuit to a unit dipole current is known.

    row, col: (k,). column_current: (k, n), what the dipole puts into the column nodes of its own row.
    to_cells: (m, k), voltage over each cell for 1 V at a row. to_columns: (k, n), column currents for 1 A.
    mutual_ohm: (k, k), voltage over each cell for 1 A in another.
    """

    row: IntArray
    col: IntArray
    column_current: FloatArray
    to_cells: FloatArray
    to_columns: FloatArray
    mutual_ohm: FloatArray

    @classmethod
    def none(cls, shape: tuple[int, int]) -> _Dipoles:
        m, n = shape
        index = np.empty(0, dtype=np.int64)
        return cls(index, index, np.empty((0, n)), np.empty((m, 0)), np.empty((0, n)), np.empty((0, 0)))

    def extended(self, factors: _Factors, row: IntArray, col: IntArray) -> _Dipoles:
        """These and the new cells (row, col), which come sorted by row."""
        new = np.arange(len(row))
        wire = _wire_columns(factors, row, col)
        current = factors.g_S[row] * wire
        current[new, col] -= 1.0
        response = _column_response(factors, row, current)
        source_S = (factors.g_S * factors.fall)[:, :, np.newaxis]
        to_cells = factors.col_ohm * np.matmul(response, source_S)[:, :, 0]
        to_cells[row, new] += factors.fall[row, col]
        all_row, all_col = np.concatenate([self.row, row]), np.concatenate([self.col, col])
        all_current = np.concatenate([self.column_current, current])
        cross = np.empty((len(all_row), len(row)))  # voltage over all cells for the new dipoles
        for one, its_row in enumerate(all_row):  # at once, it would copy a response for each cell
            np.matmul(response[its_row], factors.col_ohm * all_current[one], out=cross[one])
        cross += np.where(all_row[:, np.newaxis] == row, wire[:, all_col].T, 0.0)
        old = len(self.row)
        mutual = np.empty((old + len(row), old + len(row)))
        mutual[:old, :old] = self.mutual_ohm
        mutual[:, old:] = cross
        mutual[old:, :old] = cross[:old].T
        return _Dipoles(
            row=all_row,
            col=all_col,
            column_current=all_current,
            to_cells=np.concatenate([self.to_cells, to_cells], axis=1),
            to_columns=np.concatenate([self.to_columns, response[-1]]),
            mutual_ohm=mutual,
        )

    def corrected(self, factors: _Factors, g_S: FloatArray) -> FloatArray:
        """T of `g_S`, which differs from the factorised conductances in these cells only."""
        change = (g_S - factors.g_S)[self.row, self.col][:, np.newaxis]
        system = change * self.mutual_ohm
        np.einsum("kk->k", system)[:] += 1.0
        return factors.transfer_S - self.to_cells @ np.linalg.solve(system, change * self.to_columns)


def _wire_columns(factors: _Factors, row: IntArray, col: IntArray) -> FloatArray:
    """(k, n): voltages of row `row[k]`'s nodes for 1 A into its node `col[k]`, columns at 0 V."""
    rise, fall = factors.rise[row], factors.fall[row]
    at = np.arange(len(row))
    product = np.minimum(rise * fall[at, col][:, np.newaxis], fall * rise[at, col][:, np.newaxis])
    return factors.row_ohm * product


def _column_response(factors: _Factors, row: IntArray, current: FloatArray) -> FloatArray:
    """Forward and back substitution for currents (k, n) into the column nodes of rows `row`, ascending.

    Returns the voltages of all column nodes / col_ohm, (m, k, n).
    """
    m, n = factors.g_S.shape
    response = np.zeros((m, len(row), n))
    response[row, np.arange(len(row))] = current
    active = np.searchsorted(row, np.arange(m), side="right")  # cells in this row and above
    for i in range(int(row[0]), m):
        k = active[i]
        below = response[i, :k] @ factors.inverse[i]
        response[i, :k] = below
        if i + 1 < m:
            response[i + 1, :k] += below
    for i in range(m - 2, -1, -1):
        response[i] += response[i + 1] @ factors.inverse[i]
    return response


class LineNetwork:
    """Transfer matrix of one array, kept up to date at the price of what changed.

    shape: rows, columns. row_ohm, col_ohm: resistance of one wire segment of a row and of a column, ohm;
    0 means an ideal wire.
    """

    def __init__(self, shape: tuple[int, int], row_ohm: float, col_ohm: float) -> None:
        if min(shape) < 1 or not (0.0 <= row_ohm < np.inf and 0.0 <= col_ohm < np.inf):
            raise ValueError(f"no circuit of shape {shape} with segments of {row_ohm} and {col_ohm} ohm")
        self.shape = shape
        # Blocks are as large as the number of columns. Turning the array by reciprocity (columns become
        # rows, driven where they are sensed) makes that the smaller of the two numbers.
        self._turned = shape[0] < shape[1]
        self._segments_ohm = (col_ohm, row_ohm) if self._turned else (row_ohm, col_ohm)
        self._ideal = row_ohm == 0.0 and col_ohm == 0.0
        self._factors: _Factors | None = None
        self._dipoles = _Dipoles.none((1, 1))
        self._tracked = np.zeros(0, dtype=np.bool_)
        self._last: tuple[FloatArray, FloatArray] | None = None  # conductances and their T
        self._attenuation: FloatArray | None = None

    def transfer(self, g_S: FloatArray) -> FloatArray:
        """T (m, n) in S for conductances `g_S` (m, n) in S: column currents = row voltages @ T.

        Without line resistance T is `g_S` itself. The result is read-only. Rounding errors are some 1e-13 of
        the largest conductance since the last factorisation, so an open cell's current need not be quite 0.
        Raises ValueError if `g_S` has another shape, or holds a negative or non-finite value.
        """
        g_S = np.asarray(g_S, dtype=np.float64)
        if self._last is not None and np.array_equal(g_S, self._last[0]):
            return self._last[1]
        if g_S.shape != self.shape:
            raise ValueError(f"conductances of shape {g_S.shape}; the array has {self.shape}")
        if not (np.min(g_S) >= 0.0 and np.max(g_S) < np.inf):
            raise ValueError("conductances must be finite and not negative")
        g_S = g_S.copy()
        transfer_S = g_S if self._ideal else self._turn(self._solve(self._turn(g_S)))
        transfer_S.flags.writeable = False
        self._last = (g_S, transfer_S)
        return transfer_S

    def attenuation(self, g_S: FloatArray) -> FloatArray:
        """dT_ij / dg_ij, (m, n), no unit: how much of a small change of a cell arrives at its column.

        Exact for the conductances of the last factorisation, and kept until the next: it lags behind
        changes small enough to be handled by `transfer` as corrections of low rank (in at most
        `CHANGED_CELLS_PER_LINE` cells per line). 1 without line resistance. The result is read-only.
        """
        self.transfer(g_S)
        if self._attenuation is None:
            factors = self._factors
            value = np.ones(self.shape) if factors is None else self._turn(factors.attenuation())
            value.flags.writeable = False
            self._attenuation = value
        return self._attenuation

    def _turn(self, matrix: FloatArray) -> FloatArray:
        return np.ascontiguousarray(matrix[::-1, ::-1].T) if self._turned else matrix

    def _solve(self, g_S: FloatArray) -> FloatArray:
        if self._factors is not None:
            changed = g_S != self._factors.g_S
            row, col = np.nonzero(changed & ~self._tracked)
            lines = g_S.shape[1]
            few = len(row) <= NEW_CELLS_PER_LINE * lines
            if few and len(row) + len(self._dipoles.row) <= CHANGED_CELLS_PER_LINE * lines:
                if len(row):
                    self._dipoles = self._dipoles.extended(self._factors, row, col)
                    self._tracked[row, col] = True
                return self._dipoles.corrected(self._factors, g_S)
        self._factors = _Factors.of(g_S, *self._segments_ohm)
        self._dipoles = _Dipoles.none(g_S.shape)
        self._tracked = np.zeros(g_S.shape, dtype=np.bool_)
        self._attenuation = None
        return self._factors.transfer_S.copy()
