"""Manhattan rule: one pulse by the sign of the gradient, whatever its size.

    dG = 2 s sign(dG_wanted)          s: mean change of a cell by one pulse, S

Every weight with a gradient is pulsed in every step. Zamanidoost, Bayat, Strukov, Kataeva, "Manhattan rule training
for memristive crossbar circuit pattern classifiers", WISP 2015; sign backpropagation: Zhang et al., Neural Networks
(2018), doi 10.1016/j.neunet.2018.08.012.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from eapu_hil.base.colours import ORANGE
from eapu_hil.hal.recipe import IncrementRecipe, Recipe
from eapu_hil.rules.base import BaseRule, require_finite
from eapu_hil.rules.contract import BlindPulses, RuleModel, StepArray, WriteErrors
from eapu_hil.rules.pulses import increment_of, push_pull


class ManhattanConfig(RuleModel):
    """The size of a step is that of the recipe's increment."""

    verified: ClassVar[bool] = False
    colour: ClassVar[str | None] = ORANGE

    name: Literal["manhattan"] = "manhattan"

    def make(self, shape: tuple[int, int], recipe: Recipe | None) -> Manhattan:
        """See `RuleModel.make`."""
        return Manhattan(increment_of(recipe, self.name))


class Manhattan(BaseRule):
    """One increment of each weight, by sign. Draws nothing at random."""

    name = "manhattan"

    def __init__(self, increment: IncrementRecipe) -> None:
        self._increment = increment

    def propose(self, dg_S: StepArray, errors: WriteErrors, rng: np.random.Generator) -> BlindPulses:
        """See `UpdateRule.propose`."""
        require_finite(float(np.abs(dg_S).max(initial=0.0)))
        return push_pull(np.sign(dg_S).astype(np.int64), self._increment)
