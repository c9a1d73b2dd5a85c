"""Residual accumulation: changes that are not written yet are summed until they reach a threshold.

acc += dG
where |acc| >= kappa * error: write acc, then acc -= the change that was asked for
"""

from __future__ import annotations

import numpy as np

from eapu_hil.rules.base import AccumulatingRule, plain, require_finite
from eapu_hil.rules.contract import Proposal, StepArray, WriteErrors


class ResidualRule(AccumulatingRule):
    """The rule for one layer. kappa: threshold over the write error that it is told."""

    def __init__(self, n_weights: int, *, kappa: float) -> None:
        super().__init__(n_weights)
        self._kappa = np.float32(kappa)

    def propose(self, dg_S: StepArray, errors: WriteErrors, rng: np.random.Generator) -> Proposal:
        """Adds `dg_S` to the accumulator and proposes what has grown large; see `UpdateRule.propose`.

        Deterministic. The accumulator counts the proposal as done.
        """
        from eapu_hil.rules.kernels.residual import (
            owed,
        )  # its compiler takes its time; a configuration needs none

        if not dg_S.shape == errors.up_S.shape == self._acc.shape:
            raise ValueError(
                f"dg_S has {dg_S.shape} weights, errors {errors.up_S.shape}, rule {self._acc.shape}"
            )
        index, step_S = np.empty(dg_S.size, np.int64), np.empty(dg_S.size)
        up_S, down_S = plain(errors.up_S), plain(errors.down_S)
        count, largest_S = owed(
            self._acc, np.ascontiguousarray(dg_S), up_S, down_S, self._kappa, index, step_S
        )
        require_finite(largest_S)
        return Proposal(index[:count].copy(), step_S[:count].copy())
