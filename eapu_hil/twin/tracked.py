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
from eapu_hil.twin.kernels.tracking import STRIDE, Lines, Single, move, transfer_now
from eapu_hil.twin.kernels.wires import divider


class TrackedTransfer:
    """Closed form around the exact transfer matrix of the conductances `g_S` it starts from, (m, n), S."""

    def __init__(self, g_S: FloatArray, row_ohm: float, col_ohm: float) -> None:
        m, n = g_S.shape
        g_S = np.array(g_S, dtype=np.float64, order="C")
        # Resistances with the other ends of all cells at 0 V; they hardly change and stay what they are here.
        seen_row_ohm = row_ohm * divider(_by_row(row_ohm * g_S))[1].T
        seen_col_ohm = col_ohm * divider(_by_column(col_ohm * g_S))[1][::-1]
        row_v = divider(_by_row(row_ohm * g_S / (1.0 + g_S * seen_col_ohm)))[0].T
        col_v = divider(_by_column(col_ohm * g_S / (1.0 + g_S * seen_row_ohm)))[0][::-1]
        whole_ohm = seen_row_ohm + seen_col_ohm
        carried_S = g_S * row_v * col_v / (1.0 + g_S * whole_ohm)
        self._drift = 0.0
        self._loss = float((g_S * whole_ohm).max())
        to_row, to_col = np.arange(1.0, n + 1.0), np.arange(m, 0.0, -1.0)
        sums = np.concatenate([carried_S @ to_row, to_col @ carried_S, [to_col @ g_S @ to_row]])
        self._lines = Lines(
            g_S, row_ohm, col_ohm, _single(seen_row_ohm), _single(seen_col_ohm), _single(row_v), _single(col_v),
            _single(row_v[:, (n - 1) % STRIDE :: STRIDE]), _single(col_v[::STRIDE]),
            np.zeros((m, n)), sums, sums.copy(), np.zeros(m + n),
        )  # fmt: skip

    @property
    def g_S(self) -> FloatArray:
        """Conductances as they are now, (m, n): not a copy, and not to be written to."""
        return self._lines.g_S

    @property
    def drift(self) -> float:
        """Largest change of a node's voltage since the start, over its value then."""
        return self._drift

    def anchor(self, transfer_S: FloatArray) -> None:
        """Takes T of the conductances of the start, (m, n), S, before any of them has moved."""
        self._lines.leak_S[...] = transfer_S - self.matrices()[0]

    def error_of_drift(self) -> float:
        """What the closed form may miss, rms of a column over rms of the column, over the drift: a first guess.

        It grows with the part of a cell's voltage that its lines take for its own current, and with the part of a
        column that leaks; from 16 x 8 to 256 x 256 cells and from 0.35 to 200 ohm it was no larger.
        """
        leak_S2 = np.square(self._lines.leak_S).sum(axis=0)
        carried_S = self.matrices()[0] - self._lines.leak_S
        carried_S2 = np.maximum(np.square(carried_S).sum(axis=0), np.finfo(np.float64).tiny)
        leaks = float(np.sqrt((leak_S2 / carried_S2).max()))
        return max(self._loss, 0.12 * float(np.sqrt(leaks)))

    def move(self, index: IntArray, g_S: FloatArray) -> None:
        """Cells `index` (k,), flat and unique, get the conductances `g_S` (k,), S."""
        self._drift = move(self._lines, index, g_S)

    def matrices(self) -> tuple[FloatArray, Single]:
        """T as it is now, S, and its derivative to each cell, both (m, n)."""
        transfer_S, attenuation = np.empty(self.g_S.shape), np.empty(self.g_S.shape, np.float32)
        transfer_now(self._lines, transfer_S, attenuation)
        return transfer_S, attenuation


def _single(value: FloatArray) -> Single:
    return np.array(value, dtype=np.float32, order="C")


def _by_row(value: FloatArray) -> FloatArray:
    return np.ascontiguousarray(value.T)


def _by_column(value: FloatArray) -> FloatArray:
    """From the columns' held ends below the last row upwards."""
    return np.ascontiguousarray(value[::-1])
