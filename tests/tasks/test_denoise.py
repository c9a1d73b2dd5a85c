"""Denoising: batches, metric, and that a small network learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eapu_hil.hal import ConfigError
from eapu_hil.network.layers import Conv2d, DigitalWeights, Float32Array, initial_matrix
from eapu_hil.network.network import Network, named_weight_specs
from eapu_hil.tasks import Task, make_task


def no_change(x: Float32Array) -> Float32Array:
    return np.zeros_like(x)


@pytest.fixture(scope="module")
def task() -> Task:
    return make_task({"name": "denoise"})


def test_batches_are_noisy_patches_and_their_noise(task: Task) -> None:
    x, y = task.batch(np.random.default_rng([1, 2]), 32)
    assert x.shape == y.shape == (32, 32, 32, 1)
    assert x.dtype == y.dtype == np.float32
    assert y.std() == pytest.approx(25 / 255, rel=0.02)
    clean = x - y + 0.5
    assert clean.min() >= -1e-5
    assert clean.max() <= 1 + 1e-5
    again, _ = task.batch(np.random.default_rng([1, 2]), 32)
    np.testing.assert_array_equal(again, x)


def test_the_network_fits_an_array(task: Task) -> None:
    named = named_weight_specs(task.layers())
    assert {name: spec.matrix_shape for name, spec in named.items()} == {
        "conv1": (9, 14),
        "conv2": (126, 14),
        "conv3": (126, 1),
    }


def test_the_noise_of_an_evaluation_is_20_17_db_and_always_the_same(task: Task) -> None:
    first, second = (task.evaluate(no_change, quick=True) for _ in range(2))
    assert replace(first, examples=()) == replace(second, examples=())
    for one, other in zip(first.examples, second.examples, strict=True):
        for name, shown in vars(one).items():
            np.testing.assert_array_equal(shown, getattr(other, name))
    assert first.input == pytest.approx(20.17, abs=0.1)
    full = task.evaluate(no_change, quick=False)
    assert full.input == pytest.approx(20.17, abs=0.02)
    assert [item.name for item in full.items] == ["camera", "chelsea", "coins", "flower"]
    # The middle of the same images, as whoever watches sees them during training.
    for one, other in zip(first.examples, full.examples, strict=True):
        assert one.name == other.name
        np.testing.assert_array_equal(one.reference, other.reference)
        assert other.output.shape == other.input.shape == other.reference.shape
    assert full.ssim is not None
    assert 0.1 < full.ssim < 0.6


def test_a_network_that_knows_the_noise_gives_the_clean_image(task: Task) -> None:
    triplet = task.gallery(no_change)[0]
    assert triplet.input.shape == triplet.reference.shape == (192, 192)

    def oracle(x: Float32Array) -> Float32Array:
        return x + np.float32(0.5) - triplet.reference[None, :, :, None]

    np.testing.assert_allclose(task.gallery(oracle)[0].output, triplet.reference, atol=1e-6)


def test_the_loss_gradient_agrees_with_finite_differences(task: Task) -> None:
    rng = np.random.default_rng(0)
    out, y = rng.normal(size=(2, 2, 4, 4, 1)).astype(np.float32)
    _, gradient = task.loss(out, y)
    step = np.zeros_like(out)
    step[1, 2, 3, 0] = 0.01
    numeric = (task.loss(out + step, y)[0] - task.loss(out - step, y)[0]) / 0.02
    assert gradient[1, 2, 3, 0] == pytest.approx(numeric, rel=0.01)


def test_colour_is_denoised_channel_by_channel(task: Task) -> None:
    image = np.random.default_rng(0).random((20, 30, 3), dtype=np.float32)

    def towards_middle(x: Float32Array) -> Float32Array:
        return x * np.float32(0.5)

    for picture in (image, image[:, :, 1]):
        output = task.apply(towards_middle, picture)
        np.testing.assert_allclose(output, 0.25 + 0.5 * picture, atol=1e-6)


def test_a_few_hundred_steps_remove_noise(task: Task) -> None:
    rng = np.random.default_rng(0)
    network = Network(task.layers(), lambda _, spec: DigitalWeights(initial_matrix(spec, rng)))
    means = [np.zeros(layer.weights.shape, np.float32) for layer in network.weighted]
    squares = [np.zeros(layer.weights.shape, np.float32) for layer in network.weighted]
    for step in range(1, 301):
        x, y = task.batch(np.random.default_rng([0, step]), 4)
        _, d = task.loss(network.forward(x), y)
        for layer, (gradient, _), mean, square in zip(
            network.weighted, network.backward(d), means, squares, strict=True
        ):
            mean += 0.1 * (gradient - mean)
            square += 0.01 * (gradient**2 - square)
            assert isinstance(layer.weights, DigitalWeights)
            scale = (1 - 0.9**step) / np.sqrt(1 - 0.99**step)
            layer.weights.matrix -= 3e-3 * mean / (scale * np.sqrt(square) + 1e-8)
    result = task.evaluate(network.infer, quick=True)
    assert result.input is not None
    assert result.value > result.input + 4.0


def test_a_users_folder_trains_and_evaluates(task: Task, photo_folder: Path) -> None:
    own = make_task({"name": "denoise", "data": {"folder": str(photo_folder)}})
    assert [item.name for item in own.evaluate(no_change, quick=False).items] == ["picture_1.png"]
    x, _ = own.batch(np.random.default_rng(0), 3)
    assert x.shape == (3, 32, 32, 1)
    items = task.evaluate(no_change, quick=False, folder=photo_folder).items
    assert [item.name for item in items] == ["picture_0.png", "picture_1.png", "picture_2.png"]


def test_one_image_cannot_be_trained_and_tested_on(photo_folder: Path) -> None:
    for name in ("picture_0.png", "picture_2.png"):
        (photo_folder / name).unlink()
    with pytest.raises(ConfigError, match="holds one image; expected at least 2"):
        make_task({"name": "denoise", "data": {"folder": str(photo_folder)}})


def test_network_settings_shape_the_network() -> None:
    specs = make_task({"name": "denoise", "channels": 8, "depth": 4, "kernel_first": 5}).layers()
    convolutions = [spec for spec in specs if isinstance(spec, Conv2d)]
    assert [c.matrix_shape for c in convolutions] == [(25, 8), (72, 8), (72, 8), (72, 1)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "denoise", "chanels": 3}, r"task\.chanels: .*not permitted"),
        ({"name": "denoise", "depth": 1}, r"task\.depth: .*greater than or equal to 2; given: 1"),
        ({"name": "denoise", "data": {"folder": 3}}, r"task\.data\.folder"),
        ({"name": "nonsense"}, "denoise.*digits.*super_resolution"),
        ({}, "task: .*name"),
    ],
)
def test_wrong_settings_are_told_in_one_line(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        make_task(settings)
    assert "\n" not in str(error.value)


def test_set12_has_the_published_noise_level(task: Task, images_dir: Path) -> None:
    assert task.evaluate(no_change, quick=False, folder=images_dir / "set12").input == pytest.approx(
        20.17, abs=0.02
    )
