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
    """threshold_us: the smallest change that is written, uS."""

    colour: ClassVar[str | None] = VERMILLION

    name: Literal["dead_zone"] = "dead_zone"
    threshold_us: PositiveFloat = 0.5

    def make(self, shape: tuple[int, int], recipe: Recipe | None) -> DeadZone:  # noqa: ARG002
        """See `RuleModel.make`."""
        return DeadZone(self.threshold_us * 1e-6)


class DeadZone(BaseRule):
    """threshold_s: the smallest change that is written, S."""

    name = "dead_zone"

    def __init__(self, threshold_s: float) -> None:
        self._threshold_s = np.float32(threshold_s)

    def propose(self, dg_s: StepArray, errors: WriteErrors, rng: np.random.Generator) -> Proposal:  # noqa: ARG002
        """See `UpdateRule.propose`."""
        size_s = np.abs(dg_s)
        require_finite(float(size_s.max(initial=0.0)))
        index = np.flatnonzero(size_s >= self._threshold_s)
        return Proposal(index, dg_s[index].astype(np.float64))
