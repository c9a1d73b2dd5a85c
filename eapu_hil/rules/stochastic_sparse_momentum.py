"""Stochastic sparse update with momentum: one increment at random, with the probability that keeps the mean right.

    P(write) = min(1, |dG| / delta)          dG from a gradient with momentum; delta = 2 s, one increment of the pair
    then one pulse to each cell of the pair, by the sign of dG, without verify

EaPU's closest relative: there the step is tied to the measured write error, a larger change is written whole, and
writes are verified. Wang, Wu, Zhang, Tian, Shi, arXiv 1906.02393; of its four parts this is the sparse update with
momentum (the optimizer's); the formula is our reading of its abstract.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from eapu_hil.base.colours import ORANGE
from eapu_hil.hal.recipe import IncrementRecipe, Recipe
from eapu_hil.rules.base import BaseRule
from eapu_hil.rules.contract import BlindPulses, RuleModel, StepArray, WriteErrors
from eapu_hil.rules.pulses import increment_of, push_pull, steps_of


class StochasticSparseMomentumConfig(RuleModel):
    """The size of a step is that of the recipe's increment, the momentum the optimizer's."""

    verified: ClassVar[bool] = False
    colour: ClassVar[str | None] = ORANGE

    name: Literal["stochastic_sparse_momentum"] = "stochastic_sparse_momentum"

    def make(self, shape: tuple[int, int], recipe: Recipe | None) -> StochasticSparseMomentum:
        """See `RuleModel.make`."""
        return StochasticSparseMomentum(increment_of(recipe, self.name))


class StochasticSparseMomentum(BaseRule):
    """One increment of some weights, at random."""

    name = "stochastic_sparse_momentum"

    def __init__(self, increment: IncrementRecipe) -> None:
        self._increment = increment

    def propose(self, dg_S: StepArray, errors: WriteErrors, rng: np.random.Generator) -> BlindPulses:
        """See `UpdateRule.propose`."""
        steps = steps_of(dg_S, self._increment.step_S)
        count = np.where(rng.random(steps.size) < np.abs(steps), np.sign(steps), 0).astype(np.int64)
        return push_pull(count, self._increment)
