"""Backpropagation with identical pulses and no verify.

    n = round(dG / (2 s))          s: mean change of a cell by one pulse, S
    |n| pulses to each cell of the pair, one up and one down

A change of less than half an increment of the pair is not made. Accumulated identical pulses follow a curve that
saturates at both ends of the window (Chen, Peng, Yu, NeuroSim, doi 10.1109/TCAD.2018.2789723).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveInt

from eapu_hil.base.colours import ORANGE
from eapu_hil.hal.recipe import IncrementRecipe, Recipe
from eapu_hil.rules.base import BaseRule
from eapu_hil.rules.contract import BlindPulses, RuleModel, StepArray, WriteErrors
from eapu_hil.rules.pulses import increment_of, push_pull, steps_of


class BpOpenLoopConfig(RuleModel):
    """pulses_max: most pulses to one cell in a step."""

    verified: ClassVar[bool] = False
    colour: ClassVar[str | None] = ORANGE

    name: Literal["bp_open_loop"] = "bp_open_loop"
    pulses_max: PositiveInt = 31

    def make(self, shape: tuple[int, int], recipe: Recipe | None) -> BpOpenLoop:
        """See `RuleModel.make`."""
        return BpOpenLoop(increment_of(recipe, self.name), self.pulses_max)


class BpOpenLoop(BaseRule):
    """Rounds every wanted change to whole increments. Draws nothing at random."""

    name = "bp_open_loop"

    def __init__(self, increment: IncrementRecipe, pulses_max: int) -> None:
        self._increment = increment
        self._pulses_max = pulses_max

    def propose(self, dg_S: StepArray, errors: WriteErrors, rng: np.random.Generator) -> BlindPulses:
        """See `UpdateRule.propose`."""
        count = np.rint(steps_of(dg_S, self._increment.step_S)).astype(np.int64)
        return push_pull(np.clip(count, -self._pulses_max, self._pulses_max), self._increment)
