"""Digits: split, loss and accuracy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eapu_hil.hal import ConfigError
from eapu_hil.network.layers import DigitalWeights, Float32Array, initial_matrix
from eapu_hil.network.network import Network
from eapu_hil.tasks import Task, make_task


@pytest.fixture(scope="module")
def task() -> Task:
    return make_task({"name": "digits"})


def test_a_quarter_of_each_class_is_held_out_and_never_drawn(task: Task) -> None:
    seen: list[Float32Array] = []

    def note(x: Float32Array) -> Float32Array:
        seen.append(x)
        return np.zeros((len(x), 10), dtype=np.float32)

    evaluation = task.evaluate(note, quick=False)
    assert len(seen[0]) == 450
    assert [item.name for item in evaluation.items] == [str(d) for d in range(10)]
    assert evaluation.value == pytest.approx(0.1, abs=0.01)  # always 0: a tenth is right
    x, y = task.batch(np.random.default_rng(0), 20_000)
    assert x.shape == (20_000, 64)
    assert np.bincount(y, minlength=10) == pytest.approx(np.full(10, 2000), rel=0.15)
    held_out = {row.tobytes() for row in seen[0]}
    drawn = {row.tobytes() for row in x}
    assert len(drawn) > 1300
    assert not held_out & drawn


def test_the_loss_is_cross_entropy_and_its_gradient_fits(task: Task) -> None:
    rng = np.random.default_rng(0)
    out, y = rng.normal(size=(6, 10)).astype(np.float32) * 30, rng.integers(10, size=6)
    loss, gradient = task.loss(out, y)
    wide = out.astype(np.float64)
    expected = np.log(np.exp(wide).sum(axis=1)) - wide[np.arange(6), y]
    assert loss == pytest.approx(expected.mean(), rel=1e-5)
    soft = np.exp(wide) / np.exp(wide).sum(axis=1, keepdims=True)
    soft[np.arange(6), y] -= 1
    np.testing.assert_allclose(gradient, soft / 6, atol=1e-6)
    assert gradient.dtype == np.float32


def test_plain_gradient_descent_learns_the_digits(task: Task) -> None:
    rng = np.random.default_rng(0)
    network = Network(task.layers(), lambda _, spec: DigitalWeights(initial_matrix(spec, rng)))
    for step in range(600):
        x, y = task.batch(np.random.default_rng([0, step]), 32)
        _, d = task.loss(network.forward(x), y)
        for layer, (d_matrix, d_bias) in zip(network.weighted, network.backward(d), strict=True):
            assert isinstance(layer.weights, DigitalWeights)
            layer.weights.matrix -= np.float32(0.2) * d_matrix
            layer.bias -= np.float32(0.2) * d_bias
    assert task.evaluate(network.infer, quick=True).value > 0.94


def test_digits_take_no_images(task: Task, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="takes no folder"):
        task.evaluate(lambda x: x, quick=False, folder=tmp_path)
    with pytest.raises(ConfigError, match="classifies"):
        task.apply(lambda x: x, np.zeros((8, 8), dtype=np.float32))
    with pytest.raises(ConfigError, match=r"task\.data"):
        make_task({"name": "digits", "data": {"folder": str(tmp_path)}})
    assert task.gallery(lambda x: x) == []
