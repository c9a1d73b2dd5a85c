from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_steps import US, errors, steps_uS

from eapu_hil.rules import Proposal, WriteErrors
from eapu_hil.rules.eapu_deterministic import EapuDeterministicConfig


def test_steps_by_hand() -> None:
    rule, rng = EapuDeterministicConfig().make((3, 1), None), np.random.default_rng(0)
    # The write error, and so the threshold, is 2 uS. 5 uS is written whole; 0.9 uS is due after the third time.
    asked = []
    for _ in range(3):
        answer = rule.propose(steps_uS(0.9, 5.0, -0.1), errors(3), rng)
        assert isinstance(answer, Proposal)
        asked.append(dict(zip(answer.index.tolist(), (answer.step_S / US).round(6).tolist(), strict=True)))
    assert asked == [{1: 5.0}, {1: 5.0}, {0: 2.0, 1: 5.0}]
    np.testing.assert_allclose(rule.state()["acc"], steps_uS(0.7, 0.0, -0.3), atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32), size_uS=st.sampled_from([0.05, 1.0, 6.0]), scale=st.sampled_from([0.5, 2.0])
)
def test_asked_and_owed_add_up_to_what_was_wanted(seed: int, size_uS: float, scale: float) -> None:
    rng, n = np.random.default_rng(seed), 60
    up_S, down_S = rng.uniform(1 * US, 3 * US, (2, n))
    rule = EapuDeterministicConfig(threshold_scale=scale).make((n, 1), None)
    wanted, asked = np.zeros((2, n))
    for _ in range(10):
        dg_S = (size_uS * US * rng.standard_normal(n)).astype(np.float32)
        wanted += dg_S
        answer = rule.propose(dg_S, WriteErrors(up_S, down_S, 1 * US), rng)
        assert isinstance(answer, Proposal)
        asked[answer.index] += answer.step_S
        limit_S = scale * np.where(answer.step_S > 0, up_S[answer.index], down_S[answer.index])
        assert np.all(np.abs(answer.step_S) >= limit_S * (1 - 1e-6))
    np.testing.assert_allclose(asked + rule.state()["acc"], wanted, atol=1e-10)
