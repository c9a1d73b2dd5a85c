"""Likelihood fits of forming and of gate-controlled SETs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from eapu_calibration.likelihood import maximise
from eapu_calibration.statistics import Estimate, Fits
from eapu_hil.bench.entries import Measurement
from eapu_hil.hal import FloatArray, HilError

FORMED_MIN = 50
_MICRO = 1e6


def _scaled(top_interval: tuple[float, float, float], scale: float) -> Estimate:
    return Estimate(*(np.asarray(scale * end) for end in top_interval))


def _positive(log_interval: tuple[float, float, float], scale: float) -> Estimate:
    return Estimate(*(np.asarray(scale * np.exp(end)) for end in log_interval))


def fit_forming(entry: Measurement) -> Fits:
    """Forming voltages as a normal law, each known to lie between two steps of the ramp (interval-censored).

    entry: of kind `forming`. Raises HilError with fewer than 50 formed cells or fewer than three steps that formed any.
    """
    v_form_v = np.asarray(entry.arrays["v_form_v"])
    voltages_v, counts = np.unique(v_form_v[np.isfinite(v_form_v)].round(6), return_counts=True)
    if counts.sum() < FORMED_MIN or voltages_v.size < 3:
        raise HilError(
            f"{int(counts.sum())} cells formed at {voltages_v.size} voltages; needed are {FORMED_MIN} cells "
            "and 3 voltages (a fresh array, a finer ramp)"
        )
    step_v = float(np.diff(voltages_v).min())

    def log_likelihood(x: FloatArray) -> float:
        law = stats.norm(x[0], np.exp(x[1]))
        inside = law.cdf(voltages_v) - law.cdf(voltages_v - step_v)
        return float(counts @ np.log(np.maximum(inside, 1e-300)))

    mean_v = float(np.average(voltages_v - step_v / 2, weights=counts))
    start = np.array([mean_v, np.log(max(float(np.nanstd(v_form_v)), step_v / 2))])
    top = maximise(log_likelihood, start, "forming voltages")
    return {
        "forming.v_form_v": _scaled(top.interval(0), 1.0),
        "forming.v_form_sd_v": _positive(top.interval(1), 1.0),
    }


def fit_gate_curve(
    entry: Measurement, white_relative: float, slow_relative: float, gain_relative: float
) -> Fits:
    """SET conductance = slope (gate - threshold), slope and threshold normal over the cells, noise in each SET.

    A linear mixed model: the means of a cell over the repeats are jointly normal, what its repeats scatter around them
    is independent of these. Of the conductance: white_relative, sd of a reading; slow_relative, of what stays with a
    cell over the readings (1/f noise); gain_relative, of what stays with a column (gain of its converter). They are
    taken off; the mean gain of the columns, which the slope cannot be told from, widens its interval. entry: of kind
    `gate_curve`.
    Raises HilError where fewer than 4 gate voltages lead well above the state that a RESET leaves.
    """
    usable = np.asarray(entry.arrays["usable"], dtype=bool)
    g_uS = _MICRO * np.asarray(entry.arrays["g_S"])[:, :, usable]
    lowest_uS = _MICRO * np.asarray(entry.arrays["lowest_S"])[:, :, usable]
    g_max_uS = _MICRO * float(entry.values["recipe"]["g_max_S"])
    gate_v = np.asarray(entry.values["gate_v"], dtype=np.float64)
    # A SET cannot end below where it began: only steps of which hardly a cell is held up by that are straight.
    held = np.percentile(lowest_uS, 99)
    inside = (np.percentile(g_uS, 1, axis=(0, 2)) > held) & (g_uS.mean(axis=(0, 2)) <= g_max_uS)
    if inside.sum() < 4:
        raise HilError(
            f"{int(inside.sum())} gate voltages give a conductance clearly above the reset state; 4 are needed"
        )
    model = _GateModel(
        gate_v[inside],
        g_uS[:, inside],
        float(lowest_uS.mean()),
        white_relative,
        float(np.hypot(slow_relative, gain_relative)),
    )
    top = maximise(model.log_likelihood, model.start(), "gate curve")
    columns = np.unique(np.asarray(entry.arrays["col"])[usable]).size
    of_gain = np.zeros_like(top.sd)
    of_gain[0] = gain_relative / np.sqrt(columns)
    top = replace(top, sd=np.hypot(top.sd, of_gain))
    return {
        "gate.slope_S_per_v": _positive(top.interval(0), 1 / _MICRO),
        "gate.threshold_v": _scaled(top.interval(1), 1.0),
        "variation.gate_threshold_v": _positive(top.interval(2), 1.0),
        "variation.gate_slope_relative": _positive(top.interval(3), 1.0),
        "write_noise.set_absolute_S": _positive(top.interval(4), 1 / _MICRO),
        "write_noise.set_relative": _positive(top.interval(5), 1.0),
    }


class _GateModel:
    """x: log slope, threshold, logs of the sd of threshold, of the relative slope, of absolute and relative noise."""

    def __init__(
        self, gate_v: FloatArray, g_uS: FloatArray, g_low_uS: float, white: float, common: float
    ) -> None:
        """g_uS: (repeats, steps, cells)."""
        self._gate_v, self._g_low_uS, self._white, self._common = gate_v, g_low_uS, white, common
        self._repeats, _, self._cells = g_uS.shape
        mean_uS = g_uS.mean(axis=0)
        self._mean_uS = mean_uS.mean(axis=1)
        self._between = np.cov(mean_uS, bias=True)
        self._within = np.square(g_uS - mean_uS).sum(axis=(0, 2))

    def start(self) -> NDArray[Any]:
        slope, offset = np.polyfit(self._gate_v, self._mean_uS, 1)
        return np.array([np.log(slope), -offset / slope, *np.log([0.03, 0.05, 0.5, 0.05])])

    def log_likelihood(self, x: FloatArray) -> float:
        slope, threshold_v = np.exp(x[0]), x[1]
        threshold_sd, slope_sd, absolute, relative = np.exp(x[2:])
        over_v = self._gate_v - threshold_v
        mean_uS = slope * over_v
        noise = (
            absolute**2 + (relative * (mean_uS - self._g_low_uS)) ** 2 + (self._white * self._mean_uS) ** 2
        )
        cells = slope**2 * (
            threshold_sd**2 + (slope_sd**2 + self._common**2) * np.multiply.outer(over_v, over_v)
        )
        covariance = cells + np.diag(noise / self._repeats)
        off = self._mean_uS - mean_uS
        sign, log_det = np.linalg.slogdet(covariance)
        if sign <= 0:
            return -np.inf
        spread = self._between + np.multiply.outer(off, off)
        between = self._cells * (log_det + np.trace(np.linalg.solve(covariance, spread)))
        within = self._cells * (self._repeats - 1) * np.log(noise).sum() + (self._within / noise).sum()
        return -0.5 * float(between + within)
