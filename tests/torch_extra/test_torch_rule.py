"""EaPU on tensors against its closed form and against the rule of the trainer (eapu_hil.rules)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eapu_hil.rules import WriteErrors
from eapu_hil.rules.eapu import Eapu

torch = pytest.importorskip("torch", reason="needs the extra torch: pip install 'eapu-hil[torch]'")
from eapu_hil.torch import PairDevice, Pairs, eapu_step

SIGMA_uS = 2.0
N = 400_000


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def applied_uS(dg_uS: torch.Tensor, change_uS: torch.Tensor) -> torch.Tensor:
    """What pairs far from the ends of their window make of a change, with the noise of the writes."""
    pairs = Pairs(PairDevice(0.0, 1e4), torch.zeros(dg_uS.shape), 1.0, "w")
    pairs.g_uS.fill_(5e3)
    pairs.write(change_uS, SIGMA_uS, 1, generator(2))
    return pairs.read(None)


def within(value: float, expected: float, sd: float) -> None:
    assert abs(value - expected) <= 5 * sd, f"{value} is {abs(value - expected) / sd:.1f} sd from {expected}"


@pytest.mark.parametrize("dg_uS", [0.02, 0.5, 1.9, 2.0, 3.0, -0.02, -1.0])
@pytest.mark.parametrize("threshold_uS", [0.5, 2.0, 4.0])
def test_mean_and_variance_follow_the_closed_form(dg_uS: float, threshold_uS: float) -> None:
    wanted_uS = torch.full((N,), dg_uS)
    applied = applied_uS(wanted_uS, eapu_step(wanted_uS, threshold_uS, generator())).double()
    size, p, step = abs(dg_uS), min(1.0, abs(dg_uS) / threshold_uS), max(abs(dg_uS), threshold_uS)
    variance = SIGMA_uS**2
    if size < threshold_uS:
        variance = size * (threshold_uS + SIGMA_uS**2 / threshold_uS) - size**2
    within(float(applied.mean()), dg_uS, math.sqrt(variance / N))
    # sd of a sample variance, from the fourth central moment of the mixture of 0 and N(+-step, sigma)
    off = step - size
    fourth = p * (off**4 + 6 * off**2 * SIGMA_uS**2 + 3 * SIGMA_uS**4) + (1 - p) * size**4
    within(float(applied.var()), variance, math.sqrt((fourth - variance**2) / N))


def test_plain_backpropagation_has_the_variance_of_a_write_whatever_the_step() -> None:
    for dg_uS in (0.02, 1.0):
        wanted_uS = torch.full((N,), dg_uS)
        applied = applied_uS(wanted_uS, wanted_uS).double()
        within(float(applied.mean()), dg_uS, SIGMA_uS / math.sqrt(N))
        within(float(applied.var()), SIGMA_uS**2, SIGMA_uS**2 * math.sqrt(2 / N))


def test_the_share_written_is_the_mean_of_the_probabilities() -> None:
    dg_uS = 0.3 * torch.randn(N, generator=generator(3)) ** 3
    p = (dg_uS.double().abs() / 2.0).clamp(max=1.0)
    written = torch.count_nonzero(eapu_step(dg_uS, 2.0, generator()))
    within(float(written), float(p.sum()), math.sqrt(float((p * (1 - p)).sum())))


@pytest.mark.parametrize("size_uS", [0.02, 0.4, 2.0])
def test_equal_in_law_to_the_rule_of_the_trainer(size_uS: float) -> None:
    """Writes of each weight over many draws of both, through a chi-square distance; and what is written."""
    n, draws, threshold_uS = 2048, 400, 2.0
    rng = np.random.default_rng(13)
    dg_uS = (size_uS * rng.standard_normal(n)).astype(np.float32)
    rule, errors = Eapu(n), WriteErrors.uniform(threshold_uS * 1e-6, n)
    counts, mine, theirs = np.zeros((2, n)), np.zeros(n), np.zeros(n)
    for seed in range(draws):
        step_uS = eapu_step(torch.from_numpy(dg_uS), threshold_uS, generator(seed)).numpy()
        proposal = rule.propose(dg_uS * np.float32(1e-6), errors, rng)
        counts[0] += step_uS != 0
        counts[1, proposal.index] += 1
        mine[step_uS != 0] = step_uS[step_uS != 0]
        theirs[proposal.index] = proposal.step_S * 1e6
    both = (mine != 0) & (theirs != 0)
    assert both.sum() > n / 4
    np.testing.assert_allclose(mine[both], theirs[both], rtol=1e-6)
    drawn = (counts.sum(axis=0) > 10) & (counts.sum(axis=0) < 2 * draws)
    p = counts.sum(axis=0)[drawn] / (2 * draws)
    chi2 = np.sum((counts[0] - counts[1])[drawn] ** 2 / (2 * draws * p * (1 - p)))
    within(float(chi2), float(drawn.sum()), math.sqrt(2.2 * drawn.sum()))


@given(
    st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=30),
    st.sampled_from([0.0, 0.5, 2.0]),
    st.integers(0, 2**32),
)
def test_a_weight_is_left_or_moved_the_wanted_way_by_at_least_the_threshold(
    changes_uS: list[float], threshold_uS: float, seed: int
) -> None:
    dg_uS = torch.tensor(changes_uS)
    step_uS = eapu_step(dg_uS, threshold_uS, generator(seed))
    for wanted, step in zip(dg_uS.tolist(), step_uS.tolist(), strict=True):
        assert step in (0.0, math.copysign(max(abs(wanted), threshold_uS), wanted))
        assert step != 0 or abs(wanted) < threshold_uS or wanted == 0
        assert wanted != 0 or step == 0


def test_the_generator_decides() -> None:
    dg_uS = torch.full((1000,), 0.5)
    first, again, other = (eapu_step(dg_uS, 2.0, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


ROW = 4096  # changes of very different sizes are drawn in different ways, row by row


def mixed_uS() -> torch.Tensor:
    """Rows of small changes, of large ones, of none, and the beginning of one more."""
    draws = generator(5)
    rows = [0.02, 1.5, 0.0, 0.3, 0.05]
    sizes = [ROW, ROW, ROW, ROW, 700]
    return torch.cat([s * torch.randn(n, generator=draws) for s, n in zip(rows, sizes, strict=True)])


@pytest.mark.parametrize("spread", [False, True])
def test_rows_of_all_sizes_are_written_with_their_probabilities_and_independently(spread: bool) -> None:
    dg_uS, draws = mixed_uS(), 200
    th_uS = torch.full_like(dg_uS, 2.0)
    if spread:
        th_uS = 1.0 + 2.0 * torch.rand(dg_uS.shape, generator=generator(6))
    p = (dg_uS.double().abs() / th_uS).clamp(max=1.0)
    variance = p * (1 - p)
    counts, totals = torch.zeros_like(p), []
    for seed in range(draws):
        step_uS = eapu_step(dg_uS, th_uS if spread else 2.0, generator(seed))
        written = step_uS != 0
        expected_uS = torch.maximum(dg_uS.abs(), th_uS).copysign(dg_uS)
        assert torch.equal(step_uS, torch.where(written, expected_uS, 0.0))
        counts += written
        totals.append(float(written.sum()))
    for some in (th_uS > 2.0, th_uS <= 2.0):
        for row in range(5):
            part = torch.zeros_like(some)
            part[row * ROW : (row + 1) * ROW] = some[row * ROW : (row + 1) * ROW]
            sd = math.sqrt(draws * float(variance[part].sum()))
            within(float(counts[part].sum()), draws * float(p[part].sum()), sd)
    drawn = (draws * p > 2) & (draws * (1 - p) > 2)
    chi2 = (counts - draws * p)[drawn] ** 2 / (draws * variance[drawn])
    within(float(chi2.sum()), float(drawn.sum()), math.sqrt(2.6 * float(drawn.sum())))
    total = float(variance.sum())
    within(float(np.var(totals, ddof=1)), total, total * math.sqrt(2 / draws))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_keep_their_type_and_shape(dtype: torch.dtype) -> None:
    dg_uS = torch.full((50, 200), 0.25, dtype=dtype)
    step_uS = eapu_step(dg_uS, 2.0, generator())
    assert (step_uS.dtype, step_uS.shape) == (dtype, dg_uS.shape)
    within(float((step_uS == 2.0).sum()), 1250.0, math.sqrt(10_000 * 0.125 * 0.875))


def test_nothing_wanted_is_nothing_written() -> None:
    for shape in ((0,), (3, 0), (), (5000,)):
        step_uS = eapu_step(torch.zeros(shape), 2.0, generator())
        assert torch.equal(step_uS, torch.zeros(shape))
