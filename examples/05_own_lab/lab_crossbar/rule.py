"""The lab's rule: changes are collected, and every `every` steps those are written that have grown large enough.

acc += dG
at every `every`-th step, where |acc| >= threshold:  write acc, acc = 0          [S]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt

from eapu_hil.hal.recipe import Recipe
from eapu_hil.rules import AccumulatingRule, Proposal, RuleModel, WriteErrors, require_finite, require_state
from eapu_hil.rules.contract import State, StepArray


class PatientConfig(RuleModel):
    """threshold_uS: the smallest change that is written, uS. every: steps between two writes."""

    colour: ClassVar[str | None] = "#8a5a00"

    name: Literal["patient"] = "patient"
    threshold_uS: PositiveFloat = 2.0
    every: PositiveInt = 5

    def make(self, shape: tuple[int, int], recipe: Recipe | None) -> Patient:
        """See `RuleModel.make`."""
        return Patient(shape[0] * shape[1], self.threshold_uS * 1e-6, self.every)


class Patient(AccumulatingRule):
    """The rule for one layer."""

    name = "patient"

    def __init__(self, n_weights: int, threshold_S: float, every: int) -> None:
        super().__init__(n_weights)
        self._threshold_S = np.float32(threshold_S)
        self._every = every
        self._steps = np.zeros(1, np.int64)

    def propose(
        self,
        dg_S: StepArray,
        errors: WriteErrors,
        rng: np.random.Generator,
    ) -> Proposal:
        """See `UpdateRule.propose`."""
        self._acc += dg_S
        require_finite(float(np.abs(self._acc).max(initial=0.0)))
        self._steps += 1
        if self._steps[0] % self._every:
            return Proposal(np.empty(0, np.int64), np.empty(0))
        index = np.flatnonzero(np.abs(self._acc) >= self._threshold_S)
        step_S = self._acc[index].astype(np.float64)
        self._acc[index] = 0
        return Proposal(index, step_S)

    def state(self) -> State:
        return {"acc": self._acc.copy(), "steps": self._steps.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See `UpdateRule.restore`."""
        require_state(self.name, state, {"acc": self._acc, "steps": self._steps})
