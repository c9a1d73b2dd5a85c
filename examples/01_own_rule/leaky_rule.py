"""A rule of your own: small changes are summed and slowly forgotten; a large sum is written.

    acc = (1 - leak) acc + dG          where |acc| >= threshold: write acc with verify, acc = 0          [S]

It is called `leaky_rule:LeakyConfig` in an experiment file, and is used with `--allow-module leaky_rule`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat

from eapu_hil.hal.recipe import Recipe
from eapu_hil.rules import AccumulatingRule, Proposal, RuleModel, WriteErrors, require_finite


class LeakyConfig(RuleModel):
    """The keys of the rule in an experiment file.

    leak: share of the sum that is forgotten in a step. threshold_uS: the sum that is written, uS.
    """

    colour: ClassVar[str | None] = "#CC79A7"  # in figures; the other properties keep their defaults

    leak: Annotated[float, Field(ge=0, lt=1)] = 0.01
    threshold_uS: PositiveFloat = 3.0

    def make(self, shape: tuple[int, int], recipe: Recipe | None) -> Leaky:
        """A fresh rule for one layer of `shape` (n_in, n_out)."""
        return Leaky(shape[0] * shape[1], self.leak, self.threshold_uS * 1e-6)


class Leaky(AccumulatingRule):
    """The rule for one layer. Its base keeps `_acc`, the sum for each weight, in the checkpoints of a run."""

    name = "leaky"

    def __init__(self, n_weights: int, leak: float, threshold_S: float) -> None:
        super().__init__(n_weights)
        self._kept_share = np.float32(1 - leak)
        self._threshold_S = threshold_S

    def propose(
        self,
        dg_S: NDArray[np.float32],
        errors: WriteErrors,
        rng: np.random.Generator,
    ) -> Proposal:
        """The weights that are written in this step, and by how much, S."""
        self._acc *= self._kept_share
        self._acc += dg_S
        require_finite(float(np.abs(self._acc).max(initial=0.0)))
        index = np.flatnonzero(np.abs(self._acc) >= self._threshold_S)
        step_S = self._acc[index].astype(np.float64)
        self._acc[index] = 0
        return Proposal(index, step_S)
