"""Accumulation up to a fixed threshold: changes that are not written yet are summed.

    acc += dG          where |acc| >= th: write acc with verify, acc = 0          [S]

The deterministic counterpart of EaPU with one digital number per weight; as `eapu_residual`, but blind to the write
error of the cell. The accumulator is that of mixed-precision training (Nandakumar, Le Gallo et al., Front. Neurosci.
14:406 (2020), doi 10.3389/fnins.2020.00406).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveFloat

from eapu_hil.base.colours import GREEN
from eapu_hil.hal.recipe import Recipe
from eapu_hil.rules.contract import Proposal, RuleModel, StepArray, WriteErrors
from eapu_hil.rules.residual import ResidualRule


class ThresholdAccumulateConfig(RuleModel):
    """threshold_uS: the sum that is written, uS."""

    colour: ClassVar[str | None] = GREEN

    name: Literal["threshold_accumulate"] = "threshold_accumulate"
    threshold_uS: PositiveFloat = 4.0

    def make(self, shape: tuple[int, int], recipe: Recipe | None) -> ThresholdAccumulate:
        """See `RuleModel.make`."""
        return ThresholdAccumulate(shape[0] * shape[1], self.threshold_uS * 1e-6)


class ThresholdAccumulate(ResidualRule):
    """The rule for one layer. threshold_S: the same for all weights, S. Draws nothing at random."""

    name = "threshold_accumulate"

    def __init__(self, n_weights: int, threshold_S: float) -> None:
        super().__init__(n_weights, kappa=1.0)
        self._threshold = WriteErrors.uniform(threshold_S, n_weights)

    def propose(self, dg_S: StepArray, errors: WriteErrors, rng: np.random.Generator) -> Proposal:
        """See `UpdateRule.propose`."""
        return super().propose(dg_S, self._threshold, rng)
