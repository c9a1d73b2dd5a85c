"""Mixed precision: the host accumulates, and sends whole increments without verify.

    chi += dG          n = trunc(chi / (2 s))          |n| pulses to each cell of the pair          chi -= n 2 s

s: mean change of a cell by one pulse, S; 2 s is the granularity of the pair. Nandakumar, Le Gallo et al., Front.
Neurosci. 14:406 (2020), doi 10.3389/fnins.2020.00406.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveInt

from eapu_hil.base.colours import ORANGE
from eapu_hil.hal.recipe import IncrementRecipe, Recipe
from eapu_hil.rules.base import AccumulatingRule
from eapu_hil.rules.contract import BlindPulses, RuleModel, StepArray, WriteErrors
from eapu_hil.rules.pulses import increment_of, push_pull, steps_of


class MixedPrecisionConfig(RuleModel):
    """pulses_max: most pulses to one cell in a step; the rest stays in the accumulator."""

    verified: ClassVar[bool] = False
    colour: ClassVar[str | None] = ORANGE

    name: Literal["mixed_precision"] = "mixed_precision"
    pulses_max: PositiveInt = 31

    def make(self, shape: tuple[int, int], recipe: Recipe | None) -> MixedPrecision:
        """See `RuleModel.make`."""
        return MixedPrecision(shape[0] * shape[1], increment_of(recipe, self.name), self.pulses_max)


class MixedPrecision(AccumulatingRule):
    """The rule for one layer. Draws nothing at random."""

    name = "mixed_precision"

    def __init__(self, n_weights: int, increment: IncrementRecipe, pulses_max: int) -> None:
        super().__init__(n_weights)
        self._increment = increment
        self._pulses_max = pulses_max

    def propose(self, dg_S: StepArray, errors: WriteErrors, rng: np.random.Generator) -> BlindPulses:
        """See `UpdateRule.propose`. The accumulator counts the pulses as if each made its mean change."""
        self._acc += dg_S
        count = np.trunc(steps_of(self._acc, self._increment.step_S)).astype(np.int64)
        count = np.clip(count, -self._pulses_max, self._pulses_max)
        self._acc -= (count * (2 * self._increment.step_S)).astype(np.float32)
        return push_pull(count, self._increment)
