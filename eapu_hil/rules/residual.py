"""Residual accumulation: changes that are not written yet are summed until they reach a threshold.

acc += dG
where |acc| >= kappa * error: write acc, then acc -= the change that was asked for
"""

from __future__ import annotations

import numpy as np

from eapu_hil.rules.base import AccumulatingRule, require_finite
from eapu_hil.rules.contract import Proposal, StepArray, WriteErrors

_CHUNK = 32_768  # weights worked on at a time, so that the scratch arrays stay in the cache


class ResidualRule(AccumulatingRule):
    """The rule for one layer. kappa: threshold over the write error that it is told."""

    def __init__(self, n_weights: int, *, kappa: float) -> None:
        super().__init__(n_weights)
        self._kappa = np.float32(kappa)
        self._scratch = np.empty(min(n_weights, _CHUNK), np.float32)

    def propose(self, dg_S: StepArray, errors: WriteErrors, rng: np.random.Generator) -> Proposal:
        """Adds `dg_S` to the accumulator and proposes what has grown large; see `UpdateRule.propose`.

        Deterministic. The accumulator counts the proposal as done.
        """
        if not dg_S.shape == errors.up_S.shape == self._acc.shape:
            raise ValueError(
                f"dg_S has {dg_S.shape} weights, errors {errors.up_S.shape}, rule {self._acc.shape}"
            )
        kappa = self._kappa
        found = []
        for start in range(0, dg_S.size, _CHUNK):
            part = slice(start, start + _CHUNK)
            acc = self._acc[part]
            acc += dg_S[part]
            scratch = self._scratch[: acc.size]
            require_finite(float(np.abs(acc, out=scratch).max()))
            hit = acc >= np.multiply(errors.up_S[part], kappa, out=scratch, casting="same_kind")
            hit |= acc <= np.multiply(errors.down_S[part], -kappa, out=scratch, casting="same_kind")
            found.append(np.flatnonzero(hit) + start)
        index = np.concatenate(found) if found else np.empty(0, np.int64)
        step_S = self._acc[index].astype(np.float64)
        # Without any write error the threshold is 0, and an accumulator of 0 has nothing to write.
        index, step_S = index[step_S != 0], step_S[step_S != 0]
        self._acc[index] = 0
        return Proposal(index, step_S)
