"""AGAD: chopped Tiki-Taka that takes the values of a row under the other sign as its reference.

    when the sign c of a row flips: d = mean of its readings since the last flip - mean of those before it
    H[row] += a c d, where |d| is at least `significance` standard errors

The mean under the other sign stands for whatever the cells of A rest at, so that slow offsets do not reach the weights.
Otherwise as `c_ttv2`. Rasch, Carta, Fagbohungbe, Gokmen, Nat. Commun. 15 (2024), doi 10.1038/s41467-024-51221-z.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat

from eapu_hil.hal import FloatArray, IntArray
from eapu_hil.hal.recipe import IncrementRecipe, Recipe
from eapu_hil.rules.pulses import increment_of
from eapu_hil.rules.transfer import ChoppedRule, FlipProbability, TransferConfig


class AgadConfig(TransferConfig):
    """flip: probability that a row's sign flips after it was read. significance: of a difference, in standard
    errors; 0 takes all.
    """

    name: Literal["agad"] = "agad"
    flip: FlipProbability = 0.1
    significance: NonNegativeFloat = 1.0

    def make(self, shape: tuple[int, int], recipe: Recipe | None) -> Agad:
        """See `RuleModel.make`."""
        increment = increment_of(recipe, self.name)
        return Agad(shape, increment, self.transfer, self.rows, self.flip, self.significance)


class Agad(ChoppedRule):
    """The rule for one layer of `shape` (n_in, n_out)."""

    name = "agad"

    def __init__(
        self,
        shape: tuple[int, int],
        increment: IncrementRecipe,
        transfer: float,
        rows: int,
        flip: float,
        significance: float,
    ) -> None:
        super().__init__(shape, increment, transfer, rows, flip)
        self._significance = significance
        # Of the readings of each row since its last flip, and between the two flips before: number, sum, sum of
        # squares.
        self._now, self._before = np.zeros((2, 3, *shape))

    def _kept(self) -> dict[str, NDArray[Any]]:
        """As of `ChoppedRule`, and the sums of readings `now` and `before`, (3, n_in, n_out)."""
        return {**super()._kept(), "now": self._now, "before": self._before}

    def _collected(self, rows: IntArray, fast_S: FloatArray, rng: np.random.Generator) -> FloatArray:
        self._now[:, rows] += np.stack([np.ones_like(fast_S), fast_S, fast_S**2])
        collected = np.zeros(self._shape)
        sign = self._chopper.copy()
        flipped = self._flipped(rows, rng)
        known = flipped[self._before[0, flipped, 0] > 0]
        collected[known] = sign[known, None] * self._difference(known)
        self._before[:, flipped] = self._now[:, flipped]
        self._now[:, flipped] = 0.0
        return collected[rows]

    def _difference(self, rows: IntArray) -> FloatArray:
        """Mean now less mean before, (rows, n_out), 0 where it may be chance. Single readings may always be."""
        mean_now, variance_now = _mean(self._now[:, rows])
        mean_before, variance_before = _mean(self._before[:, rows])
        difference: FloatArray = mean_now - mean_before
        if self._significance == 0:
            return difference
        error = np.sqrt(variance_now + variance_before)
        return np.where(np.abs(difference) >= self._significance * error, difference, 0.0)


def _mean(sums: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The mean of some readings and its variance, from their number, sum and sum of squares."""
    number, total, squares = sums
    mean = total / number
    spread = np.maximum(squares / number - mean**2, 0.0)
    return mean, np.where(number > 1, spread / np.maximum(number - 1, 1), np.inf)
