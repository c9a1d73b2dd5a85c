from __future__ import annotations

import numpy as np
import pytest
from rule_steps import RESET, SET, errors, pulses, steps_uS

from eapu_hil.hal import HilError
from eapu_hil.hal.recipe import Recipe
from eapu_hil.rules.stellar import StellarConfig


def test_the_votes_by_hand(recipe: Recipe) -> None:
    rule = StellarConfig(theta=1.0, agreement=0.5).make((2, 2), recipe)
    x = np.array([[0.3, -1.0], [2.0, 0.0], [0.1, 5.0]], np.float32)
    # Root mean square 1.65: only errors of at least that count.
    d = np.array([[2.0, -0.1], [3.0, 1.0], [-1.7, 0.2]], np.float32)
    # Input 0 was active in all samples, input 1 in the third: votes +1 +1 -1 and -1. One of three is too few.
    np.testing.assert_array_equal(rule.gradient(x, d), [[0, 0], [0, 0]])
    rule = StellarConfig(theta=1.0, agreement=0.3).make((2, 2), recipe)
    np.testing.assert_array_equal(rule.gradient(x, d), [[1, 0], [-1, 0]])


def test_steps_alternate_between_reset_and_set(recipe: Recipe) -> None:
    rule = StellarConfig().make((2, 2), recipe)
    wanted, rng = steps_uS(-0.1, 0.0, 3.0, 0.0), np.random.default_rng(0)
    # Weight 0 is to fall: RESET of its plus cell. Weight 2 is to rise: RESET of its minus cell.
    assert pulses(rule.propose(wanted, errors(4), rng)) == [[(0, "+", RESET, 1), (2, "-", RESET, 1)]]
    saved = rule.state()
    assert pulses(rule.propose(wanted, errors(4), rng)) == [[(0, "-", SET, 1), (2, "+", SET, 1)]]
    other = StellarConfig().make((2, 2), recipe)
    other.restore(saved)
    assert pulses(other.propose(wanted, errors(4), rng)) == [[(0, "-", SET, 1), (2, "+", SET, 1)]]


def test_state_of_another_rule_is_refused(recipe: Recipe) -> None:
    with pytest.raises(HilError, match="expected"):
        StellarConfig().make((1, 1), recipe).restore({"acc": np.zeros(1)})
