from __future__ import annotations

import numpy as np
import pytest
from rule_steps import RESET, SET, US, errors, pulses, steps_uS

from eapu_hil.hal import ConfigError
from eapu_hil.hal.recipe import Recipe
from eapu_hil.rules import BlindPulses
from eapu_hil.rules.two_pulse import TwoPulseConfig


def test_a_step_by_hand(recipe: Recipe) -> None:
    rule = TwoPulseConfig(threshold_uS=0.5).make((3, 1), recipe)
    answer = rule.propose(steps_uS(4.0, -1.0, 0.5), errors(3), np.random.default_rng(0))
    # First a full RESET of the cell of each pair that falls, then a SET of both; 0.5 uS is skipped.
    assert pulses(answer) == [
        [(1, "+", RESET, 1), (0, "-", RESET, 1)],
        [(0, "+", SET, 1), (1, "+", SET, 1), (0, "-", SET, 1), (1, "-", SET, 1)],
    ]
    assert isinstance(answer, BlindPulses)
    erase, write = answer.trains
    assert erase.amplitude_v.tolist() == [recipe.reset.amplitude.stop_v] * 2
    assert erase.change_S.tolist() == [0.0, 0.0]
    np.testing.assert_allclose(write.change_S, np.array([2.0, -0.5, -2.0, 0.5]) * US, rtol=1e-6)
    assert np.isnan(write.gate_v).all()  # from the recipe's line, for what the cell is to hold


def test_it_needs_a_recipe() -> None:
    with pytest.raises(ConfigError, match="gate voltages"):
        TwoPulseConfig().make((1, 1), None)
