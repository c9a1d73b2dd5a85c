"""Plain backpropagation on the array: every weight is written at every step, whatever the write error.

    write dG wherever dG != 0, with verify          [S]

The baseline that EaPU is compared with: the noise of one write lands on each weight in each step. It is the
"original" method of the simulation code of Liu, Shi, Liu et al., Nat. Commun. (2025),
doi 10.1038/s41467-025-66240-7.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from eapu_hil.hal.recipe import Recipe
from eapu_hil.rules.configuration import RuleModel
from eapu_hil.rules.contract import Proposal, Stateless, StepArray, WriteErrors, require_finite


class BpConfig(RuleModel):
    """Every weight at every step, with verify."""

    name: Literal["bp"] = "bp"

    def make(self, shape: tuple[int, int], recipe: Recipe | None) -> Bp:  # noqa: ARG002
        """See `MakesRule.make`."""
        return Bp()


class Bp(Stateless):
    """Proposes the full wanted change of every weight whose step is not 0. Draws nothing at random."""

    name = "bp"

    def propose(self, dg_s: StepArray, errors: WriteErrors, rng: np.random.Generator) -> Proposal:  # noqa: ARG002
        """See `UpdateRule.propose`."""
        require_finite(float(np.abs(dg_s).max(initial=0.0)))
        index = np.flatnonzero(dg_s)
        return Proposal(index, dg_s[index].astype(np.float64))
