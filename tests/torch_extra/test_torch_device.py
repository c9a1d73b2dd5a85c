"""Pairs on tensors: the window, which cell is written, relaxation and read noise."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eapu_hil.hal import ConfigError, HilError

torch = pytest.importorskip("torch", reason="needs the extra torch: pip install 'eapu-hil[torch]'")
from eapu_hil.torch import PairDevice, Pairs, Relaxation

R_WG = 1 / 80


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pairs_at(plus_uS: float, minus_uS: float, n: int = 1, device: PairDevice | None = None) -> Pairs:
    pairs = Pairs(device or PairDevice(), torch.zeros(n), R_WG, "w")
    pairs.g_uS[0], pairs.g_uS[1] = plus_uS, minus_uS
    return pairs


def test_weights_are_held_exactly_with_one_cell_at_the_low_end() -> None:
    weights = torch.tensor([[0.5, -1.0], [0.0, 1.2]])
    pairs = Pairs(PairDevice(), weights, R_WG, "w")
    assert torch.allclose(pairs.read(None), weights, atol=1e-6)
    assert pairs.g_uS.amin(dim=0).tolist() == [[2.0, 2.0], [2.0, 2.0]]
    assert int(pairs.writes.sum()) == 0


def test_weights_beyond_the_window_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"head: a weight of 2 needs 160 uS.*98 uS"):
        Pairs(PairDevice(), torch.tensor([[-2.0]]), R_WG, "head")
    with pytest.raises(ConfigError, match="nan"):
        Pairs(PairDevice(), torch.tensor([[math.nan]]), R_WG, "head")


@pytest.mark.parametrize(
    ("before_uS", "change_uS", "after_uS"),
    [
        ((20.0, 10.0), 5.0, (20.0, 5.0)),  # lowered where there is room
        ((20.0, 10.0), -5.0, (15.0, 10.0)),
        ((20.0, 4.0), 5.0, (25.0, 4.0)),  # raised where there is none
        ((4.0, 20.0), -5.0, (4.0, 25.0)),
        ((98.0, 4.0), 5.0, (98.0, 2.0)),  # neither: as far as the window lets it
        ((100.0, 2.0), 5.0, (100.0, 2.0)),  # no room at all
    ],
)
def test_which_cell_is_written(
    before_uS: tuple[float, float], change_uS: float, after_uS: tuple[float, float]
) -> None:
    pairs = pairs_at(*before_uS)
    written = pairs.write(torch.tensor([change_uS]), 0.0, 1, None)
    assert tuple(pairs.g_uS[:, 0].tolist()) == after_uS
    assert written == int(pairs.writes.sum()) == (before_uS != after_uS)


@given(
    st.lists(st.floats(-150, 150, width=32), min_size=1, max_size=20),
    st.floats(0, 50),
    st.integers(0, 2**32),
)
def test_no_cell_leaves_the_window_and_a_change_of_0_is_no_write(
    changes_uS: list[float], sigma_uS: float, seed: int
) -> None:
    change_uS = torch.tensor(changes_uS)
    pairs = Pairs(PairDevice(), torch.zeros(change_uS.shape), R_WG, "w")
    draws = generator(seed)
    total = 0
    for step in range(4):
        before = pairs.g_uS.clone()
        total += pairs.write(change_uS, sigma_uS, step, draws)
        assert float(pairs.g_uS.min()) >= 2.0
        assert float(pairs.g_uS.max()) <= 100.0
        assert torch.equal(pairs.g_uS[:, change_uS == 0], before[:, change_uS == 0])
        assert int(((pairs.g_uS != before).sum(dim=0) > 1).sum()) == 0  # one cell of a pair
    assert int(pairs.writes.sum()) == total <= 4 * int((change_uS != 0).sum())


def test_relaxation_follows_its_line_in_log_time() -> None:
    law = Relaxation(variance_1s_uS2=4.0, variance_per_decade_uS2=2.0, seconds_per_step=0.5)
    pairs = pairs_at(500.0, 500.0, 50_000, PairDevice(0.0, 1000.0, relaxation=law))
    draws = generator()
    for step in range(1, 75):
        pairs.relax(step, draws)
        if step == 10:
            pairs.g_uS[1] = 500.0
            pairs.write(torch.full((50_000,), 10.0), 0.0, 10, None)  # lowers the minus cells
        if step - 10 in (1, 8, 64):
            age_s = 0.5 * (step - 10)
            variance = float(pairs.g_uS[1].double().var())
            assert variance == pytest.approx(4.0 + 2.0 * math.log10(age_s), rel=0.04)
    # The plus cells are as old as the pairs: 74 steps, and were looked at last at 64.
    assert float(pairs.g_uS[0].double().var()) == pytest.approx(4.0 + 2.0 * math.log10(0.5 * 64), rel=0.04)


def test_nothing_moves_before_the_line_is_above_0() -> None:
    law = Relaxation(seconds_per_step=1e-5)  # the default line starts at 4 ms
    pairs = pairs_at(50.0, 50.0, 1000, PairDevice(relaxation=law))
    for step in range(1, 300):
        pairs.relax(step, generator())
    assert torch.equal(pairs.g_uS, torch.full((2, 1000), 50.0))


def test_each_reading_has_noise_of_two_cells() -> None:
    pairs = pairs_at(50.0, 42.0, 100_000, PairDevice(read_noise_uS=0.5))
    draws = generator()
    first, second = pairs.read(draws), pairs.read(draws)
    assert not torch.equal(first, second)
    assert float(first.mean()) == pytest.approx(8 * R_WG, abs=5 * R_WG * 0.71 / 316)
    assert float(first.std()) == pytest.approx(math.sqrt(2) * 0.5 * R_WG, rel=0.02)
    assert torch.equal(pairs.g_uS[0], torch.full((100_000,), 50.0))


@pytest.mark.parametrize(
    "keys",
    [
        {"g_min_uS": -1.0},
        {"g_min_uS": 5.0, "g_max_uS": 5.0},
        {"read_noise_uS": -0.1},
        {"read_noise_uS": math.nan},
    ],
)
def test_impossible_devices_are_refused(keys: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="device"):
        PairDevice(**keys)


def test_impossible_relaxation_is_refused() -> None:
    with pytest.raises(ConfigError, match="relaxation"):
        Relaxation(seconds_per_step=0.0)


def test_a_foreign_checkpoint_is_refused() -> None:
    with pytest.raises(HilError, match="w: the checkpoint"):
        pairs_at(2.0, 2.0).restore(pairs_at(2.0, 2.0, 3).state())


def test_a_checkpoint_of_version_0_1_is_taken() -> None:
    state = pairs_at(20.0, 10.0).state()
    old = {"g_us": state.pop("g_uS"), **state}
    pairs = pairs_at(2.0, 2.0)
    pairs.restore(old)
    assert pairs.g_uS[:, 0].tolist() == [20.0, 10.0]
