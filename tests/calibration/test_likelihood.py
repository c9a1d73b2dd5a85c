"""Maximum likelihood on laws whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from eapu_calibration.likelihood import maximise

from eapu_hil.hal import FloatArray, HilError


def test_normal_sample() -> None:
    sample = np.random.default_rng(1).normal(0.4, 2.0, 5000)

    def log_likelihood(x: FloatArray) -> float:
        return float(-x[1] * sample.size - 0.5 * np.square((sample - x[0]) / np.exp(x[1])).sum())

    top = maximise(log_likelihood, np.array([0.0, 0.0]), "sample")
    assert top.x[0] == pytest.approx(sample.mean(), abs=1e-3)
    assert np.exp(top.x[1]) == pytest.approx(sample.std(), rel=1e-3)
    assert top.sd[0] == pytest.approx(sample.std() / np.sqrt(sample.size), rel=1e-2)
    assert top.sd[1] == pytest.approx(1 / np.sqrt(2 * sample.size), rel=1e-2)
    value, low, high = top.interval(0)
    assert high - value == pytest.approx(1.96 * top.sd[0], rel=1e-3)
    assert value - low == pytest.approx(high - value)


def test_parameter_that_the_data_leave_open() -> None:
    with pytest.raises(HilError, match=r"slope of nothing.*do not determine"):
        maximise(lambda x: -float(x[0] ** 2), np.array([0.3, 0.2]), "slope of nothing")
