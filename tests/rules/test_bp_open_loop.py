from __future__ import annotations

import numpy as np
import pytest
from rule_steps import RESET, SET, errors, pulses, steps_uS

from eapu_hil.base.loading import load_model
from eapu_hil.hal import ConfigError, HilError
from eapu_hil.hal.recipe import Recipe
from eapu_hil.rules import BlindPulses
from eapu_hil.rules.bp_open_loop import BpOpenLoopConfig

RNG = np.random.default_rng(0)


def test_a_step_by_hand(recipe: Recipe) -> None:
    # An increment of a pair is 1 uS: 2.4 rounds to 2, -0.6 to -1, 0.4 to none, 9 is cut to 3.
    rule = BpOpenLoopConfig(pulses_max=3).make((4, 1), recipe)
    answer = rule.propose(steps_uS(2.4, -0.6, 0.4, 9.0), errors(4), RNG)
    assert pulses(answer) == [
        [(0, "+", SET, 2), (1, "+", RESET, 1), (3, "+", SET, 3)],
        [(0, "-", RESET, 2), (1, "-", SET, 1), (3, "-", RESET, 3)],
    ]
    assert isinstance(answer, BlindPulses)
    plus, minus = answer.trains
    np.testing.assert_allclose(plus.change_S, np.array([1.0, -0.5, 1.5]) * 1e-6)
    np.testing.assert_allclose(plus.change_S, -minus.change_S)
    assert recipe.increment is not None
    assert plus.amplitude_v.tolist() == [1.1, 1.1, 1.1]
    assert plus.gate_v.tolist() == [1.7, 4.0, 1.7]


def test_nothing_to_do_sends_nothing(recipe: Recipe) -> None:
    rule = BpOpenLoopConfig().make((2, 1), recipe)
    assert pulses(rule.propose(steps_uS(0.0, 0.4), errors(2), RNG)) == []


def test_a_step_that_is_not_finite_is_an_error(recipe: Recipe) -> None:
    rule = BpOpenLoopConfig().make((1, 1), recipe)
    with pytest.raises(HilError, match="a change that is not finite"):
        rule.propose(steps_uS(np.nan), errors(1), RNG)


def test_a_recipe_without_increments_is_refused() -> None:
    for recipe in (None, load_model(Recipe, "pcm", (), "recipes")):
        with pytest.raises(ConfigError, match=r"no `increment`.*pulse_response"):
            BpOpenLoopConfig().make((1, 1), recipe)
