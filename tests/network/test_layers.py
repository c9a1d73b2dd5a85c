"""Layers and networks: gradients against finite differences, tiles against the whole image."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import correlate2d

from eapu_hil.network.layers import (
    Conv2d,
    Dense,
    DigitalWeights,
    Flatten,
    LayerSpec,
    MaxPool,
    PixelShuffle,
    ReLU,
    Weights,
    WeightSpec,
    initial_matrix,
)
from eapu_hil.network.network import Network, named_weight_specs

NETWORKS: dict[str, tuple[list[LayerSpec], tuple[int, ...]]] = {
    "dense": ([Dense(7, 5), ReLU(), Dense(5, 3)], (4, 7)),
    "convolutions": ([Conv2d(2, 3), ReLU(), Conv2d(3, 2, kernel=5), ReLU(), Conv2d(2, 1)], (2, 7, 6, 2)),
    "sub-pixel": ([Conv2d(1, 3), ReLU(), Conv2d(3, 8), PixelShuffle(2), ReLU(), Conv2d(2, 1)], (2, 5, 4, 1)),
    "pooled": (
        [Conv2d(1, 3), MaxPool(2), ReLU(), Conv2d(3, 2), ReLU(), MaxPool(3), Flatten(), Dense(2, 3)],
        (2, 6, 7, 1),
    ),
    "flat images": ([Flatten(), Dense(12, 4), ReLU(), Dense(4, 2)], (3, 2, 3, 2)),
    "relu last": ([Dense(6, 4), ReLU()], (3, 6)),
}


def digital(specs: list[LayerSpec], seed: int = 0) -> Network:
    rng = np.random.default_rng(seed)
    network = Network(specs, lambda _, spec: DigitalWeights(initial_matrix(spec, rng)))
    for layer in network.weighted:
        layer.bias[:] = rng.normal(scale=0.3, size=layer.bias.shape)
    return network


def matrix_of(network: Network, layer: int) -> NDArray[np.float32]:
    weights = network.weighted[layer].weights
    assert isinstance(weights, DigitalWeights)
    return weights.matrix


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_agree_with_finite_differences(name: str) -> None:
    specs, shape = NETWORKS[name]
    network, rng = digital(specs), np.random.default_rng(1)
    x = rng.normal(size=shape).astype(np.float32)
    direction = rng.normal(size=network.forward(x).shape).astype(np.float32)

    def loss() -> float:
        return float(np.sum(network.infer(x).astype(np.float64) * direction))

    network.forward(x)
    gradients = network.backward(direction.copy())
    step = np.float32(2.0**-9)
    for layer, (d_matrix, d_bias) in enumerate(gradients):
        for parameters, gradient in (
            (matrix_of(network, layer), d_matrix),
            (network.weighted[layer].bias, d_bias),
        ):
            assert gradient.shape == parameters.shape
            for index in rng.choice(parameters.size, size=min(12, parameters.size), replace=False):
                before = parameters.flat[index]
                parameters.flat[index] = before + step
                above = loss()
                parameters.flat[index] = before - step
                below = loss()
                parameters.flat[index] = before
                numeric = (above - below) / (2 * float(step))
                scale = float(np.abs(gradient).max())
                assert gradient.flat[index] == pytest.approx(numeric, rel=0.02, abs=0.01 * scale)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_a_convolution_is_the_correlation_with_zero_padding(kernel: int) -> None:
    network, rng = digital([Conv2d(2, 3, kernel)]), np.random.default_rng(2)
    x = rng.normal(size=(1, 9, 8, 2)).astype(np.float32)
    kernels = matrix_of(network, 0).reshape(kernel, kernel, 2, 3)
    y = network.forward(x)
    for out in range(3):
        expected = sum(correlate2d(x[0, :, :, c], kernels[:, :, c, out], mode="same") for c in range(2))
        np.testing.assert_allclose(y[0, :, :, out], expected + network.weighted[0].bias[out], atol=1e-5)


def test_pixel_shuffle_spreads_channels_over_blocks() -> None:
    shuffle = digital([Conv2d(1, 4, kernel=1), PixelShuffle(2)])
    matrix_of(shuffle, 0)[:] = 1.0
    shuffle.weighted[0].bias[:] = [0.0, 1.0, 2.0, 3.0]
    y = shuffle.forward(np.zeros((1, 2, 3, 1), dtype=np.float32))
    np.testing.assert_array_equal(y[0, :, :, 0], np.tile([[0.0, 1.0], [2.0, 3.0]], (2, 3)))


@pytest.mark.parametrize("name", ["convolutions", "sub-pixel"])
def test_tiles_give_the_result_of_the_whole_image(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    specs, shape = NETWORKS[name]
    network = digital(specs)
    x = np.random.default_rng(3).normal(size=(1, 45, 70, shape[3])).astype(np.float32)
    whole = network.forward(x)
    monkeypatch.setattr("eapu_hil.network.network.TILE_PIXELS", 20)
    np.testing.assert_allclose(network.infer(x), whole, atol=1e-5)


def test_vectors_are_inferred_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    network = digital(NETWORKS["dense"][0])
    x = np.random.default_rng(3).normal(size=(11, 7)).astype(np.float32)
    whole = network.forward(x)
    monkeypatch.setattr("eapu_hil.network.network.VECTORS", 4)
    np.testing.assert_allclose(network.infer(x), whole, atol=1e-6)


def test_inference_between_the_passes_does_not_change_the_gradients() -> None:
    specs, shape = NETWORKS["convolutions"]
    rng = np.random.default_rng(4)
    x, other = rng.normal(size=(2, *shape)).astype(np.float32)
    network = digital(specs)
    d = np.ones_like(network.forward(x))
    expected = [matrix.copy() for matrix, _ in network.backward(d.copy())]
    network.forward(x)
    network.infer(other)
    for (matrix, _), reference in zip(network.backward(d.copy()), expected, strict=True):
        np.testing.assert_array_equal(matrix, reference)


class CountingWeights(DigitalWeights):
    """Notes the shapes of its products."""

    def __init__(self, matrix: NDArray[np.float32]) -> None:
        super().__init__(matrix)
        self.forward_shapes: list[tuple[int, ...]] = []
        self.backward_shapes: list[tuple[int, ...]] = []

    def forward(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        self.forward_shapes.append(x.shape)
        return super().forward(x)

    def backward(self, d: NDArray[np.float32]) -> NDArray[np.float32]:
        self.backward_shapes.append(d.shape)
        return super().backward(d)


def test_a_step_needs_one_product_a_layer_and_no_gradient_of_the_image() -> None:
    made: dict[str, CountingWeights] = {}

    def make(name: str, spec: WeightSpec) -> Weights:
        made[name] = CountingWeights(initial_matrix(spec, np.random.default_rng(0)))
        return made[name]

    network = Network([ReLU(), Conv2d(1, 3), ReLU(), Conv2d(3, 2)], make)
    network.backward(network.forward(np.ones((2, 4, 5, 1), dtype=np.float32)))
    assert made["conv1"].forward_shapes == [(40, 9)]
    assert made["conv1"].backward_shapes == []
    assert made["conv2"].forward_shapes == [(40, 27)]
    assert made["conv2"].backward_shapes == [(40, 2)]


def test_layers_are_named_by_kind_and_number() -> None:
    specs: list[LayerSpec] = [Conv2d(1, 2), ReLU(), Conv2d(2, 2), Dense(2, 3)]
    assert list(named_weight_specs(specs)) == ["conv1", "conv2", "dense1"]
    assert Network(specs[:3], lambda _, s: DigitalWeights(np.zeros(s.matrix_shape))).names == [
        "conv1",
        "conv2",
    ]


def test_initial_weights_keep_the_variance_through_a_relu() -> None:
    matrix = initial_matrix(Conv2d(14, 200), np.random.default_rng(0))
    assert matrix.shape == (126, 200)
    assert matrix.dtype == np.float32
    assert matrix.var() == pytest.approx(2 / 126, rel=0.05)


def test_mistakes_in_a_network_are_refused() -> None:
    with pytest.raises(ValueError, match="odd"):
        Conv2d(1, 1, kernel=4)
    with pytest.raises(ValueError, match=r"conv1.*\(9, 2\)"):
        Network([Conv2d(1, 2)], lambda _, __: DigitalWeights(np.zeros((9, 3))))
    with pytest.raises(RuntimeError, match="dense1"):
        digital([Dense(2, 2)]).backward(np.zeros((1, 2), dtype=np.float32))


def test_pooling_takes_the_largest_of_each_block_and_cuts_what_is_left_over() -> None:
    network = Network(
        [MaxPool(2), Flatten(), Dense(2, 2)], lambda _, __: DigitalWeights(np.eye(2, dtype=np.float32))
    )
    image = np.array([[1, 9, 3, 4, 99], [5, 6, 7, 2, 99], [99, 99, 99, 99, 99]], dtype=np.float32)
    np.testing.assert_array_equal(network.infer(image[None, :, :, None]), [[9, 7]])


def test_images_that_become_vectors_are_taken_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    specs, _ = NETWORKS["pooled"]
    network = digital(specs)
    x = np.random.default_rng(0).normal(size=(7, 6, 7, 1)).astype(np.float32)
    whole = network.forward(x)
    monkeypatch.setattr("eapu_hil.network.network.VECTORS", 100)  # two images at a time
    np.testing.assert_allclose(network.infer(x), whole, rtol=1e-5, atol=1e-6)
