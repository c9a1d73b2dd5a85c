"""EaPU without chance: small changes are summed up until they make one write of threshold size.

    |dG| >= th          write dG
    |dG| <  th          acc += dG;  where |acc| >= th: write sign(acc) th, acc -= sign(acc) th          [S]

th: the measured write error of the cell that would be written. The mean is EaPU's (Liu, Shi, Liu et al., Nat. Commun.
(2025), doi 10.1038/s41467-025-66240-7); the writes of one weight keep equal distances instead of falling at random, for
one digital number per weight. Sigma-delta modulation does the same to signals.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveFloat

from eapu_hil.base.colours import GREEN
from eapu_hil.hal.recipe import Recipe
from eapu_hil.rules.base import AccumulatingRule, require_finite
from eapu_hil.rules.contract import Proposal, RuleModel, StepArray, WriteErrors


class EapuDeterministicConfig(RuleModel):
    """threshold_scale: threshold over measured write error."""

    error_aware: ClassVar[bool] = True
    colour: ClassVar[str | None] = GREEN

    name: Literal["eapu_deterministic"] = "eapu_deterministic"
    threshold_scale: PositiveFloat = 1.0

    def make(self, shape: tuple[int, int], recipe: Recipe | None) -> EapuDeterministic:
        """See `RuleModel.make`."""
        return EapuDeterministic(shape[0] * shape[1], self.threshold_scale)


class EapuDeterministic(AccumulatingRule):
    """The rule for one layer. threshold_scale: threshold over measured write error."""

    name = "eapu_deterministic"

    def __init__(self, n_weights: int, threshold_scale: float) -> None:
        super().__init__(n_weights)
        self._scale = threshold_scale

    def propose(self, dg_S: StepArray, errors: WriteErrors, rng: np.random.Generator) -> Proposal:
        """See `UpdateRule.propose`."""
        require_finite(float(np.abs(dg_S).max(initial=0.0)))
        acc = self._acc
        threshold_S = self._scale * np.where(dg_S > 0, errors.up_S, errors.down_S)
        large = np.abs(dg_S) >= threshold_S
        np.add(acc, dg_S, out=acc, where=~large)
        owed_S = self._scale * np.where(acc > 0, errors.up_S, errors.down_S)
        due = ~large & (np.abs(acc) >= owed_S)
        step_S = np.where(large, dg_S, np.where(due, np.copysign(owed_S, acc), 0.0))
        np.subtract(acc, step_S, out=acc, where=due, casting="same_kind")
        index = np.flatnonzero(step_S)
        return Proposal(index, step_S[index].astype(np.float64))
