"""Figures with their 95 % intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from eapu_hil.hal import FloatArray

CONFIDENCE = 0.95
RESAMPLES = 400
NORMAL_SDS = float(stats.norm.ppf(0.5 + CONFIDENCE / 2))  # half an interval of a normal law, in its sd


@dataclass(frozen=True, eq=False)
class Estimate:
    """A figure, or an array of them, between the ends of its 95 % interval."""

    value: FloatArray
    low: FloatArray
    high: FloatArray

    def plain(self) -> dict[str, Any]:
        """As the passport holds it: `value`, `low`, `high`, each a number or nested lists."""
        return {name: np.asarray(value).tolist() for name, value in vars(self).items()}


Fits = Mapping[str, Estimate]  # by the dotted key of a twin's parameter


def bootstrap(statistic: Callable[..., FloatArray], sample: FloatArray, rng: np.random.Generator) -> Estimate:
    """`statistic(sample, axis=-1)` of independent columns: what it comes to, and a percentile bootstrap interval.

    sample: (..., n), the cells along the last axis; they are drawn together, so that what belongs to one cell stays
    together. Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    found = stats.bootstrap(
        (sample,),
        statistic,
        axis=-1,
        n_resamples=RESAMPLES,
        batch=50,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=rng,
    ).confidence_interval
    return Estimate(np.asarray(statistic(sample, axis=-1)), np.asarray(found.low), np.asarray(found.high))


def share(count: int, of: int) -> Estimate:
    """The share `count` of `of` with its Wilson interval."""
    found = stats.binomtest(count, of).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(np.asarray(count / of), np.asarray(found.low), np.asarray(found.high))


def gain_and_offset(x: FloatArray, y: FloatArray) -> tuple[Estimate, Estimate, FloatArray]:
    """Least squares of y = gain x + offset along axis 0, for each column; and the residuals, shape of `y`.

    Intervals by Student's t, for independent residuals of one sd a column.
    """
    n = x.shape[0]
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    spread = np.square(x - mean_x).sum(axis=0)
    gain = ((x - mean_x) * (y - mean_y)).sum(axis=0) / spread
    offset = mean_y - gain * mean_x
    residual = y - gain * x - offset
    variance = np.square(residual).sum(axis=0) / (n - 2)
    reach = stats.t.ppf(0.5 + CONFIDENCE / 2, n - 2)
    gain_reach = reach * np.sqrt(variance / spread)
    offset_reach = reach * np.sqrt(variance * (1 / n + mean_x**2 / spread))
    return (
        Estimate(gain, gain - gain_reach, gain + gain_reach),
        Estimate(offset, offset - offset_reach, offset + offset_reach),
        residual,
    )
