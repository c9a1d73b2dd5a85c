"""Offset of the reads: the current that the converter of a column adds to every reading.

It keeps its sign when the voltage is reversed, the current of a cell does not: half the difference of the readings of a
cell at both polarities is that of the offset alone.
"""

from __future__ import annotations

import numpy as np

from eapu_calibration.statistics import NORMAL_SDS, Estimate
from eapu_hil.hal import Cells, CellStatus, Crossbar

READS = 4  # of every cell at each polarity


def measure_read_offset(array: Crossbar, v_read_v: float) -> Estimate:
    """Offset current of each column, A, shape (columns,), from reads at +-`v_read_v`; no cell is changed.

    0 for a column in which no cell can be read.
    """
    cells = Cells.all(array.shape)
    found = []
    for _ in range(READS):
        forth, back = array.read(cells, v_read_v), array.read(cells, -v_read_v)
        good = (forth.status == CellStatus.OK) & (back.status == CellStatus.OK)
        found.append(np.where(good, (forth.g_S - back.g_S) * v_read_v / 2, np.nan).reshape(array.shape))
    sample_a = np.vstack(found)
    good = np.isfinite(sample_a)
    count = np.maximum(good.sum(axis=0), 1)
    mean_a = np.where(good, sample_a, 0.0).sum(axis=0) / count
    variance = np.where(good, np.square(sample_a - mean_a), 0.0).sum(axis=0) / np.maximum(count - 1, 1)
    reach_a = NORMAL_SDS * np.sqrt(variance / count)
    return Estimate(mean_a, mean_a - reach_a, mean_a + reach_a)
