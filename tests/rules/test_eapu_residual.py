"""Residual accumulation: nothing is lost, nothing is asked for twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eapu_hil.hal import HilError
from eapu_hil.rules import UpdateRule, WriteErrors
from eapu_hil.rules.eapu_residual import EapuResidualConfig

US = 1e-6
N = 70_000  # more than one chunk


def rule_for(n_weights: int, kappa: float = 3.0) -> UpdateRule:
    return EapuResidualConfig(kappa=kappa).make((n_weights, 1), None)


@settings(max_examples=40, deadline=None)
@given(
    n=st.sampled_from([1, 7, N]),
    steps=st.integers(1, 12),
    size_uS=st.sampled_from([0.01, 0.5, 3.0, 20.0]),
    kappa=st.sampled_from([0.5, 1.5, 3.0]),
    seed=st.integers(0, 2**32),
)
def test_asked_and_owed_add_up_to_what_was_wanted(
    n: int, steps: int, size_uS: float, kappa: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    up_S, down_S = rng.uniform(1 * US, 3 * US, (2, n)).astype(np.float32)
    errors = WriteErrors(up_S, down_S, 1 * US)
    rule = rule_for(n, kappa)
    wanted, asked = np.zeros((2, n))
    for _ in range(steps):
        dg_S = (size_uS * US * rng.standard_normal(n)).astype(np.float32)
        before = rule.state()["acc"].astype(float) + dg_S
        proposal = rule.propose(dg_S, errors, rng)
        wanted += dg_S
        asked[proposal.index] += proposal.step_S
        assert np.all(np.diff(proposal.index) > 0)
        # What is written had reached its own threshold, what is not had not (to float32 rounding).
        ratio = np.abs(before) / (kappa * np.where(before > 0, up_S, down_S))
        written = np.zeros(n, bool)
        written[proposal.index] = True
        assert np.all(ratio[written] > 1 - 1e-5)
        assert np.all(ratio[~written] < 1 + 1e-5)
        np.testing.assert_allclose(proposal.step_S, before[proposal.index], rtol=1e-5)
        assert np.all(rule.state()["acc"][written] == 0)
    largest = max(float(np.abs(wanted).max()), size_uS * US, 9 * US)
    np.testing.assert_allclose(asked + rule.state()["acc"], wanted, atol=steps * 1e-6 * largest)


def test_a_small_steady_change_is_written_whole_after_a_while() -> None:
    rule, errors, rng = rule_for(1), WriteErrors.uniform(2 * US, 1), np.random.default_rng(0)
    writes = []
    for step in range(130):
        proposal = rule.propose(np.full(1, 0.11 * US, np.float32), errors, rng)
        if proposal.index.size:
            writes.append((step, float(proposal.step_S[0])))
    # 55 steps of 0.11 uS are the first to reach 3 x 2 uS.
    assert [step for step, _ in writes] == [54, 109]
    assert [size for _, size in writes] == pytest.approx([6.05 * US, 6.05 * US], rel=1e-5)


def test_up_and_down_have_their_own_error() -> None:
    errors = WriteErrors(np.full(4, 1 * US), np.full(4, 2 * US), 1 * US)
    dg_S = np.array([3.1, -3.1, -6.1, 2.9], np.float32) * np.float32(US)
    proposal = rule_for(4).propose(dg_S, errors, np.random.default_rng(0))
    assert proposal.index.tolist() == [0, 2]


def test_without_write_error_only_changes_are_written() -> None:
    dg_S = np.array([0, 1e-12, -3e-6], np.float32)
    proposal = rule_for(3).propose(dg_S, WriteErrors.uniform(0.0, 3), np.random.default_rng(0))
    assert proposal.index.tolist() == [1, 2]
    assert np.array_equal(proposal.step_S, dg_S[1:].astype(float))


def test_draws_nothing_at_random() -> None:
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    rule_for(3).propose(np.ones(3, np.float32), WriteErrors.uniform(2 * US, 3), rng)
    assert rng.bit_generator.state == before


def test_after_a_crash_what_was_asked_is_not_asked_again() -> None:
    """A rule restored from a checkpoint and told of the later writes catches up with the one that never stopped."""
    rng = np.random.default_rng(8)
    errors = WriteErrors.uniform(2 * US, 50)
    steps = (2.0 * US * rng.standard_normal((40, 50)) + 0.5 * US).astype(np.float32)
    whole = rule_for(50)
    for dg_S in steps[:20]:
        whole.propose(dg_S, errors, rng)
    checkpoint = whole.state()
    asked = [whole.propose(dg_S, errors, rng) for dg_S in steps[20:30]]
    index = np.concatenate([proposal.index for proposal in asked])
    step_S = np.concatenate([proposal.step_S for proposal in asked])
    assert np.unique(index).size < index.size  # some were written more than once

    resumed = rule_for(50)
    resumed.restore(checkpoint)
    resumed.forget(index, step_S)
    again = np.zeros(50)
    for dg_S in steps[20:30]:
        proposal = resumed.propose(dg_S, errors, rng)
        again[proposal.index] += proposal.step_S
    np.testing.assert_allclose(resumed.state()["acc"] + again, whole.state()["acc"], atol=1e-11)


def test_state_is_a_copy_and_restores_exactly() -> None:
    errors = WriteErrors.uniform(2 * US, 3)
    rng = np.random.default_rng(0)
    dg_S = np.array([1, -2, 3], np.float32) * np.float32(US)
    one, other = rule_for(3), rule_for(3)
    one.propose(dg_S, errors, rng)
    state = one.state()
    one.propose(dg_S, errors, rng)
    assert np.array_equal(state["acc"], dg_S)
    other.restore(state)
    other.propose(dg_S, errors, rng)
    assert np.array_equal(other.state()["acc"], one.state()["acc"])


@pytest.mark.parametrize("state", [{}, {"acc": np.zeros(4)}, {"acc": np.zeros(3), "more": np.zeros(3)}])
def test_a_foreign_checkpoint_is_refused(state: dict[str, np.ndarray]) -> None:
    with pytest.raises(HilError, match="eapu_residual"):
        rule_for(3).restore(state)


def test_a_diverged_step_is_refused() -> None:
    dg_S = np.array([0, np.nan, 0], np.float32)
    with pytest.raises(HilError, match="a change that is not finite"):
        rule_for(3).propose(dg_S, WriteErrors.uniform(2 * US, 3), np.random.default_rng(0))


def test_a_wrong_number_of_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="weights"):
        rule_for(3).propose(np.zeros(4, np.float32), WriteErrors.uniform(2 * US, 4), np.random.default_rng(0))
