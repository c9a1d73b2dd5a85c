"""What changed cells change in the closed form of a crossbar's wires (`eapu_hil.twin.tracked`)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.kernels.compiling import compiled, inlined, vectorised
from eapu_hil.hal import FloatArray, IntArray
from eapu_hil.twin.kernels.wires import divider

Single = NDArray[np.float32]
STRIDE = 4  # what a node drifts by, its neighbours do nearly


class Lines(NamedTuple):
    """The closed form. All are (rows, columns), but for sums (rows + columns + 1,) and drifts (rows + columns,).

    g_S: conductances. row_v, col_v: voltage of each cell's node for 1 V at the end of its row and of its column;
    row_v0, col_v0: as they were at the start, of each `STRIDE`-th node back from the open end of its line.
    seen_row_ohm, seen_col_ohm: resistance of the two lines seen from it. leak_S: what the exact matrix had at the start
    besides what the cells carry. sums, sums0: of the rows, of the columns and of the whole, now and at the start.
    drifts: of each row and column.
    """

    g_S: FloatArray
    row_ohm: float
    col_ohm: float
    seen_row_ohm: Single
    seen_col_ohm: Single
    row_v: Single
    col_v: Single
    row_v0: Single
    col_v0: Single
    leak_S: FloatArray
    sums: FloatArray
    sums0: FloatArray
    drifts: FloatArray


@compiled
def _move_rows(lines: Lines, rows: IntArray) -> None:
    """Voltages of the rows `rows`, and their drifts."""
    n = lines.g_S.shape[1]
    load = np.empty((n, len(rows)))
    for at in range(len(rows)):
        i = rows[at]
        for j in range(n):
            one = lines.g_S[i, j]
            load[j, at] = lines.row_ohm * one / (1.0 + one * lines.seen_col_ohm[i, j])
    voltage, _ = divider(load)
    for at in range(len(rows)):
        i = rows[at]
        drift = 0.0
        for j in range(n):
            lines.row_v[i, j] = voltage[j, at]
        for k in range(lines.row_v0.shape[1]):
            drift = max(drift, abs(voltage[(n - 1) % STRIDE + k * STRIDE, at] / lines.row_v0[i, k] - 1.0))
        lines.drifts[i] = drift


@compiled
def _move_columns(lines: Lines, cols: IntArray) -> None:
    """Voltages of the columns `cols`, and their drifts."""
    m = lines.g_S.shape[0]
    load = np.empty((m, len(cols)))
    for i in range(m):
        for at in range(len(cols)):
            one = lines.g_S[i, cols[at]]
            load[m - 1 - i, at] = lines.col_ohm * one / (1.0 + one * lines.seen_row_ohm[i, cols[at]])
    voltage, _ = divider(load)
    for j in cols:
        lines.drifts[m + j] = 0.0
    for i in range(m):
        for at in range(len(cols)):
            j = cols[at]
            now = voltage[m - 1 - i, at]
            lines.col_v[i, j] = now
            if i % STRIDE == 0:
                drift = abs(now / lines.col_v0[i // STRIDE, j] - 1.0)
                lines.drifts[m + j] = max(lines.drifts[m + j], drift)


@inlined
def _opened(lines: Lines, i: int, j: int) -> float:
    """What the resistance of its two lines leaves of the current of a cell."""
    seen_ohm = float(lines.seen_row_ohm[i, j]) + lines.seen_col_ohm[i, j]
    return float(1.0 / (1.0 + lines.g_S[i, j] * seen_ohm))


@compiled
def _add_carried(lines: Lines, in_row: NDArray[np.bool_], cols: IntArray, sign: float) -> None:
    """Adds to the sums, or takes off, what the cells of some rows and columns carry."""
    m, n = lines.g_S.shape
    every = np.arange(n)
    for i in range(m):
        for j in every if in_row[i] else cols:
            both = float(lines.row_v[i, j]) * lines.col_v[i, j]
            carried_S = sign * lines.g_S[i, j] * both * _opened(lines, i, j)
            lines.sums[i] += carried_S * (j + 1.0)
            lines.sums[m + j] += carried_S * (m - i)


@compiled
def changed(known_S: FloatArray, g_S: FloatArray) -> IntArray:
    """Where two vectors differ; NaN differs from all."""
    count = 0
    for k in range(known_S.size):
        count += known_S[k] != g_S[k]
    index = np.empty(count, np.int64)
    at = 0
    for k in range(known_S.size if count else 0):
        if known_S[k] != g_S[k]:
            index[at] = k
            at += 1
    return index


@compiled
def sound(g_S: FloatArray) -> bool:
    """Whether the conductances of a vector are finite and not negative."""
    for k in range(g_S.size):  # noqa: SIM110 - numba compiles no generator
        if not 0.0 <= g_S[k] < np.inf:
            return False
    return True


@compiled
def move(lines: Lines, index: IntArray, new_S: FloatArray) -> float:
    """Cells `index`, flat and unique, get the conductances `new_S`. Lines without a changed cell stay as they are.

    Returns the largest drift.
    """
    m, n = lines.g_S.shape
    in_row, in_col = np.zeros(m, np.bool_), np.zeros(n, np.bool_)
    for at in range(len(index)):
        in_row[index[at] // n] = True
        in_col[index[at] % n] = True
    rows, cols = np.flatnonzero(in_row), np.flatnonzero(in_col)
    _add_carried(lines, in_row, cols, -1.0)
    for at in range(len(index)):
        i, j = index[at] // n, index[at] % n
        lines.sums[m + n] += (m - i) * (j + 1.0) * (new_S[at] - lines.g_S[i, j])
        lines.g_S[i, j] = new_S[at]
    _move_rows(lines, rows)
    _move_columns(lines, cols)
    _add_carried(lines, in_row, cols, 1.0)
    return float(lines.drifts.max())


@vectorised
def _row_now(
    g_S: FloatArray,
    seen_row_ohm: Single,
    seen_col_ohm: Single,
    row_v: Single,
    col_v: Single,
    leak_S: FloatArray,
    leaks: FloatArray,
    transfer_S: FloatArray,
    attenuation: Single,
) -> None:
    """A row of `transfer_now`. leaks: what each of its columns makes of the leak."""
    for j in range(g_S.size):
        opened = 1.0 / (1.0 + g_S[j] * (float(seen_row_ohm[j]) + seen_col_ohm[j]))
        arrives = float(row_v[j]) * col_v[j] * opened
        transfer_S[j] = g_S[j] * arrives + leak_S[j] * leaks[j]
        attenuation[j] = arrives * opened


@compiled
def transfer_now(lines: Lines, transfer_S: FloatArray, attenuation: Single) -> None:
    """Puts T as it is now, S, and its derivative to each cell into arrays (rows, columns)."""
    m, n = lines.g_S.shape
    ratio = np.ones(m + n + 1)
    for line in range(m + n + 1):
        if lines.sums0[line] > 0.0:  # a line of open cells leaks nothing
            ratio[line] = lines.sums[line] / lines.sums0[line]
    for i in range(m):
        _row_now(
            lines.g_S[i],
            lines.seen_row_ohm[i],
            lines.seen_col_ohm[i],
            lines.row_v[i],
            lines.col_v[i],
            lines.leak_S[i],
            ratio[i] * ratio[m + n] * ratio[m : m + n],
            transfer_S[i],
            attenuation[i],
        )
