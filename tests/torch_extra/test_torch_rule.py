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

SIGMA_US = 2.0
N = 400_000


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def applied_us(dg_us: torch.Tensor, change_us: torch.Tensor) -> torch.Tensor:
    """What pairs far from the ends of their window make of a change, with the noise of the writes."""
    pairs = Pairs(PairDevice(0.0, 1e4), torch.zeros(dg_us.shape), 1.0, "w")
    pairs.g_us.fill_(5e3)
    pairs.write(change_us, SIGMA_US, 1, generator(2))
    return pairs.read(None)


def within(value: float, expected: float, sd: float) -> None:
    assert abs(value - expected) <= 5 * sd, f"{value} is {abs(value - expected) / sd:.1f} sd from {expected}"


@pytest.mark.parametrize("dg_us", [0.02, 0.5, 1.9, 2.0, 3.0, -0.02, -1.0])
@pytest.mark.parametrize("threshold_us", [0.5, 2.0, 4.0])
def test_mean_and_variance_follow_the_closed_form(dg_us: float, threshold_us: float) -> None:
    wanted_us = torch.full((N,), dg_us)
    applied = applied_us(wanted_us, eapu_step(wanted_us, threshold_us, generator())).double()
    size, p, step = abs(dg_us), min(1.0, abs(dg_us) / threshold_us), max(abs(dg_us), threshold_us)
    variance = SIGMA_US**2
    if size < threshold_us:
        variance = size * (threshold_us + SIGMA_US**2 / threshold_us) - size**2
    within(float(applied.mean()), dg_us, math.sqrt(variance / N))
    # sd of a sample variance, from the fourth central moment of the mixture of 0 and N(+-step, sigma)
    off = step - size
    fourth = p * (off**4 + 6 * off**2 * SIGMA_US**2 + 3 * SIGMA_US**4) + (1 - p) * size**4
    within(float(applied.var()), variance, math.sqrt((fourth - variance**2) / N))


def test_plain_backpropagation_has_the_variance_of_a_write_whatever_the_step() -> None:
    for dg_us in (0.02, 1.0):
        wanted_us = torch.full((N,), dg_us)
        applied = applied_us(wanted_us, wanted_us).double()
        within(float(applied.mean()), dg_us, SIGMA_US / math.sqrt(N))
        within(float(applied.var()), SIGMA_US**2, SIGMA_US**2 * math.sqrt(2 / N))


def test_the_share_written_is_the_mean_of_the_probabilities() -> None:
    dg_us = 0.3 * torch.randn(N, generator=generator(3)) ** 3
    p = (dg_us.double().abs() / 2.0).clamp(max=1.0)
    written = torch.count_nonzero(eapu_step(dg_us, 2.0, generator()))
    within(float(written), float(p.sum()), math.sqrt(float((p * (1 - p)).sum())))


@pytest.mark.parametrize("size_us", [0.02, 0.4, 2.0])
def test_equal_in_law_to_the_rule_of_the_trainer(size_us: float) -> None:
    """Writes of each weight over many draws of both, through a chi-square distance; and what is written."""
    n, draws, threshold_us = 2048, 400, 2.0
    rng = np.random.default_rng(13)
    dg_us = (size_us * rng.standard_normal(n)).astype(np.float32)
    rule, errors = Eapu(n), WriteErrors.uniform(threshold_us * 1e-6, n)
    counts, mine, theirs = np.zeros((2, n)), np.zeros(n), np.zeros(n)
    for seed in range(draws):
        step_us = eapu_step(torch.from_numpy(dg_us), threshold_us, generator(seed)).numpy()
        proposal = rule.propose(dg_us * np.float32(1e-6), errors, rng)
        counts[0] += step_us != 0
        counts[1, proposal.index] += 1
        mine[step_us != 0] = step_us[step_us != 0]
        theirs[proposal.index] = proposal.step_s * 1e6
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
    changes_us: list[float], threshold_us: float, seed: int
) -> None:
    dg_us = torch.tensor(changes_us)
    step_us = eapu_step(dg_us, threshold_us, generator(seed))
    for wanted, step in zip(dg_us.tolist(), step_us.tolist(), strict=True):
        assert step in (0.0, math.copysign(max(abs(wanted), threshold_us), wanted))
        assert step != 0 or abs(wanted) < threshold_us or wanted == 0
        assert wanted != 0 or step == 0


def test_the_generator_decides() -> None:
    dg_us = torch.full((1000,), 0.5)
    first, again, other = (eapu_step(dg_us, 2.0, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
