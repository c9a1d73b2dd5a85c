"""Probability of the change that relaxation makes in a cell, by the twin's law: densities by Fourier inversion.

The law is that of `eapu_hil.twin.relaxing.RelaxingCells`: a lasting bilateral gamma process and a passing part, in
decades of age. No density of several changes of one cell is known in closed form, but each change, and the difference
and the sum of two, has a characteristic function that is. Their product over all times and pairs of times is a
composite likelihood (Varin, Reid, Firth, Statistica Sinica 21:5, 2011).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import FloatArray

ComplexArray = NDArray[np.complex128]

_POINTS = (1024, 8192)  # of a density, at least and at most
_STEPS = 3  # of its grid, in one robust sd of the changes at the first time
_REACH = 1.3  # of its grid, beyond the largest change
_FLOOR = 1e-7  # of a density (1/uS): one cell that the law cannot explain is not to decide


@dataclass(frozen=True, eq=False)
class Shape:
    """The parameters that all levels share: `jump_decades`, `passing_share` and `passing_per_decade` of the preset."""

    jump_decades: float
    passing_share: float
    passing_per_decade: float


@dataclass(frozen=True, eq=False)
class State:
    """A row of the preset's relaxation table, in uS and uS^2. noise_uS2: variance of a reading, where it is unknown."""

    variance_1s_uS2: float
    variance_per_decade_uS2: float
    mean_1s_uS: float
    mean_per_decade_uS: float
    up_share: float
    jump_ratio: float
    noise_uS2: float = 0.0

    def decades(self, log_age: FloatArray, shape: Shape) -> FloatArray:
        """Decades that the walk has gone at each age."""
        return np.maximum(log_age + self._start(shape), 1e-3)

    def mean_uS(self, log_age: FloatArray, shape: Shape) -> FloatArray:
        """Mean change at each age, as the twin has it."""
        early = np.clip(1.0 + log_age / self._start(shape), 0.0, 1.0)
        mean: FloatArray = self.mean_1s_uS * early + self.mean_per_decade_uS * np.maximum(log_age, 0.0)
        return mean

    def _start(self, shape: Shape) -> float:
        return (
            self.variance_1s_uS2 / self.variance_per_decade_uS2
            + shape.passing_share / shape.passing_per_decade
        )

    def exponent(self, xi: FloatArray, share: float, shape: Shape) -> ComplexArray:
        """-log of the characteristic function a decade, of the process that has `share` of the variance."""
        variance, rarer = share * self.variance_per_decade_uS2, np.sqrt(self.jump_ratio)
        found = np.zeros(xi.size, np.complex128)
        parts = ((1j, self.up_share, rarer), (-1j, 1.0 - self.up_share, 1.0 / rarer))
        for turned, part, apart in parts:
            decades = shape.jump_decades * apart
            size = np.sqrt(part * variance * decades)
            found += (np.log(1.0 - turned * size * xi) + turned * size * xi) / decades
        return found


class Changes:
    """The changes of the cells of one level. change_uS: (times, cells); log_age: (times,).

    at_uS: mean conductance of the first reading, from which all changes count. noise_uS2: covariance of the known noise
    of the changes, (times, times). passing_per_decade: of the law, as in the preset.
    """

    def __init__(
        self,
        change_uS: FloatArray,
        log_age: FloatArray,
        at_uS: float,
        noise_uS2: FloatArray,
        passing_per_decade: float,
    ) -> None:
        self.change_uS, self.log_age, self.at_uS = change_uS, log_age, at_uS
        self.passing_per_decade = passing_per_decade
        times = log_age.size
        first, second = np.triu_indices(times, 1)
        self._first, self._second = first, second
        one = np.eye(times)
        self._sums = np.vstack([one, one[second] - one[first], one[second] + one[first]])
        # Each time and each pair of times counts once: a pair is seen twice, as a difference and as a sum.
        self._weight = np.repeat([1.0, 0.5], [times, 2 * first.size])
        self._noise, self._extra = (
            np.einsum("qi,ij,qj->q", self._sums, part, self._sums) for part in (noise_uS2, one + 1.0)
        )
        self._seen = self._sums @ change_uS
        self.spread_uS = float(np.subtract(*np.percentile(change_uS[0], [84, 16]))) / 2
        self.span_uS = _REACH * float(np.abs(self._seen).max()) + 6 * float(np.sqrt(self._noise.max()))
        wanted = 2 * self.span_uS * _STEPS / max(self.spread_uS, 1e-6)
        self._points = int(np.clip(2 ** np.ceil(np.log2(wanted)), *_POINTS))
        self._step = 2 * self.span_uS / self._points
        self._xi: FloatArray = np.linspace(0.0, np.pi / self._step, self._points // 2 + 1)
        self._centred = 1.0 - 2.0 * (np.arange(self._points // 2 + 1) % 2)

    def log_likelihood(self, state: State, shape: Shape) -> FloatArray:
        """Composite log likelihood of each cell, shape (cells,)."""
        density, mean = self._densities(state, shape)
        place = (self._seen - mean[:, None] + self.span_uS) / self._step
        found = _interpolated(density, np.clip(place, 1.0, self._points - 3.0))
        logs: FloatArray = self._weight @ np.log(np.maximum(found, _FLOOR))
        return logs

    def below(self, state: State, shape: Shape, number: int, change_uS: FloatArray) -> FloatArray:
        """Probability by the law that a change at time `number` is not above each of `change_uS`."""
        density, mean = self._densities(state, shape)
        grid = -self.span_uS + self._step * (np.arange(self._points) + 0.5)
        found: FloatArray = np.interp(change_uS - mean[number], grid, np.cumsum(density[number]) * self._step)
        return found

    def _densities(self, state: State, shape: Shape) -> tuple[FloatArray, FloatArray]:
        """Of each change, difference and sum about its mean, on the grid from -span to span (1/uS), and the means."""
        noise = self._noise + state.noise_uS2 * self._extra
        # Cells that stand still would be narrower than the grid sees.
        noise = np.maximum(noise, self._step**2)
        transformed = self._characteristic(state, shape) * np.exp(-0.5 * np.outer(noise, self._xi**2))
        density = np.fft.irfft(np.conj(transformed) * self._centred, self._points, axis=1) / self._step
        return density, self._sums @ state.mean_uS(self.log_age, shape)

    def _characteristic(self, state: State, shape: Shape) -> ComplexArray:
        """Of each change, difference and sum, without mean and noise: (times + 2 pairs, points / 2 + 1)."""
        rate, decades = shape.passing_per_decade, state.decades(self.log_age, shape)
        lasts, passes = (
            _Powers(state, share, shape, self._xi, decades)
            for share in (1.0 - shape.passing_share, shape.passing_share)
        )
        first, second = self._first, self._second
        undrawn = np.exp(-rate * decades)[:, None]  # nothing has passed by then
        single, double = (
            undrawn + rate * (power - undrawn) / (rate - exponent)
            for power, exponent in ((passes.once, passes.exponent), (passes.twice, passes.exponent_twice))
        )
        kept = undrawn[second] / undrawn[first]
        drawn = rate * (passes.once[second] - kept * passes.once[first]) / (rate - passes.exponent)
        walked = lasts.once[second] / lasts.once[first]
        difference = walked * (kept + drawn * np.conj(single[first]))
        total = walked * lasts.twice[first] * (kept * double[first] + drawn * single[first])
        return np.vstack([lasts.once * single, difference, total])


def _interpolated(density: FloatArray, place: FloatArray) -> FloatArray:
    """Rows of `density` at the places (in points) in the same rows of `place`: smooth, by Catmull and Rom."""
    left = place.astype(np.int64)
    t = place - left
    row = np.arange(len(density))[:, None]
    a, b, c, d = (density[row, left + shift] for shift in (-1, 0, 1, 2))
    found: FloatArray = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return found


class _Powers:
    """Characteristic function of one part of the walk at each of the decades, at xi (`once`) and 2 xi (`twice`)."""

    def __init__(self, state: State, share: float, shape: Shape, xi: FloatArray, decades: FloatArray) -> None:
        self.exponent = state.exponent(xi, share, shape)
        self.exponent_twice = state.exponent(2 * xi, share, shape)
        self.once = np.exp(-np.outer(decades, self.exponent))
        self.twice = np.exp(-np.outer(decades, self.exponent_twice))
