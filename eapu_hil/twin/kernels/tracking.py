"""What changed cells change in the closed form of a crossbar's wires (`eapu_hil.twin.tracked`)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import FloatArray, IntArray
from eapu_hil.twin.kernels.compiling import compiled
from eapu_hil.twin.kernels.wires import divider

Single = NDArray[np.float32]


class Lines(NamedTuple):
    """The closed form. All are (rows, columns), but for sums (rows + columns + 1,) and drifts (rows + columns,).

    g_S: conductances. row_v, col_v: voltage of each cell's node for 1 V at the end of its row and of its column;
    row_v0, col_v0: as they were at the start. seen_row_ohm, seen_col_ohm: resistance of the two lines seen from it.
    carried_S: what it carries. leak_S: what the exact matrix had besides at the start. sums, sums0: of the rows, of the
    columns and of the whole, now and at the start. drifts: of each row and column.
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
    carried_S: FloatArray
    leak_S: Single
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
            drift = max(drift, abs(voltage[j, at] / lines.row_v0[i, j] - 1.0))
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
            lines.drifts[m + j] = max(lines.drifts[m + j], abs(now / lines.col_v0[i, j] - 1.0))


@compiled
def move(lines: Lines, index: IntArray, new_S: FloatArray) -> None:
    """Cells `index`, flat and unique, get the conductances `new_S`. Lines without a changed cell stay as they are."""
    m, n = lines.g_S.shape
    in_row, in_col = np.zeros(m, np.bool_), np.zeros(n, np.bool_)
    for at in range(len(index)):
        i, j = index[at] // n, index[at] % n
        lines.sums[m + n] += (m - i) * (j + 1.0) * (new_S[at] - lines.g_S[i, j])
        lines.g_S[i, j] = new_S[at]
        in_row[i] = True
        in_col[j] = True
    rows, cols = np.flatnonzero(in_row), np.flatnonzero(in_col)
    _move_rows(lines, rows)
    _move_columns(lines, cols)
    every = np.arange(n)
    for i in range(m):
        for j in every if in_row[i] else cols:
            one = lines.g_S[i, j]
            both = float(lines.row_v[i, j]) * lines.col_v[i, j]
            now = one * both / (1.0 + one * (float(lines.seen_row_ohm[i, j]) + lines.seen_col_ohm[i, j]))
            change = now - lines.carried_S[i, j]
            lines.carried_S[i, j] = now
            lines.sums[i] += change * (j + 1.0)
            lines.sums[m + j] += change * (m - i)


@compiled
def transfer_now(lines: Lines, transfer_S: FloatArray, attenuation: Single) -> None:
    """Puts T as it is now, S, and its derivative to each cell into arrays (rows, columns)."""
    m, n = lines.g_S.shape
    ratio = np.ones(m + n + 1)
    for line in range(m + n + 1):
        if lines.sums0[line] > 0.0:  # a line of open cells leaks nothing
            ratio[line] = lines.sums[line] / lines.sums0[line]
    for i in range(m):
        row = ratio[i] * ratio[m + n]
        for j in range(n):
            transfer_S[i, j] = lines.carried_S[i, j] + lines.leak_S[i, j] * row * ratio[m + j]
            opened = 1.0 / (1.0 + lines.g_S[i, j] * (lines.seen_row_ohm[i, j] + lines.seen_col_ohm[i, j]))
            attenuation[i, j] = lines.row_v[i, j] * lines.col_v[i, j] * opened * opened
