from __future__ import annotations

import numpy as np
from rule_steps import RESET, SET, errors, pulses, steps_uS

from eapu_hil.hal.recipe import Recipe
from eapu_hil.rules.manhattan import ManhattanConfig


def test_a_step_by_hand(recipe: Recipe) -> None:
    rule = ManhattanConfig().make((3, 1), recipe)
    answer = rule.propose(steps_uS(0.001, 0.0, -50.0), errors(3), np.random.default_rng(0))
    assert pulses(answer) == [
        [(0, "+", SET, 1), (2, "+", RESET, 1)],
        [(0, "-", RESET, 1), (2, "-", SET, 1)],
    ]
