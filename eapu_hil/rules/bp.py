"""Plain backpropagation on the array: every weight is written at every step, whatever the write error.

The baseline that EaPU is compared with: the noise of one write lands on each weight in each step.
"""

from __future__ import annotations

import numpy as np

from eapu_hil.rules.contract import Proposal, Stateless, StepArray, WriteErrors, require_finite


class Bp(Stateless):
    """Proposes the full wanted change of every weight whose step is not 0. Draws nothing at random."""

    name = "bp"

    def propose(self, dg_s: StepArray, errors: WriteErrors, rng: np.random.Generator) -> Proposal:  # noqa: ARG002
        """See `UpdateRule.propose`."""
        require_finite(float(np.abs(dg_s).max(initial=0.0)))
        index = np.flatnonzero(dg_s)
        return Proposal(index, dg_s[index].astype(np.float64))
