"""Likelihood fit of relaxation: for each level a walk in log time, heavy-tailed by one scale a write."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from eapu_calibration.likelihood import Top, maximise
from eapu_calibration.statistics import NORMAL_SDS
from eapu_hil.chip import Measurement
from eapu_hil.hal import FloatArray, HilError

_MICRO = 1e6
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)  # a standard normal
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
TIMES_MIN = 3
FLOOR_MARGIN = 2.0


@dataclass(frozen=True, eq=False)
class RelaxationFit:
    """By level: conductance (S) and the fit of log variance at 1 s, log variance a decade, mean at 1 s, mean a decade.

    In uS. tail_log_sd: value, low, high. ks: distance between measured changes and the law, by time.
    """

    g_s: FloatArray
    levels: list[Top]
    tail_log_sd: tuple[float, float, float]
    ks: dict[float, float]


class _Level:
    """The cells of one level. change_us: (times, cells); log_age: (times,).

    at_us: mean conductance of the first reading.
    noise_us2: variance of the white part of one reading; flicker_relative: 1/f, sd a decade of correlation time
    `tau_s`, of the conductance.
    """

    def __init__(
        self,
        change_us: FloatArray,
        log_age: FloatArray,
        at_us: float,
        noise_us2: float,
        flicker_relative: float,
        tau_s: FloatArray,
    ) -> None:
        self.change_us, self.log_age, self.at_us = change_us, log_age, at_us
        read_s = np.append(0.0, 10.0**log_age)
        apart_s = np.abs(np.subtract.outer(read_s, read_s))
        slow = (flicker_relative * at_us) ** 2 * np.exp(-apart_s[..., None] / tau_s).sum(axis=-1)
        # The reference reading is in every change.
        self._noise = noise_us2 * (np.eye(log_age.size) + 1.0)
        self._noise += slow[1:, 1:] - slow[1:, :1] - slow[:1, 1:] + slow[0, 0]

    def start(self) -> FloatArray:
        variance = self.change_us.var(axis=1)
        slope, at_1s = np.polyfit(self.log_age, variance, 1)
        mean_slope, mean_1s = np.polyfit(self.log_age, self.change_us.mean(axis=1), 1)
        slope = max(slope, 0.05 * variance.max())
        return np.array([np.log(max(at_1s, 0.2 * variance.max())), np.log(slope), mean_1s, mean_slope])

    def mean_us(self, x: FloatArray) -> FloatArray:
        """Mean change at each time, as the twin has it."""
        began = -np.exp(x[0] - x[1])
        early = np.clip(1.0 - self.log_age / began, 0.0, 1.0)
        mean: FloatArray = x[2] * early + x[3] * np.maximum(self.log_age, 0.0)
        return mean

    def covariances(self, x: FloatArray, tail: float) -> FloatArray:
        """(nodes, times, times): one for each scale of the tails."""
        walked = np.maximum(np.exp(x[0]) + np.exp(x[1]) * self.log_age, 0.0)
        walk = np.minimum.outer(walked, walked)
        scale = np.exp(2 * (tail * _NODES - tail**2))
        found: FloatArray = scale[:, None, None] * walk + self._noise
        return found

    def log_likelihood(self, x: FloatArray, tail: float) -> float:
        root = np.linalg.cholesky(self.covariances(x, tail))
        off = self.change_us - self.mean_us(x)[:, None]
        squares = np.square(np.linalg.solve(root, off[None])).sum(axis=1)  # (nodes, cells)
        log_det = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
        density = np.exp(-0.5 * squares - log_det[:, None])
        return float(np.log(np.maximum(_WEIGHTS @ density, 1e-300)).sum())

    def top(self, tail: float) -> Top:
        return maximise(
            lambda x: self.log_likelihood(x, tail), self.start(), f"relaxation from {self.at_us:.3g} uS"
        )

    def drawn(self, x: FloatArray, tail: float, count: int, rng: np.random.Generator) -> FloatArray:
        """Changes (times, count) by the law."""
        root = np.linalg.cholesky(self.covariances(x, tail))
        node = rng.choice(_NODES.size, count, p=_WEIGHTS)
        normal = rng.standard_normal((count, self.log_age.size))
        return np.asarray(self.mean_us(x)[:, None] + np.einsum("nij,nj->in", root[node], normal))


def fit_relaxation(
    entry: Measurement, flicker_relative: float, tau_s: FloatArray, rng: np.random.Generator
) -> RelaxationFit:
    """Fits the twin's law to an entry of kind `relaxation`.

    flicker_relative: 1/f noise of a reading, sd a decade of the correlation times `tau_s`, of the conductance.
    Raises HilError with fewer than 3 times, or where the values leave a parameter open.
    """
    levels, g_s = _levels(entry, flicker_relative, tau_s)

    # Cells of the lowest state meet its floor, which cuts their tails off: they say nothing of the law's.
    g_min_s = float(entry.values["recipe"]["g_min_s"])
    free = [level for level, at in zip(levels, g_s, strict=True) if at > FLOOR_MARGIN * g_min_s]
    if not free:
        raise HilError(f"no level lies above {FLOOR_MARGIN:g} times the lowest conductance")

    def height(tail: float) -> float:
        return sum(level.top(tail).log_likelihood for level in free)

    found = optimize.minimize_scalar(
        lambda tail: -height(tail), bounds=(0.02, 1.2), method="bounded", options={"xatol": 0.01}
    )
    tail, step = float(found.x), 0.04
    best = [level.top(tail) for level in levels]
    bend = (2 * height(tail) - height(tail + step) - height(max(tail - step, 0.0))) / step**2
    if bend <= 0:
        raise HilError("the tails of the changes do not settle their law; more cells a level are needed")
    reach = NORMAL_SDS / np.sqrt(bend)
    ks = {}
    drawn = [
        level.drawn(one.x, tail, 20 * level.change_us.shape[1], rng)
        for level, one in zip(levels, best, strict=True)
    ]
    measured = np.hstack([level.change_us for level in levels])
    predicted = np.hstack(drawn)
    for number, log_age in enumerate(levels[0].log_age):
        ks[float(10**log_age)] = float(stats.ks_2samp(measured[number], predicted[number]).statistic)
    return RelaxationFit(g_s, best, (tail, max(tail - reach, 0.0), tail + reach), ks)


def _levels(
    entry: Measurement, flicker_relative: float, tau_s: FloatArray
) -> tuple[list[_Level], FloatArray]:
    arrays = entry.arrays
    usable = np.asarray(arrays["usable"], dtype=bool)
    first_us, g_us = _MICRO * arrays["first_s"], _MICRO * arrays["g_s"]
    log_age = np.log10(np.asarray(entry.values["age_s"], dtype=np.float64))
    if log_age.size < TIMES_MIN or log_age[-1] <= 0:
        raise HilError(f"relaxation at {log_age.size} times; needed are {TIMES_MIN}, the last beyond 1 s")
    levels = []
    for number in range(len(entry.values["levels_s"])):
        chosen = usable & (arrays["level"] == number)
        noise_us2 = float(np.square(first_us[1, chosen] - first_us[0, chosen]).mean() / 2)
        # The two readings follow each other at once: hardly any of the 1/f noise is in their difference.
        change_us = g_us[:, chosen] - first_us[1, chosen]
        at_us, noise_us2 = float(first_us[1, chosen].mean()), max(noise_us2, 1e-6)
        levels.append(_Level(change_us, log_age, at_us, noise_us2, flicker_relative, tau_s))
    return levels, np.asarray(entry.values["g_first_s"], dtype=np.float64)
