"""Read fluctuation of the cells: white noise, 1/f noise and random telegraph noise."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import FloatArray
from eapu_hil.twin.preset import ReadNoise, Rtn, TwinPreset


class SlowNoise:
    """Fluctuations slower than a product.

    relative: dG/G of each cell from its stored conductance, as of the last `advance`; shape (count,).
    """

    def __init__(self, preset: TwinPreset, count: int, seed: list[int], rng: np.random.Generator) -> None:
        self._flicker = _Flicker(preset.read_noise, count, rng)
        self._rtn = _Telegraph(preset.rtn, count, seed, rng)
        self.enabled = preset.read_noise.enabled or preset.rtn.enabled
        self.relative = self._now()

    def advance(self, elapsed_s: float, rng: np.random.Generator) -> None:
        """Lets `elapsed_s` of bench time pass."""
        self._flicker.advance(elapsed_s, rng)
        self._rtn.advance(elapsed_s, rng)
        self.relative = self._now()

    def _now(self) -> FloatArray:
        return self._flicker.relative() + self._rtn.relative()


class _Flicker:
    """1/f noise: one Ornstein-Uhlenbeck process a decade of correlation time, drawn exactly at any interval."""

    def __init__(self, law: ReadNoise, count: int, rng: np.random.Generator) -> None:
        self._tau_s = law.taus_s()
        self._sd = law.flicker_relative_per_decade if law.enabled else 0.0
        self._level = rng.standard_normal((self._tau_s.size, count)).astype(np.float32)

    def advance(self, elapsed_s: float, rng: np.random.Generator) -> None:
        if self._sd == 0.0 or elapsed_s <= 0.0:
            return
        for level, tau_s in zip(self._level, self._tau_s, strict=True):
            keep = math.exp(-elapsed_s / tau_s)
            level *= keep
            level += math.sqrt(1.0 - keep**2) * rng.standard_normal(level.size, dtype=np.float32)

    def relative(self) -> FloatArray:
        return np.asarray(self._sd * self._level.sum(axis=0), dtype=np.float64)


class _Telegraph:
    """Random telegraph noise: symmetric two-level Markov chains, advanced with their exact transition probability."""

    def __init__(self, law: Rtn, count: int, seed: list[int], rng: np.random.Generator) -> None:
        device = np.random.default_rng([*seed, 2])
        chosen = device.random(count) < (law.fraction if law.enabled else 0.0)
        self._index = np.flatnonzero(chosen)
        n = self._index.size
        self._count = count
        self._amplitude = law.amplitude_relative * np.exp(law.amplitude_log_sd * device.standard_normal(n))
        low, high = math.log(law.tau_min_s), math.log(law.tau_max_s)
        self._tau_s: FloatArray = np.exp(device.uniform(low, high, n))
        self._up: NDArray[np.bool_] = rng.random(n) < 0.5

    def advance(self, elapsed_s: float, rng: np.random.Generator) -> None:
        if self._index.size == 0 or elapsed_s <= 0.0:
            return
        flip = 0.5 * -np.expm1(-2.0 * elapsed_s / self._tau_s)
        self._up ^= rng.random(self._index.size) < flip

    def relative(self) -> FloatArray:
        deviation = np.zeros(self._count)
        deviation[self._index] = np.where(self._up, 0.5, -0.5) * self._amplitude
        return deviation


def white_sd_S(law: ReadNoise, g_S: FloatArray) -> FloatArray:
    """Standard deviation of one sample of each cell's conductance, S."""
    if not law.enabled:
        return np.zeros_like(g_S)
    return np.hypot(law.white_absolute_S, law.white_relative * g_S)
