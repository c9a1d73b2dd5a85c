"""Gains of the lines of a product, from products of known vectors with known conductances.

current of measured line j = gain_j * sum over driven lines i of v_i driven_i g_ij + offset_j, plus noise
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
    """gain, offset (A): of each measured line. driven: gain of each driven line, mean 1.

    computed_a: products with driven gains and without gains and offsets; measured_a, residual_a: (vectors, measured).
    """

    gain: Estimate
    offset: Estimate
    driven: Estimate
    computed_a: FloatArray
    measured_a: FloatArray
    residual_a: FloatArray


def fit_line_gains(v_v: FloatArray, g_s: FloatArray, current_a: FloatArray) -> LineGainFit:
    """Least squares, by turns for the driven and the measured lines until neither moves.

    v_v: (vectors, driven). g_s: (driven, measured). current_a: (vectors, measured). Every driven line needs some
    conductance. Intervals of the measured lines are for known driven gains, and the other way round.
    """
    v_0, current_0 = v_v - v_v.mean(axis=0), current_a - current_a.mean(axis=0)
    together = v_0.T @ v_0
    driven = np.ones(v_v.shape[1])
    for _ in range(_ROUNDS):
        computed = (v_0 * driven) @ g_s
        gain = (computed * current_0).sum(axis=0) / np.square(computed).sum(axis=0)
        seen_s = g_s * gain
        normal = together * (seen_s @ seen_s.T)
        found = np.linalg.solve(normal, np.einsum("ki,ij,kj->i", v_0, seen_s, current_0, optimize=True))
        found /= found.mean()
        moved = np.abs(found - driven).max()
        driven = found
        if moved < _CLOSE:
            break
    computed_a = (v_v * driven) @ g_s
    gain_estimate, offset, residual_a = gain_and_offset(computed_a, current_a)
    variance = np.square(residual_a).sum() / (residual_a.size - 2 * gain.size - driven.size)
    reach = NORMAL_SDS * np.sqrt(variance * np.diag(np.linalg.inv(normal)))
    return LineGainFit(
        gain_estimate,
        offset,
        Estimate(driven, driven - reach, driven + reach),
        computed_a,
        current_a,
        residual_a,
    )


def fill_unread(v_v: FloatArray, g_s: FloatArray, current_a: FloatArray) -> FloatArray:
    """g_s with the cells that are NaN estimated from the products, in proportion to those that were read.

    Shapes as in `fit_line_gains`. A measured line needs several vectors for each of its unread cells.
    """
    filled = g_s.copy()
    for line in np.flatnonzero(np.isnan(g_s).any(axis=0)):
        unread = np.isnan(g_s[:, line])
        known = v_v[:, ~unread] @ g_s[~unread, line]
        design = np.column_stack([known, np.ones(len(v_v)), v_v[:, unread]])
        # Amperes against volts: the columns differ by many orders of magnitude.
        scale = np.linalg.norm(design, axis=0)
        found = np.linalg.lstsq(design / scale, current_a[:, line], rcond=None)[0] / scale
        filled[unread, line] = found[2:] / found[0]
    return filled
