"""Slow fluctuation of the cells: 1/f noise and random telegraph noise. White noise is drawn where it is measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import FloatArray
from eapu_hil.twin.kernels.fluctuation import fluctuate
from eapu_hil.twin.kernels.noise import Noise
from eapu_hil.twin.preset import ReadNoise, Rtn, TwinPreset


class SlowNoise:
    """Fluctuations slower than a product, of all arrays of a chip.

    relative: dG/G of each cell from its stored conductance, as of the last `advance` of its array; shape (cells,).
    """

    def __init__(
        self,
        preset: TwinPreset,
        relative: NDArray[np.float32],
        seeds: Sequence[list[int]],
        rng: np.random.Generator,
    ) -> None:
        """relative: filled from now on. seeds: of each array."""
        self.relative = relative
        self.enabled = preset.read_noise.enabled or preset.rtn.enabled
        self._cells = relative.size // len(seeds)
        self._flicker = _Flicker(preset.read_noise, relative.size, rng)
        self._rtn = [_Telegraph(preset.rtn, self._cells, seed, rng) for seed in seeds]
        for number in range(len(seeds)):
            self._show(number)

    def advance(self, number: int, elapsed_s: float, rng: np.random.Generator, noise: Noise) -> None:
        """Lets `elapsed_s` of bench time pass for an array."""
        self._flicker.advance(self._part(number), elapsed_s, noise)
        self._rtn[number].advance(elapsed_s, rng)
        self._show(number)

    def _part(self, number: int) -> slice:
        return slice(number * self._cells, (number + 1) * self._cells)

    def _show(self, number: int) -> None:
        part = self.relative[self._part(number)]
        part[:] = self._flicker.relative(self._part(number))
        self._rtn[number].add_to(part)


class _Flicker:
    """1/f noise: one Ornstein-Uhlenbeck process a decade of correlation time, drawn exactly at any interval."""

    def __init__(self, law: ReadNoise, count: int, rng: np.random.Generator) -> None:
        self._tau_s = law.taus_s()
        self._sd = np.float32(law.flicker_relative_per_decade if law.enabled else 0.0)
        processes = self._tau_s.size if self._sd else 0
        self._level = rng.standard_normal((processes, count), dtype=np.float32)

    def advance(self, part: slice, elapsed_s: float, noise: Noise) -> None:
        if elapsed_s <= 0.0:
            return
        for level, tau_s in zip(self._level, self._tau_s, strict=False):
            keep = math.exp(-elapsed_s / tau_s)
            fluctuate(level[part], keep, math.sqrt(1.0 - keep**2), noise)

    def relative(self, part: slice) -> NDArray[np.float32]:
        return np.asarray(self._sd * self._level[:, part].sum(axis=0))


class _Telegraph:
    """Random telegraph noise of an array: symmetric two-level Markov chains with their exact transitions."""

    def __init__(self, law: Rtn, count: int, seed: list[int], rng: np.random.Generator) -> None:
        device = np.random.default_rng([*seed, 2])
        chosen = device.random(count) < (law.fraction if law.enabled else 0.0)
        self._index = np.flatnonzero(chosen)
        n = self._index.size
        self._amplitude = law.amplitude_relative * np.exp(law.amplitude_log_sd * device.standard_normal(n))
        low, high = math.log(law.tau_min_s), math.log(law.tau_max_s)
        self._tau_s: FloatArray = np.exp(device.uniform(low, high, n))
        self._up: NDArray[np.bool_] = rng.random(n) < 0.5

    def advance(self, elapsed_s: float, rng: np.random.Generator) -> None:
        if self._index.size == 0 or elapsed_s <= 0.0:
            return
        flip = 0.5 * -np.expm1(-2.0 * elapsed_s / self._tau_s)
        self._up ^= rng.random(self._index.size) < flip

    def add_to(self, relative: NDArray[np.float32]) -> None:
        """Adds the levels of the moment to dG/G of the array's cells."""
        relative[self._index] += np.where(self._up, 0.5, -0.5) * self._amplitude
