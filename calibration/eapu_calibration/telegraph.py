"""Random telegraph noise of cells that were read many times on end: their two levels, and how long they stay."""

from __future__ import annotations

import numpy as np

from eapu_hil.hal import FloatArray

SWITCHES_MIN = 4  # below, the dwell time is hardly known, and a slow change looks like one jump


def two_levels(g_S: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Lower and upper level of each cell, S, (cells,): the split of its readings with the least scatter around both.

    g_S: (reads, cells). Otsu, IEEE Trans. SMC 9:62 (1979), doi 10.1109/TSMC.1979.4310076.
    """
    ordered = np.sort(g_S, axis=0)
    reads = ordered.shape[0]
    below = np.arange(1, reads)[:, np.newaxis]
    total = ordered.cumsum(axis=0)
    low_S, high_S = total[:-1] / below, (total[-1] - total[:-1]) / (reads - below)
    split = np.argmax(below * (reads - below) * np.square(high_S - low_S), axis=0)
    cell = np.arange(g_S.shape[1])
    return low_S[split, cell], high_S[split, cell]


def switches(g_S: FloatArray, low_S: FloatArray, high_S: FloatArray) -> FloatArray:
    """How often each cell goes from one level to the other, (cells,).

    It has done so when a reading lies within a quarter of their distance of the other level, or beyond: noise around
    the middle does not count.
    """
    quarter_S = (high_S - low_S) / 4
    said = (g_S > high_S - quarter_S).astype(np.int8) - (g_S < low_S + quarter_S).astype(np.int8)
    number = np.arange(g_S.shape[0])[:, np.newaxis]
    last = np.maximum.accumulate(np.where(said != 0, number, 0), axis=0)
    state = np.take_along_axis(said, last, axis=0)
    changed = (state[1:] != state[:-1]) & (state[:-1] != 0)
    return np.asarray(changed.sum(axis=0), dtype=np.float64)
