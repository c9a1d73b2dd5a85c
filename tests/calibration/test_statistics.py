"""Intervals hold the truth as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from eapu_calibration.statistics import bootstrap, gain_and_offset, share


def sd(sample: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.asarray(np.std(sample, axis=axis, ddof=1))


def test_bootstrap_of_a_heavy_tailed_sd_covers_it() -> None:
    """300 samples of a normal with a log-normal scale, E[scale^2] = 1: at least 85 of 100 intervals hold sd 1."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(100):
        scale = np.exp(0.5 * rng.standard_normal(300) - 0.25)
        found = bootstrap(sd, scale * rng.standard_normal(300), rng)
        held += bool(found.low <= 1.0 <= found.high)
    assert 85 <= held <= 100


def test_bootstrap_keeps_the_shape_and_what_belongs_to_one_cell() -> None:
    """The difference of two rows that are equal is 0 in every resample."""
    row = np.random.default_rng(2).standard_normal(50)
    found = bootstrap(
        lambda x, axis: x[0].mean(axis) - x[1].mean(axis), np.vstack([row, row]), np.random.default_rng(3)
    )
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)
    found = bootstrap(sd, np.random.default_rng(4).standard_normal((3, 50)), np.random.default_rng(5))
    assert found.value.shape == found.low.shape == found.high.shape == (3,)
    assert (found.low < found.value).all()
    assert (found.value < found.high).all()


def test_share_is_wilsons() -> None:
    """10 of 100: 5.5 % to 17.4 % (Wilson 1927, doi 10.1080/01621459.1927.10502953)."""
    found = share(10, 100)
    assert [float(found.value), float(found.low), float(found.high)] == pytest.approx(
        [0.1, 0.0552, 0.1744], abs=1e-4
    )
    assert float(share(0, 100).low) == 0.0


def test_gain_and_offset_by_hand() -> None:
    """x = 0 1 2 3, y = 1 3 5 8: slope 2.3, offset 0.8, residuals .2 -.1 -.4 .3, variance 0.15, t(2) = 4.3027."""
    x, y = np.arange(4.0)[:, None], np.array([[1.0], [3.0], [5.0], [8.0]])
    gain, offset, residual = gain_and_offset(x, y)
    assert [gain.value[0], offset.value[0]] == pytest.approx([2.3, 0.8])
    assert residual[:, 0] == pytest.approx([0.2, -0.1, -0.4, 0.3])
    assert gain.high[0] - gain.value[0] == pytest.approx(4.3027 * np.sqrt(0.15 / 5), rel=1e-4)
    assert offset.value[0] - offset.low[0] == pytest.approx(
        4.3027 * np.sqrt(0.15 * (1 / 4 + 1.5**2 / 5)), rel=1e-4
    )
