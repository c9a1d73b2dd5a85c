"""Dead zone: a change as large as the threshold is written, a smaller one is lost.

    write dG where |dG| >= th, else nothing          [S]

Biased: steps that are always small never reach the array. It is the variant that the simulation code of Liu,
Shi, Liu et al., Nat. Commun. (2025), doi 10.1038/s41467-025-66240-7, keeps beside the random one.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveFloat

from eapu_hil.base.colours import VERMILLION
from eapu_hil.hal.recipe import Recipe
from eapu_hil.rules.base import BaseRule, require_finite
from eapu_hil.rules.contract import Proposal, RuleModel, StepArray, WriteErrors


class DeadZoneConfig(RuleModel):
    """threshold_uS: the smallest change that is written, uS."""

    colour: ClassVar[str | None] = VERMILLION

    name: Literal["dead_zone"] = "dead_zone"
    threshold_uS: PositiveFloat = 0.5

    def make(self, shape: tuple[int, int], recipe: Recipe | None) -> DeadZone:
        """See `RuleModel.make`."""
        return DeadZone(self.threshold_uS * 1e-6)


class DeadZone(BaseRule):
    """threshold_S: the smallest change that is written, S."""

    name = "dead_zone"

    def __init__(self, threshold_S: float) -> None:
        self._threshold_S = np.float32(threshold_S)

    def propose(self, dg_S: StepArray, errors: WriteErrors, rng: np.random.Generator) -> Proposal:
        """See `UpdateRule.propose`."""
        size_S = np.abs(dg_S)
        require_finite(float(size_S.max(initial=0.0)))
        index = np.flatnonzero(size_S >= self._threshold_S)
        return Proposal(index, dg_S[index].astype(np.float64))
