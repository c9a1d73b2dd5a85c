"""Every weight is written with verify at every step, whatever the write error."""

from __future__ import annotations

import numpy as np

from eapu_hil.rules.base import BaseRule, require_finite
from eapu_hil.rules.contract import Proposal, StepArray, WriteErrors


class EveryWeightRule(BaseRule):
    """Proposes the full wanted change of every weight whose step is not 0. Draws nothing at random."""

    def propose(self, dg_S: StepArray, errors: WriteErrors, rng: np.random.Generator) -> Proposal:
        """See `UpdateRule.propose`."""
        require_finite(float(np.abs(dg_S).max(initial=0.0)))
        index = np.flatnonzero(dg_S)
        return Proposal(index, dg_S[index].astype(np.float64))
