"""The EaPU rule against its closed form (facts of the rule: mean dG, Var = |dG| (th + sigma^2/th) - dG^2)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from eapu_hil.hal import HilError
from eapu_hil.rules import (
    Proposal,
    RuleConfig,
    WriteErrors,
)
from eapu_hil.rules.digital import DigitalConfig
from eapu_hil.rules.eapu import EapuConfig
from eapu_hil.rules.eapu_residual import EapuResidualConfig

US = 1e-6
N = 400_000  # several chunks, and not a whole number of them


def draw(dg_S: np.ndarray, errors: WriteErrors, seed: int = 1, **keys: float) -> np.ndarray:
    """The change asked for, 0 where nothing is written, shape of `dg_S`."""
    dg_S = np.asarray(dg_S, np.float32)
    rule = EapuConfig(**keys).make((dg_S.size, 1), None)
    proposal = rule.propose(dg_S, errors, np.random.default_rng(seed))
    return dense(proposal, dg_S.size)


def dense(proposal: Proposal, n_weights: int) -> np.ndarray:
    assert np.all(np.diff(proposal.index) > 0)
    asked = np.zeros(n_weights)
    asked[proposal.index] = proposal.step_S
    return asked


def naive(dg_S: np.ndarray, threshold_S: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The rule in its textbook form: one uniform number for every weight."""
    magnitude = np.abs(dg_S.astype(np.float64))
    write = (magnitude >= rng.random(dg_S.size) * threshold_S) & (dg_S != 0)
    return np.where(write, np.copysign(np.maximum(magnitude, threshold_S), dg_S), 0.0)


def within(value: float, expected: float, sd: float, sigmas: float = 5.0) -> None:
    assert abs(value - expected) <= sigmas * sd, (
        f"{value} is {abs(value - expected) / sd:.1f} sd from {expected}"
    )


# Below, at and above the rate where the rule changes from candidates to a number for every weight, and above th.
@pytest.mark.parametrize("dg_uS", [0.0004, 0.02, 0.1, 0.13, 1.0, 1.9, 2.0, 3.0, -0.02, -1.0])
@pytest.mark.parametrize("threshold_uS", [0.5, 2.0, 4.0])
def test_mean_and_variance_follow_the_closed_form(dg_uS: float, threshold_uS: float) -> None:
    sigma_S = 2 * US
    dg_S = float(np.float32(dg_uS * US))
    th_S = threshold_uS * US
    rng = np.random.default_rng(7)
    errors = WriteErrors.uniform(1 * US, N)  # must not matter: the threshold is fixed
    asked = draw(np.full(N, dg_S), errors, threshold_uS=threshold_uS)
    applied = asked + np.where(asked != 0, sigma_S * rng.standard_normal(N), 0.0)
    size = abs(dg_S)
    if size >= th_S:
        variance = sigma_S**2
        assert np.all(asked == dg_S)
    else:
        variance = size * (th_S + sigma_S**2 / th_S) - size**2
    within(float(applied.mean()), dg_S, np.sqrt(variance / N))
    # sd of a sample variance from the fourth central moment of the mixture of 0 and N(+-max(dG, th), sigma)
    p, step = min(1.0, size / th_S), max(size, th_S) - size
    fourth = p * (step**4 + 6 * step**2 * sigma_S**2 + 3 * sigma_S**4) + (1 - p) * size**4
    within(float(applied.var()), variance, np.sqrt((fourth - variance**2) / N))


def test_threshold_at_the_error_is_never_noisier_than_writing_always() -> None:
    sigma_S = 2 * US
    errors = WriteErrors.uniform(sigma_S, N)
    rng = np.random.default_rng(3)
    for dg_uS in (0.02, 0.5, 1.0, 1.9):
        asked = draw(np.full(N, dg_uS * US), errors)
        applied = asked + np.where(asked != 0, sigma_S * rng.standard_normal(N), 0.0)
        assert applied.var() < sigma_S**2


def test_every_weight_has_its_own_threshold_for_each_direction() -> None:
    rng = np.random.default_rng(5)
    up_S, down_S = rng.uniform(1 * US, 4 * US, (2, 6))
    up, down = np.tile(up_S, N // 6), np.tile(down_S, N // 6)
    errors = WriteErrors(up, down, 1 * US)
    for sign, own in ((1, up_S), (-1, down_S)):
        for size in (0.03 * US, 0.8 * US):
            asked = draw(np.full(up.size, sign * size), errors).reshape(-1, 6)
            for k in range(6):
                written = asked[:, k][asked[:, k] != 0]
                assert np.unique(written) == pytest.approx(sign * own[k], rel=1e-12)
                p = size / own[k]
                within(written.size, p * asked.shape[0], np.sqrt(p * (1 - p) * asked.shape[0]))


def test_threshold_scale_multiplies_the_write_error() -> None:
    asked = draw(np.full(N, 0.02 * US), WriteErrors.uniform(2 * US, N), threshold_scale=1.5)
    assert np.unique(asked) == pytest.approx([0, 3 * US])
    within(np.count_nonzero(asked), N * 0.02 / 3, np.sqrt(N * 0.02 / 3))


def test_changes_beyond_the_threshold_are_all_written_unclipped() -> None:
    rng = np.random.default_rng(2)
    dg_S = (rng.uniform(2, 50, N) * US * rng.choice([-1, 1], N)).astype(np.float32)
    assert np.array_equal(draw(dg_S, WriteErrors.uniform(2 * US, N)), dg_S)


def test_fraction_written_is_the_mean_probability_for_mixed_sizes() -> None:
    rng = np.random.default_rng(11)
    # Heavy tails: most weights are candidates at a low rate, some chunks hold steps far above the threshold.
    dg_S = (0.002 * US * rng.standard_t(1.5, N)).astype(np.float32)
    dg_S[:100_000] *= 0.01
    dg_S[120_000] = 9 * US
    probability = np.minimum(1, np.abs(dg_S.astype(float)) / (2 * US))
    expected, variance = probability.sum(), (probability * (1 - probability)).sum()
    counts = [np.count_nonzero(draw(dg_S, WriteErrors.uniform(2 * US, N), seed)) for seed in range(8)]
    within(float(np.sum(counts)), 8 * expected, np.sqrt(8 * variance))


@pytest.mark.parametrize("size_uS", [0.02, 0.4, 2.0])
def test_agrees_with_the_textbook_form_in_distribution(size_uS: float) -> None:
    """Count of writes per weight over many draws: compared weight by weight through a chi-square distance."""
    n, draws = 4096, 600
    rng = np.random.default_rng(13)
    dg_S = (size_uS * US * rng.standard_normal(n)).astype(np.float32)
    up_S, down_S = rng.uniform(1.5 * US, 3 * US, (2, n))
    errors = WriteErrors(up_S, down_S, 1.5 * US)
    threshold_S = np.where(dg_S > 0, up_S, down_S)
    rule = EapuConfig().make((n, 1), None)
    thinned, plain = np.zeros((2, n))
    totals = np.zeros((2, draws))
    for k in range(draws):
        a = dense(rule.propose(dg_S, errors, rng), n)
        b = naive(dg_S, threshold_S, rng)
        thinned += a != 0
        plain += b != 0
        totals[:, k] = np.count_nonzero(a), np.count_nonzero(b)
    p = np.minimum(1, np.abs(dg_S.astype(float)) / threshold_S)
    variance = draws * p * (1 - p)
    drawn = variance > 5
    for counts in (thinned, plain):
        chi2 = np.sum((counts - draws * p)[drawn] ** 2 / variance[drawn])
        within(float(chi2), drawn.sum(), np.sqrt(2.2 * drawn.sum()))
    # Independence of the weights: the variance of the number of writes is the sum of theirs.
    total_variance = (p * (1 - p)).sum()
    for total in totals:
        within(float(total.var(ddof=1)), total_variance, total_variance * np.sqrt(2 / draws))


def test_writes_fall_evenly_over_the_weights_and_in_the_right_number() -> None:
    """Small changes of two sizes side by side: half of the candidates of the smaller size are rejected."""
    counts, draws = np.zeros(N), 20
    for seed in range(draws):
        counts += draw(np.tile([0.1 * US, 0.05 * US], N // 2), WriteErrors.uniform(2 * US, N), seed) != 0
    for of_one_size, p in ((counts[::2], 0.05), (counts[1::2], 0.025)):
        parts = of_one_size.reshape(100, -1).sum(axis=1)
        trials = N // 2 * draws / 100
        variance = trials * p * (1 - p)
        within(float(parts.sum()), 100 * trials * p, np.sqrt(100 * variance))
        within(float(np.sum((parts - trials * p) ** 2 / variance)), 100, np.sqrt(200))


def test_up_and_down_are_treated_alike() -> None:
    rng = np.random.default_rng(17)
    dg_S = (0.05 * US * rng.standard_normal(N)).astype(np.float32)
    errors = WriteErrors.uniform(2 * US, N)
    assert np.array_equal(draw(dg_S, errors), -draw(-dg_S, errors))


def test_same_seed_same_writes() -> None:
    dg_S = np.full(N, 0.05 * US, np.float32)
    errors = WriteErrors.uniform(2 * US, N)
    assert np.array_equal(draw(dg_S, errors, 4), draw(dg_S, errors, 4))
    assert not np.array_equal(draw(dg_S, errors, 4), draw(dg_S, errors, 5))


def test_without_write_error_everything_is_written_as_asked() -> None:
    dg_S = np.array([0, 1e-12, -3e-6, 0], np.float32)
    assert np.array_equal(draw(dg_S, WriteErrors.uniform(0.0, 4)), dg_S)


sizes_uS = st.sampled_from([0.0, -0.0, 1e-30, 1e-6, 0.01, 0.1, 0.5, 1.0, 2.5, 40.0])


@settings(max_examples=150, deadline=None)
@given(
    sizes=st.lists(st.tuples(sizes_uS, st.sampled_from([-1, 1])), max_size=60),
    repeat=st.sampled_from([1, 2, 3000]),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 2**32),
)
def test_a_proposal_is_well_formed(
    sizes: list[tuple[float, int]], repeat: int, dtype: type, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    dg_S = np.repeat([size * sign * US for size, sign in sizes], repeat).astype(np.float32)
    up_S, down_S = rng.uniform(1.0 * US, 3 * US, (2, dg_S.size)).astype(dtype)
    before = dg_S.copy()
    rule = EapuConfig().make((dg_S.size, 1), None)
    proposal = rule.propose(dg_S, WriteErrors(up_S, down_S, 1.0 * US), rng)
    assert np.array_equal(dg_S, before)
    assert proposal.index.dtype == np.int64
    assert proposal.step_S.dtype == np.float64
    assert proposal.index.shape == proposal.step_S.shape
    assert np.all(np.diff(proposal.index) > 0)
    wanted = dg_S[proposal.index].astype(float)
    assert np.all(wanted != 0)
    threshold = np.where(wanted > 0, up_S[proposal.index], down_S[proposal.index]).astype(float)
    assert np.array_equal(proposal.step_S, np.copysign(np.maximum(np.abs(wanted), threshold), wanted))
    must = np.abs(dg_S) >= np.where(dg_S > 0, up_S, down_S)
    assert np.isin(np.flatnonzero(must), proposal.index).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_diverged_step_is_refused(bad: float) -> None:
    dg_S = np.zeros(N, np.float32)
    dg_S[N - 3] = bad
    with pytest.raises(HilError, match="a change that is not finite"):
        draw(dg_S, WriteErrors.uniform(2 * US, N))


def test_errors_below_their_floor_are_refused() -> None:
    errors = WriteErrors(np.full(N, 1 * US), np.full(N, 1 * US), 2 * US)
    with pytest.raises(ValueError, match="below its stated floor"):
        draw(np.full(N, 0.5 * US), errors)


@pytest.mark.parametrize(
    ("up", "down", "floor"), [(3, 4, 1e-6), (3, 3, -1e-6), (3, 3, np.nan), (3, 3, np.inf)]
)
def test_malformed_write_errors_are_refused(up: int, down: int, floor: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        WriteErrors(np.ones(up), np.ones(down), floor)


@pytest.mark.parametrize("error_S", [0.0, np.nan])
def test_an_error_that_is_none_is_below_any_floor(error_S: float) -> None:
    errors = WriteErrors(np.full(N, 1 * US), np.full(N, 1 * US), 1 * US)
    errors.up_S[N // 2] = error_S
    dg_S = np.where(np.arange(N) == N // 2, 0.5 * US, 0.0)
    with pytest.raises(ValueError, match="below its stated floor"):
        draw(dg_S, errors)


def test_what_cannot_be_written_is_not_chosen() -> None:
    up_S, down_S = np.full(N, 2 * US), np.full(N, 2 * US)
    up_S[::2] = down_S[1::2] = np.inf  # no cell of the pair takes it
    asked = draw(np.full(N, 1.5 * US), WriteErrors(up_S, down_S, 2 * US))
    assert not asked[::2].any()
    within(np.count_nonzero(asked[1::2]), N / 2 * 0.75, np.sqrt(N / 2 * 0.75 * 0.25))


def test_one_error_for_all_is_that_of_each() -> None:
    dg_S = np.random.default_rng(4).normal(0, 0.5 * US, N).astype(np.float32)
    each = WriteErrors(np.full(N, 2 * US), np.full(N, 2 * US), 2 * US)
    assert np.array_equal(draw(dg_S, WriteErrors.uniform(2 * US, N)), draw(dg_S, each))


@pytest.mark.parametrize("rate", [1e-3, 0.3])
def test_uniform_numbers_are_as_fine_as_they_are_coarse(rate: float) -> None:
    """Whether a weight is written goes by all bits of its number: the law holds at a rate and just beside it."""
    n, th_S = 2_000_000, 2 * US
    dg_S = np.repeat([rate * th_S, (rate + 0.3 / 256) * th_S], n // 2)
    asked = draw(dg_S, WriteErrors.uniform(th_S, n)) != 0
    for count, p in zip(asked.reshape(2, -1).sum(axis=1), (rate, rate + 0.3 / 256), strict=True):
        within(float(count), n / 2 * p, np.sqrt(n / 2 * p * (1 - p)))


def test_a_wrong_number_of_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        draw(np.ones(5), WriteErrors.uniform(2 * US, 6))


def test_nothing_to_remember() -> None:
    rule = EapuConfig().make((3, 1), None)
    assert rule.state() == {}
    rule.restore({})
    rule.forget(np.array([1]), np.array([1e-6]))
    with pytest.raises(HilError, match="'eapu'"):
        rule.restore({"acc": np.zeros(3)})


def test_configuration_takes_only_the_keys_of_its_rule() -> None:
    adapter: TypeAdapter[RuleConfig] = TypeAdapter(RuleConfig)
    assert adapter.validate_python({"name": "eapu", "threshold_uS": 2}) == EapuConfig(threshold_uS=2.0)
    assert adapter.validate_python({"name": "eapu_residual", "kappa": 1.5}) == EapuResidualConfig(kappa=1.5)
    for name in ("eapu", "eapu_residual", "bp", "digital"):
        config = adapter.validate_python({"name": name})
        assert adapter.validate_python(config.model_dump()) == config
    for bad in (
        {"name": "bp", "kappa": 3},
        {"name": "eapu", "kappa": 3},
        {"name": "eapu", "threshold_uS": 0},
        {"name": "eapu", "threshold_uS": 2, "threshold_scale": 1.5},
        {"name": "madem"},
        {"kappa": 3},
    ):
        with pytest.raises(ValidationError):
            adapter.validate_python(bad)


def test_digital_is_not_an_update_rule() -> None:
    with pytest.raises(ValueError, match="digital"):
        DigitalConfig().make((4, 1), None)
