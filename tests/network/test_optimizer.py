"""Adam and SGD against references worked out by hand, and against torch where it is installed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from eapu_hil.hal import HilError
from eapu_hil.network.optimizer import Adam, AdamConfig, OptimizerConfig, Sgd, SgdConfig, make_optimizer

ADAPTER: TypeAdapter[OptimizerConfig] = TypeAdapter(OptimizerConfig)


def test_three_steps_of_adam_by_hand() -> None:
    # g = 1, -2, 0.5 with b1 = 0.9, b2 = 0.999, lr = 0.1:
    # m = 0.1, -0.11, -0.049; v = 0.001, 0.004999, 0.005244001
    # m_hat = m / (0.1, 0.19, 0.271); v_hat = v / (0.001, 0.001999, 0.002997001)
    expected = [-0.1, 0.1 * 0.5789473684 / 1.5813883484, 0.1 * 0.1808118081 / 1.3227894905]
    adam = Adam((1,))
    for grad, change in zip([1.0, -2.0, 0.5], expected, strict=True):
        assert float(adam.step(np.full(1, grad, np.float32), 0.1)[0]) == pytest.approx(change, rel=1e-5)


def textbook_adam(grads: np.ndarray, rates: list[float], b1: float, b2: float, eps: float) -> np.ndarray:
    mean, square, changes = np.zeros(grads[0].shape), np.zeros(grads[0].shape), []
    for step, (grad, lr) in enumerate(zip(grads.astype(float), rates, strict=True), 1):
        mean = b1 * mean + (1 - b1) * grad
        square = b2 * square + (1 - b2) * grad**2
        changes.append(-lr * mean / (1 - b1**step) / (np.sqrt(square / (1 - b2**step)) + eps))
    return np.array(changes)


@pytest.mark.parametrize(("betas", "eps"), [((0.9, 0.999), 1e-8), ((0.5, 0.9), 1e-3), ((0.0, 0.0), 1e-6)])
def test_adam_follows_the_textbook_over_several_chunks(betas: tuple[float, float], eps: float) -> None:
    rng = np.random.default_rng(0)
    shape = (300, 500)
    # Down to gradients where eps is as large as the root of the mean square.
    scale = np.exp(rng.uniform(np.log(1e-9), 0, shape))
    grads = (rng.standard_normal((6, *shape)) * scale).astype(np.float32)
    rates = [1e-3, 1e-3, 5e-4, 1e-4, 1e-4, 1e-2]
    adam = make_optimizer(AdamConfig(betas=betas, eps=eps), shape)
    for grad, lr, change in zip(grads, rates, textbook_adam(grads, rates, *betas, eps), strict=True):
        step = adam.step(grad, lr)
        assert step.dtype == np.float32
        np.testing.assert_allclose(step, change, rtol=2e-4, atol=1e-6 * lr)


def test_adam_is_that_of_torch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    tensor = torch.zeros(40, 30, requires_grad=True)
    theirs = torch.optim.Adam([tensor], lr=1e-3)
    ours, weights = Adam((40, 30)), np.zeros((40, 30), np.float32)
    for _ in range(20):
        grad = rng.standard_normal((40, 30), dtype=np.float32)
        tensor.grad = torch.from_numpy(grad.copy())
        theirs.step()
        weights += ours.step(grad, 1e-3)
    np.testing.assert_allclose(weights, tensor.detach().numpy(), rtol=1e-4, atol=1e-7)


def test_sgd_with_momentum_by_hand() -> None:
    sgd = make_optimizer(SgdConfig(momentum=0.9), (2,))
    grad = np.array([1.0, -2.0], np.float32)
    for total, lr in ((1.0, 0.1), (1.9, 0.1), (2.71, 0.01)):
        np.testing.assert_allclose(sgd.step(grad, lr), -lr * total * grad, rtol=1e-6)


@pytest.mark.parametrize("config", [AdamConfig(), SgdConfig()])
def test_a_restored_optimizer_goes_on_exactly(config: AdamConfig | SgdConfig) -> None:
    rng = np.random.default_rng(2)
    grads = rng.standard_normal((8, 5, 3), dtype=np.float32)
    whole = make_optimizer(config, (5, 3))
    for grad in grads[:4]:
        whole.step(grad, 0.01)
    state = whole.state()
    kept = {key: value.copy() for key, value in state.items()}
    rest = [whole.step(grad, 0.01).copy() for grad in grads[4:]]
    assert all(np.array_equal(state[key], kept[key]) for key in kept)  # the state was a copy
    resumed = make_optimizer(config, (5, 3))
    resumed.restore(state)
    assert all(
        np.array_equal(resumed.step(grad, 0.01), expected)
        for grad, expected in zip(grads[4:], rest, strict=True)
    )


def test_a_foreign_checkpoint_is_refused() -> None:
    with pytest.raises(HilError, match="expected"):
        Adam((4,)).restore(Sgd((4,)).state())
    with pytest.raises(HilError, match="expected"):
        Adam((4,)).restore(Adam((5,)).state())


def test_a_gradient_of_another_shape_is_refused() -> None:
    for config in (AdamConfig(), SgdConfig()):
        with pytest.raises(ValueError, match="shape"):
            make_optimizer(config, (2, 3)).step(np.zeros((3, 2), np.float32), 0.1)


def test_the_gradient_is_not_modified_and_need_not_be_contiguous() -> None:
    rng = np.random.default_rng(3)
    grad = rng.standard_normal((4, 6), dtype=np.float32).T
    before = grad.copy()
    one, other = Adam((6, 4)), Adam((6, 4))
    assert np.array_equal(one.step(grad, 0.1), other.step(np.ascontiguousarray(grad), 0.1))
    assert np.array_equal(grad, before)


def test_schedules_at_their_corners() -> None:
    constant = AdamConfig(lr=1e-3, warmup_steps=4)
    assert [constant.rate(step, 100) for step in (0, 1, 3, 4, 99)] == pytest.approx(
        [2.5e-4, 5e-4, 1e-3, 1e-3, 1e-3]
    )
    cosine = SgdConfig(lr=0.2, schedule="cosine", warmup_steps=10, final_fraction=0.1)
    assert cosine.rate(9, 110) == pytest.approx(0.2)
    assert cosine.rate(10, 110) == pytest.approx(0.2)
    assert cosine.rate(60, 110) == pytest.approx(0.2 * 0.55)
    assert cosine.rate(110, 110) == pytest.approx(0.02)


@given(
    steps=st.integers(1, 50),
    warmup=st.integers(0, 60),
    final=st.floats(0, 1),
    schedule=st.sampled_from(["constant", "cosine"]),
)
def test_the_rate_rises_then_never_grows_and_stays_in_range(
    steps: int, warmup: int, final: float, schedule: str
) -> None:
    final = final if schedule == "cosine" else 0.0
    config = ADAPTER.validate_python(
        {"name": "adam", "lr": 1e-3, "schedule": schedule, "warmup_steps": warmup, "final_fraction": final}
    )
    rates = np.array([config.rate(step, steps) for step in range(steps)])
    assert np.all(rates > 0)
    assert np.all(rates <= 1e-3 * (1 + 1e-12))
    assert np.all(np.diff(rates[:warmup]) > 0)
    assert np.all(np.diff(rates[warmup:]) <= 0)


def test_configuration_takes_only_the_keys_of_its_optimizer() -> None:
    for name in ("adam", "sgd"):
        config = ADAPTER.validate_python({"name": name})
        assert ADAPTER.validate_python(config.model_dump()) == config
    for bad in (
        {"name": "sgd", "betas": [0.9, 0.999]},
        {"name": "adam", "momentum": 0.9},
        {"name": "adam", "lr": 0},
        {"name": "adam", "betas": [0.9, 1.0]},
        {"name": "adam", "schedule": "linear"},
        {"name": "adam", "final_fraction": 0.1},
        {"name": "adam", "warmup_steps": -1},
        {"lr": 1e-3},
    ):
        with pytest.raises(ValidationError):
            ADAPTER.validate_python(bad)
