"""The digital reference: float weights that take every change as it is."""

from __future__ import annotations

import numpy as np
import pytest

from eapu_hil.tasks import Task, make_task
from eapu_hil.training.digital_model import DigitalModel
from eapu_hil.training.matrices import initial_matrices
from eapu_hil.training.write_log import WriteCounts


@pytest.fixture
def task() -> Task:
    return make_task({"name": "digits", "hidden": 5})


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_seed_decides_the_initial_weights(task: Task) -> None:
    one, same, other = (initial_matrices(task, seed) for seed in (1, 1, 2))
    assert {name: matrix.shape for name, matrix in one.items()} == {"dense1": (64, 5), "dense2": (5, 10)}
    for name, matrix in one.items():
        np.testing.assert_array_equal(matrix, same[name])
        assert not np.array_equal(matrix, other[name])


def test_a_wanted_change_is_made_in_full(task: Task) -> None:
    model = DigitalModel(task, 1)
    change = {"dense1": np.zeros((64, 5), np.float32), "dense2": np.full((5, 10), 0.25, np.float32)}
    change["dense1"][:16] = -0.5
    assert model.update(1, change, _rng()) == WriteCounts({"dense1": 0.25, "dense2": 1.0})
    for name, matrix in initial_matrices(task, 1).items():
        np.testing.assert_allclose(model.state()[name], matrix + change[name], rtol=1e-6)
    x = _rng().normal(size=(3, 64)).astype(np.float32)
    first, second = model.state()["dense1"], model.state()["dense2"]
    np.testing.assert_allclose(
        model.network.infer(x), np.maximum(x @ first, 0) @ second, rtol=1e-4, atol=1e-5
    )


def test_a_state_is_a_copy_that_can_be_put_back(task: Task) -> None:
    model = DigitalModel(task, 1)
    kept = model.state()
    model.update(1, {name: np.ones_like(matrix) for name, matrix in kept.items()}, _rng())
    for name, matrix in initial_matrices(task, 1).items():
        np.testing.assert_array_equal(kept[name], matrix)
        assert not np.array_equal(model.state()[name], matrix)
    model.restore(kept)
    for name, matrix in kept.items():
        np.testing.assert_array_equal(model.state()[name], matrix)


def test_there_is_no_bench(task: Task) -> None:
    assert DigitalModel(task, 1).array is None
