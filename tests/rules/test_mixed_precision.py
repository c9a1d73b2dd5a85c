from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_steps import RESET, SET, errors, pulses, steps_uS

from eapu_hil.base.loading import load_model
from eapu_hil.hal.recipe import Recipe
from eapu_hil.rules import BlindPulses
from eapu_hil.rules.mixed_precision import MixedPrecisionConfig

RNG = np.random.default_rng(0)


def test_two_steps_by_hand(recipe: Recipe) -> None:
    rule = MixedPrecisionConfig().make((3, 1), recipe)
    assert pulses(rule.propose(steps_uS(0.7, -2.5, 0.2), errors(3), RNG)) == [
        [(1, "+", RESET, 2)],
        [(1, "-", SET, 2)],
    ]
    np.testing.assert_allclose(rule.state()["acc"], steps_uS(0.7, -0.5, 0.2), atol=1e-12)
    assert pulses(rule.propose(steps_uS(0.7, 0.0, 0.2), errors(3), RNG))[0] == [(0, "+", SET, 1)]
    np.testing.assert_allclose(rule.state()["acc"], steps_uS(0.4, -0.5, 0.4), atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32), pulses_max=st.sampled_from([1, 31]), size_uS=st.sampled_from([0.1, 1.0, 5.0])
)
def test_sent_and_owed_add_up_to_what_was_wanted(seed: int, pulses_max: int, size_uS: float) -> None:
    recipe = load_model(Recipe, "rram_180nm", (), "recipes")
    rng, n = np.random.default_rng(seed), 50
    rule = MixedPrecisionConfig(pulses_max=pulses_max).make((n, 1), recipe)
    wanted, sent = np.zeros((2, n))
    for _ in range(6):
        dg_S = (size_uS * 1e-6 * rng.standard_normal(n)).astype(np.float32)
        wanted += dg_S
        answer = rule.propose(dg_S, errors(n), rng)
        assert isinstance(answer, BlindPulses)
        for train, sign in zip(answer.trains, (1, -1), strict=False):
            sent[train.index] += sign * train.change_S
            assert train.count.max() <= pulses_max
    np.testing.assert_allclose(sent + rule.state()["acc"], wanted, atol=1e-10)


def test_what_was_asked_for_after_a_checkpoint_is_not_asked_for_again(recipe: Recipe) -> None:
    rule = MixedPrecisionConfig().make((2, 1), recipe)
    rule.propose(steps_uS(0.8, 0.0), errors(2), RNG)
    saved = rule.state()
    rule.propose(steps_uS(0.4, 0.0), errors(2), RNG)
    again = MixedPrecisionConfig().make((2, 1), recipe)
    again.restore(saved)
    # Both cells of the pair are on record, half an increment each.
    again.forget(np.array([0, 0]), np.array([0.5e-6, 0.5e-6]))
    np.testing.assert_allclose(again.state()["acc"], steps_uS(-0.2, 0.0), atol=1e-12)
