"""The transfer matrix of a crossbar between two eliminations, by a closed form that costs what changed.

Each line is a voltage divider that can be written down: p is the voltage of a row's node for 1 V at the row's end, q
that of a column's node for 1 V at the column's end, each without the cell itself, and R the resistance of both lines
seen from the cell. What a cell carries is then g p q / (1 + g R), and the share of a small change of it that arrives
is A = p q / (1 + g R)^2. This is exact for a cell alone, and for wires on one side only.

What it leaves out is a leak: the currents of a row lift all columns a little, these lift the other rows, and so their
cells carry less. The leak is the difference to the exact matrix of an elimination. It is the sum of very many small
contributions g_kl g_kj g_ij, so that after a change it is taken in proportion to the sums over the row, over the
column and over the array, each weighted by the resistance to the cell.
"""

from __future__ import annotations

import numpy as np

from eapu_hil.hal import FloatArray, IntArray
from eapu_hil.twin.wires import compiled, divider


class TrackedTransfer:
    """Closed form around the exact transfer matrix of the conductances `g_S` it starts from, (m, n), S.

    share: A, (m, n). drift: largest change of a node's voltage since the start, over its value then.
    """

    def __init__(self, g_S: FloatArray, row_ohm: float, col_ohm: float) -> None:
        m, n = g_S.shape
        self.g_S = np.ascontiguousarray(g_S, dtype=np.float64).copy()
        self._row_ohm, self._col_ohm = row_ohm, col_ohm
        # Resistances with the other ends of all cells at 0 V; they hardly change and stay what they are here.
        self._seen_row_ohm = row_ohm * np.ascontiguousarray(divider(_by_row(row_ohm * self.g_S))[1].T)
        self._seen_col_ohm = col_ohm * _by_column(divider(_by_column(col_ohm * self.g_S))[1])
        row_load = row_ohm * self.g_S / (1.0 + self.g_S * self._seen_col_ohm)
        col_load = col_ohm * self.g_S / (1.0 + self.g_S * self._seen_row_ohm)
        self._row_v = np.ascontiguousarray(divider(_by_row(row_load))[0].T)
        self._col_v = _by_column(divider(_by_column(col_load))[0])
        self._row_v0, self._col_v0 = self._row_v.copy(), self._col_v.copy()
        both = self._row_v * self._col_v
        opened = 1.0 / (1.0 + self.g_S * (self._seen_row_ohm + self._seen_col_ohm))
        self._carried_S = self.g_S * both * opened
        self.share = both * np.square(opened)
        to_row, to_col = np.arange(1.0, n + 1.0), np.arange(m, 0.0, -1.0)
        self._sums = np.concatenate(
            [self._carried_S @ to_row, to_col @ self._carried_S, [to_col @ self.g_S @ to_row]]
        )
        self._sums0 = self._sums.copy()
        self._drifts = np.zeros(m + n)
        self._leak_S = np.zeros((m, n))

    @property
    def drift(self) -> float:
        return float(self._drifts.max())

    def anchor(self, transfer_S: FloatArray) -> None:
        """Takes T of the conductances of the start, (m, n), S."""
        self._leak_S = transfer_S - self._carried_S

    def move(self, index: IntArray, g_S: FloatArray) -> None:
        """Cells `index` (k,), flat and unique, get the conductances `g_S` (k,), S."""
        _move(
            self.g_S, index, g_S, self._row_ohm, self._col_ohm, self._seen_row_ohm, self._seen_col_ohm,
            self._row_v, self._col_v, self._row_v0, self._col_v0, self._carried_S, self.share,
            self._sums, self._drifts,
        )  # fmt: skip

    def write(self, transfer_S: FloatArray) -> None:
        """Puts T as it is now, S, into an array (m, n)."""
        _write(self._carried_S, self._leak_S, self._sums, self._sums0, transfer_S)


def _by_row(value: FloatArray) -> FloatArray:
    return np.ascontiguousarray(value.T)


def _by_column(value: FloatArray) -> FloatArray:
    """From the columns' held ends below the last row upwards, and back."""
    return np.ascontiguousarray(value[::-1])


@compiled
def _move_rows(
    g_S: FloatArray, rows: IntArray, row_ohm: float, seen_col_ohm: FloatArray,
    row_v: FloatArray, row_v0: FloatArray, drifts: FloatArray,
) -> None:  # fmt: skip
    """Voltages of the rows `rows`, and their drifts."""
    n = g_S.shape[1]
    load = np.empty((n, len(rows)))
    for at in range(len(rows)):
        i = rows[at]
        for j in range(n):
            load[j, at] = row_ohm * g_S[i, j] / (1.0 + g_S[i, j] * seen_col_ohm[i, j])
    voltage, _ = divider(load)
    for at in range(len(rows)):
        i = rows[at]
        drift = 0.0
        for j in range(n):
            row_v[i, j] = voltage[j, at]
            drift = max(drift, abs(voltage[j, at] / row_v0[i, j] - 1.0))
        drifts[i] = drift


@compiled
def _move_columns(
    g_S: FloatArray, cols: IntArray, col_ohm: float, seen_row_ohm: FloatArray,
    col_v: FloatArray, col_v0: FloatArray, drifts: FloatArray,
) -> None:  # fmt: skip
    """Voltages of the columns `cols`, and their drifts."""
    m = g_S.shape[0]
    load = np.empty((m, len(cols)))
    for i in range(m):
        for at in range(len(cols)):
            one = g_S[i, cols[at]]
            load[m - 1 - i, at] = col_ohm * one / (1.0 + one * seen_row_ohm[i, cols[at]])
    voltage, _ = divider(load)
    for j in cols:
        drifts[m + j] = 0.0
    for i in range(m):
        for at in range(len(cols)):
            j = cols[at]
            col_v[i, j] = voltage[m - 1 - i, at]
            drifts[m + j] = max(drifts[m + j], abs(col_v[i, j] / col_v0[i, j] - 1.0))


@compiled
def _move(
    g_S: FloatArray, index: IntArray, new_S: FloatArray, row_ohm: float, col_ohm: float,
    seen_row_ohm: FloatArray, seen_col_ohm: FloatArray, row_v: FloatArray, col_v: FloatArray,
    row_v0: FloatArray, col_v0: FloatArray, carried_S: FloatArray, share: FloatArray,
    sums: FloatArray, drifts: FloatArray,
) -> None:  # fmt: skip
    """See `TrackedTransfer.move`. Lines without a changed cell stay as they are."""
    m, n = g_S.shape
    in_row, in_col = np.zeros(m, np.bool_), np.zeros(n, np.bool_)
    for at in range(len(index)):
        i, j = index[at] // n, index[at] % n
        sums[m + n] += (m - i) * (j + 1.0) * (new_S[at] - g_S[i, j])
        g_S[i, j] = new_S[at]
        in_row[i] = True
        in_col[j] = True
    rows, cols = np.flatnonzero(in_row), np.flatnonzero(in_col)
    _move_rows(g_S, rows, row_ohm, seen_col_ohm, row_v, row_v0, drifts)
    _move_columns(g_S, cols, col_ohm, seen_row_ohm, col_v, col_v0, drifts)
    every = np.arange(n)
    for i in range(m):
        for j in every if in_row[i] else cols:
            both = row_v[i, j] * col_v[i, j]
            opened = 1.0 / (1.0 + g_S[i, j] * (seen_row_ohm[i, j] + seen_col_ohm[i, j]))
            now = g_S[i, j] * both * opened
            change = now - carried_S[i, j]
            carried_S[i, j] = now
            share[i, j] = both * opened * opened
            sums[i] += change * (j + 1.0)
            sums[m + j] += change * (m - i)


@compiled
def _write(
    carried_S: FloatArray, leak_S: FloatArray, sums: FloatArray, sums0: FloatArray, transfer_S: FloatArray
) -> None:
    """See `TrackedTransfer.write`."""
    m, n = carried_S.shape
    ratio = np.ones(m + n + 1)
    for line in range(m + n + 1):
        if sums0[line] > 0.0:  # a line of open cells leaks nothing
            ratio[line] = sums[line] / sums0[line]
    for i in range(m):
        row = ratio[i] * ratio[m + n]
        for j in range(n):
            transfer_S[i, j] = carried_S[i, j] + leak_S[i, j] * row * ratio[m + j]
