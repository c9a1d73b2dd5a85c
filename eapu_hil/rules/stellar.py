"""STELLAR: threshold on the output error, signs only, one pulse, SET and RESET steps in turn.

    sx = (x > 0)          e = errors at the layer's output, 0 where |e| < theta          D = sx^T sign(e)
    in turn: a step with RESET only, and one with SET only; one identical pulse without verify to the cell of each
    pair that moves the weight against D

The threshold acts on the error, not on the change of the weight. Zhang et al., Science 381:1205 (2023),
doi 10.1126/science.ade3483, trains with one sample a step. For batches the samples vote: D counts them, and a weight
is pulsed only if |D| is at least `agreement` of them. theta is in units of the root mean square of the batch's
errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat

from eapu_hil.base.colours import ORANGE
from eapu_hil.hal import IntArray, Polarity
from eapu_hil.hal.recipe import IncrementRecipe, Recipe
from eapu_hil.rules.base import BaseRule, require_finite, require_state
from eapu_hil.rules.contract import BlindPulses, RuleModel, State, StepArray, WriteErrors
from eapu_hil.rules.pulses import increment_of, one_way


class StellarConfig(RuleModel):
    """theta: errors below this many root mean squares count as none. agreement: share of the samples, 0 to 1."""

    verified: ClassVar[bool] = False
    colour: ClassVar[str | None] = ORANGE

    name: Literal["stellar"] = "stellar"
    theta: NonNegativeFloat = 1.0
    agreement: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def make(self, shape: tuple[int, int], recipe: Recipe | None) -> Stellar:
        """See `RuleModel.make`."""
        return Stellar(increment_of(recipe, self.name), self.theta, self.agreement)


class Stellar(BaseRule):
    """The rule for one layer. Draws nothing at random."""

    name = "stellar"

    def __init__(self, increment: IncrementRecipe, theta: float, agreement: float) -> None:
        self._increment = increment
        self._theta = theta
        self._agreement = agreement
        self._steps = np.array(0)

    def gradient(self, x: StepArray, d: StepArray) -> StepArray:
        """Votes D, (n_in, n_out), of the samples for a lower weight, 0 where too few agree."""
        least = self._theta * float(np.sqrt(np.mean(d * d)))
        sign = np.where(np.abs(d) >= least, np.sign(d), np.float32(0))
        votes = (x > 0).astype(np.float32).T @ sign
        return np.where(np.abs(votes) >= self._agreement * len(x), votes, np.float32(0))

    def propose(self, dg_S: StepArray, errors: WriteErrors, rng: np.random.Generator) -> BlindPulses:
        """See `UpdateRule.propose`. Only the signs of `dg_S` count."""
        require_finite(float(np.abs(dg_S).max(initial=0.0)))
        polarity = Polarity.RESET if self._steps % 2 == 0 else Polarity.SET
        self._steps += 1
        index: IntArray = np.flatnonzero(dg_S)
        return one_way(index, dg_S[index] > 0, polarity, self._increment)

    def state(self) -> State:
        """`steps`: how many were made; odd and even ones differ."""
        return {"steps": self._steps.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See `UpdateRule.restore`."""
        require_state(self.name, state, {"steps": self._steps})
