"""Estimates by maximum likelihood, with Wald intervals from the curvature of the likelihood at its top."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from eapu_calibration.statistics import NORMAL_SDS
from eapu_hil.hal import FloatArray, HilError

_STEP = 1e-3  # of a parameter of order one; the likelihood is smooth on this scale


@dataclass(frozen=True, eq=False)
class Top:
    """Where a likelihood is largest. x, sd: shape (parameters,); log_likelihood: its height there."""

    x: FloatArray
    sd: FloatArray
    log_likelihood: float

    def interval(self, number: int) -> tuple[float, float, float]:
        """Value of one parameter and the ends of its 95 % interval."""
        reach = NORMAL_SDS * float(self.sd[number])
        value = float(self.x[number])
        return value, value - reach, value + reach


def maximise(log_likelihood: Callable[[FloatArray], float], start: FloatArray, what: str) -> Top:
    """Climbs from `start`; parameters should be of order one.

    Raises HilError, naming `what`, where no top is found or the data leave a parameter open (curvature not positive).
    """
    tries = 4000 * start.size
    options = {"maxiter": tries, "maxfev": tries, "xatol": 1e-5, "fatol": 1e-7, "adaptive": True}
    found = optimize.minimize(lambda x: -log_likelihood(x), start, method="Nelder-Mead", options=options)
    curvature = -_curvature(log_likelihood, found.x)
    if not found.success or not np.isfinite(curvature).all() or np.linalg.eigvalsh(curvature).min() <= 0:
        raise HilError(f"{what}: the measured values do not determine the parameters")
    sd = np.sqrt(np.diag(np.linalg.inv(curvature)))
    return Top(found.x, sd, -float(found.fun))


def _curvature(function: Callable[[FloatArray], float], x: FloatArray) -> FloatArray:
    """Second derivatives at x, by central differences."""
    size = x.size
    steps = _STEP * np.eye(size)
    second = np.empty((size, size))
    for i in range(size):
        for j in range(i, size):
            corners = [
                sign_i * sign_j * function(x + sign_i * steps[i] + sign_j * steps[j])
                for sign_i in (1, -1)
                for sign_j in (1, -1)
            ]
            second[i, j] = second[j, i] = sum(corners) / (4 * _STEP**2)
    return second
