"""Gains of the lines of a product, from products of known vectors with conductances that were read.

current of measured line j = gain_j * sum over driven i of v_i driven_i (g_ij - read_offset_j) + offset_j, plus noise
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eapu_calibration.statistics import NORMAL_SDS, Estimate, gain_and_offset
from eapu_hil.hal import FloatArray

_ROUNDS = 50
_CLOSE = 1e-9


@dataclass(frozen=True, eq=False)
class LineGainFit:
    """gain, offset (A), read_offset (S): of each measured line. driven: gain of each driven line, mean 1.

    computed_a: products with driven gains and read offsets, without gains and offsets; computed_a, measured_a,
    residual_a: (vectors, measured).
    """

    gain: Estimate
    offset: Estimate
    read_offset: Estimate
    driven: Estimate
    computed_a: FloatArray
    measured_a: FloatArray
    residual_a: FloatArray


def fit_line_gains(
    v_v: FloatArray, g_S: FloatArray, current_a: FloatArray, with_read_offset: bool
) -> LineGainFit:
    """Least squares, by turns for the driven and the measured lines until neither moves.

    v_v: (vectors, driven). g_S: (driven, measured). current_a: (vectors, measured). Every driven line needs some
    conductance. with_read_offset: whether the reads of a measured line share an offset; it is 0 otherwise. Intervals of
    the measured lines are for known driven gains, and the other way round.
    """
    v_0, current_0 = v_v - v_v.mean(axis=0), current_a - current_a.mean(axis=0)
    together = v_0.T @ v_0
    driven, offset_S = np.ones(v_v.shape[1]), np.zeros(g_S.shape[1])
    for _ in range(_ROUNDS):
        computed, total = (v_0 * driven) @ g_S, v_0 @ driven
        gain, offset_S = _gain_and_read_offset(computed, total, current_0, with_read_offset)
        seen_S = (g_S - offset_S) * gain
        normal = together * (seen_S @ seen_S.T)
        found = np.linalg.solve(normal, np.einsum("ki,ij,kj->i", v_0, seen_S, current_0, optimize=True))
        found /= found.mean()
        moved = np.abs(found - driven).max()
        driven = found
        if moved < _CLOSE:
            break
    computed_a = (v_v * driven) @ (g_S - offset_S)
    gain_estimate, offset, residual_a = gain_and_offset(computed_a, current_a)
    variance = np.square(residual_a).sum() / (
        residual_a.size - (2 + with_read_offset) * gain.size - driven.size
    )
    reach = NORMAL_SDS * np.sqrt(variance * np.diag(np.linalg.inv(normal)))
    total = v_0 @ driven
    alone = total[:, None] - computed_a * (total @ computed_a) / np.square(computed_a).sum(axis=0)
    offset_reach = NORMAL_SDS * np.sqrt(variance / np.square(alone).sum(axis=0)) / gain * with_read_offset
    return LineGainFit(
        gain_estimate,
        offset,
        Estimate(offset_S, offset_S - offset_reach, offset_S + offset_reach),
        Estimate(driven, driven - reach, driven + reach),
        computed_a,
        current_a,
        residual_a,
    )


def _gain_and_read_offset(
    computed: FloatArray, total: FloatArray, current: FloatArray, with_read_offset: bool
) -> tuple[FloatArray, FloatArray]:
    """current = gain (computed - read_offset total) for each column of computed and current; all without means."""
    if not with_read_offset:
        gain = (computed * current).sum(axis=0) / np.square(computed).sum(axis=0)
        return gain, np.zeros_like(gain)
    share = (total @ computed) / (total @ total)
    apart = computed - total[:, None] * share
    gain = (apart * current).sum(axis=0) / np.square(apart).sum(axis=0)
    return gain, share - (total @ current) / (total @ total) / gain


def fill_unread(v_v: FloatArray, g_S: FloatArray, current_a: FloatArray) -> FloatArray:
    """g_S with the cells that are NaN estimated from the products, in proportion to those that were read.

    Shapes as in `fit_line_gains`. A measured line needs several vectors for each of its unread cells.
    """
    filled = g_S.copy()
    for line in np.flatnonzero(np.isnan(g_S).any(axis=0)):
        unread = np.isnan(g_S[:, line])
        known = v_v[:, ~unread] @ g_S[~unread, line]
        design = np.column_stack([known, np.ones(len(v_v)), v_v[:, unread]])
        # Amperes against volts: the columns differ by many orders of magnitude.
        scale = np.linalg.norm(design, axis=0)
        found = np.linalg.lstsq(design / scale, current_a[:, line], rcond=None)[0] / scale
        filled[unread, line] = found[2:] / found[0]
    return filled
