from __future__ import annotations

import numpy as np
from rule_steps import RESET, SET, errors, pulses, steps_uS

from eapu_hil.hal.recipe import Recipe
from eapu_hil.rules import BlindPulses
from eapu_hil.rules.stochastic_sparse_momentum import StochasticSparseMomentumConfig


def test_a_step_by_hand(recipe: Recipe) -> None:
    # delta is 1 uS: what is larger is one step for certain, 0.3 uS one in three tenths of the cases.
    rule = StochasticSparseMomentumConfig().make((4, 1), recipe)
    u = np.random.default_rng(5).random(4)
    written = [0, 1] + ([2] if u[2] < 0.3 else []) + ([3] if u[3] < 0.9 else [])
    answer = rule.propose(steps_uS(2.0, -1.0, 0.3, 0.9), errors(4), np.random.default_rng(5))
    assert [one[0] for one in pulses(answer)[0]] == written
    assert pulses(answer)[0][:2] == [(0, "+", SET, 1), (1, "+", RESET, 1)]


def test_the_mean_of_many_draws_is_the_wanted_change(recipe: Recipe) -> None:
    n = 40_000
    rule = StochasticSparseMomentumConfig().make((n, 1), recipe)
    answer = rule.propose(np.full(n, -0.25e-6, np.float32), errors(n), np.random.default_rng(1))
    assert isinstance(answer, BlindPulses)
    applied_S = sum(np.abs(train.change_S).sum() for train in answer.trains) / n
    # Binomial: standard error sqrt(.25 * .75 / n) = 0.002 increments.
    assert abs(applied_S - 0.25e-6) < 5 * 0.0022e-6
