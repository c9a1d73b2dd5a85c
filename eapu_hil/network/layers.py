"""The layers of a network: descriptions of them, and their forward and backward passes in numpy.

A layer with weights lowers its work to products with one matrix of shape (n_in, n_out). Where that matrix
lives is not its business: anything that fulfils `Weights` will do, host floats or pairs of conductances on
an array. Biases and everything between the products are digital.

Activations are float32: images (batch, height, width, channels), vectors (batch, n). Convolutions pad with
zeros so that an image keeps its size ('same'). The matrix of a convolution has its inputs in the order
(kernel row, kernel column, channel).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]


class Weights(Protocol):
    """A matrix of shape (n_in, n_out) and the two products that a layer needs of it."""

    @property
    def shape(self) -> tuple[int, int]: ...

    def forward(self, x: Float32Array) -> Float32Array:
        """`x @ W`: (n, n_in) -> (n, n_out), float32, contiguous, and the caller's to change."""
        ...

    def backward(self, d: Float32Array) -> Float32Array:
        """`d @ W.T`: (n, n_out) -> (n, n_in), float32, contiguous, and the caller's to change."""
        ...


class DigitalWeights:
    """A matrix of host floats: the reference that every rule on an array is compared with."""

    def __init__(self, matrix: Float32Array) -> None:
        self.matrix = np.array(matrix, dtype=np.float32)

    @property
    def shape(self) -> tuple[int, int]:
        n_in, n_out = self.matrix.shape
        return n_in, n_out

    def forward(self, x: Float32Array) -> Float32Array:
        return x @ self.matrix

    def backward(self, d: Float32Array) -> Float32Array:
        return d @ self.matrix.T


@dataclass(frozen=True)
class Dense:
    """A fully connected layer. `gain`: see `initial_matrix`."""

    n_in: int
    n_out: int
    gain: float = 2.0
    kind: str = "dense"

    @property
    def matrix_shape(self) -> tuple[int, int]:
        return self.n_in, self.n_out


@dataclass(frozen=True)
class Conv2d:
    """A convolution with an odd square kernel, stride 1 and zero padding. `gain`: see `initial_matrix`."""

    channels_in: int
    channels_out: int
    kernel: int = 3
    gain: float = 2.0
    kind: str = "conv"

    def __post_init__(self) -> None:
        if self.kernel % 2 != 1:
            raise ValueError(f"a kernel of {self.kernel} has no centre; expected an odd number")

    @property
    def matrix_shape(self) -> tuple[int, int]:
        return self.kernel**2 * self.channels_in, self.channels_out


@dataclass(frozen=True)
class ReLU:
    """max(x, 0)."""


@dataclass(frozen=True)
class PixelShuffle:
    """(h, w, c * factor**2) -> (h * factor, w * factor, c): sub-pixel output (doi 10.1109/CVPR.2016.207)."""

    factor: int


@dataclass(frozen=True)
class MaxPool:
    """The largest of every `size` x `size` block of pixels; what is left over at the lower and right edge is cut."""

    size: int


@dataclass(frozen=True)
class Flatten:
    """(h, w, c) -> (h * w * c,): from images to vectors."""


WeightSpec = Dense | Conv2d
LayerSpec = Dense | Conv2d | ReLU | PixelShuffle | MaxPool | Flatten


def initial_matrix(spec: WeightSpec, rng: np.random.Generator) -> Float32Array:
    """Normal weights of variance gain / n_in, shape (n_in, n_out).

    He et al. 2015, doi 10.1109/ICCV.2015.123: a gain of 2 keeps the variance of activations through a ReLU.
    """
    sd = np.float32(math.sqrt(spec.gain / spec.matrix_shape[0]))
    return rng.standard_normal(spec.matrix_shape, dtype=np.float32) * sd


class Layer(Protocol):
    """One step of a network. A kept forward pass is what the next backward pass differentiates."""

    def forward(self, x: Float32Array, keep: bool) -> Float32Array: ...

    def backward(self, d: Float32Array, want_input: bool) -> Float32Array:
        """The gradient with respect to the layer's input; `d` is consumed.

        `want_input` False: nobody needs that gradient, what comes back is `d` itself.
        """
        ...


GradientOf = Callable[[Float32Array, Float32Array], Float32Array]


def true_gradient(x: Float32Array, d: Float32Array) -> Float32Array:
    """dW of y = x W, (n_in, n_out), from the inputs (n, n_in) and the gradient at the output (n, n_out)."""
    return x.T @ d


_ROWS = 32


def _column_sums(d: Float32Array) -> Float32Array:
    """`d.sum(axis=0)`, a few rows side by side: numpy is slow where rows are short."""
    many = len(d) // _ROWS * _ROWS
    side_by_side = d[:many].reshape(-1, _ROWS * d.shape[1]).sum(axis=0)
    sums: Float32Array = side_by_side.reshape(_ROWS, -1).sum(axis=0) + d[many:].sum(axis=0)
    return sums


class WeightLayer:
    """The base of layers with weights: name, matrix, bias and the gradients of the last backward pass.

    gradient_of: dW from the inputs (n, n_in) and errors (n, n_out) of a batch; rules may have their own.
    """

    def __init__(self, name: str, weights: Weights) -> None:
        self.name = name
        self.weights = weights
        self.bias = np.zeros(weights.shape[1], dtype=np.float32)
        self.gradient_of: GradientOf = true_gradient
        self._x: Float32Array | None = None
        self._gradients: tuple[Float32Array, Float32Array] | None = None

    @property
    def gradients(self) -> tuple[Float32Array, Float32Array]:
        """dW (n_in, n_out) and db (n_out,) of the last backward pass."""
        if self._gradients is None:
            raise RuntimeError(f"{self.name}: no backward pass yet")
        return self._gradients

    @property
    def vectors(self) -> int:
        """Vectors of the last kept forward pass: how often each weight was used in it."""
        return 0 if self._x is None else len(self._x)

    def _product(self, x: Float32Array, keep: bool) -> Float32Array:
        if keep:
            self._x = x
        y = self.weights.forward(x)
        y += self.bias
        return y

    def _differentiate(self, d: Float32Array, want_input: bool) -> Float32Array:
        if self._x is None:
            raise RuntimeError(f"{self.name}: backward without a kept forward pass")
        self._gradients = (self.gradient_of(self._x, d), _column_sums(d))
        return self.weights.backward(d) if want_input else d


class DenseLayer(WeightLayer):
    """y = x W + b."""

    def forward(self, x: Float32Array, keep: bool) -> Float32Array:
        return self._product(x, keep)

    def backward(self, d: Float32Array, want_input: bool) -> Float32Array:
        return self._differentiate(d, want_input)


class ReluLayer:
    """max(x, 0), in place: its input is the output of a product, which nobody else needs."""

    def __init__(self) -> None:
        self._y: Float32Array | None = None

    def forward(self, x: Float32Array, keep: bool) -> Float32Array:
        y = np.maximum(x, np.float32(0), out=x)
        if keep:
            self._y = y
        return y

    def backward(self, d: Float32Array, want_input: bool) -> Float32Array:
        if self._y is None:
            raise RuntimeError("ReLU: backward without a kept forward pass")
        if want_input:
            d *= self._y > 0
        return d


class PixelShuffleLayer:
    """Spreads groups of factor**2 channels over a factor x factor block of pixels."""

    def __init__(self, factor: int) -> None:
        self._factor = factor

    def forward(self, x: Float32Array, keep: bool) -> Float32Array:
        b, h, w, c = x.shape
        f = self._factor
        return (
            x.reshape(b, h, w, f, f, c // f**2)
            .transpose(0, 1, 3, 2, 4, 5)
            .reshape(b, h * f, w * f, c // f**2)
        )

    def backward(self, d: Float32Array, want_input: bool) -> Float32Array:
        b, h, w, c = d.shape
        f = self._factor
        blocks = d.reshape(b, h // f, f, w // f, f, c).transpose(0, 1, 3, 2, 4, 5)
        return blocks.reshape(b, h // f, w // f, c * f**2)


class MaxPoolLayer:
    """The largest of every block; its gradient goes to that pixel, the first of several equal ones."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: tuple[tuple[int, ...], NDArray[np.intp]] | None = None

    def forward(self, x: Float32Array, keep: bool) -> Float32Array:
        b, h, w, c = x.shape
        s = self._size
        rows, cols = h // s, w // s
        blocks = x[:, : rows * s, : cols * s].reshape(b, rows, s, cols, s, c)
        blocks = blocks.transpose(0, 1, 3, 5, 2, 4).reshape(b, rows, cols, c, s * s)
        which = blocks.argmax(axis=4)
        if keep:
            self._kept = (x.shape, which)
        return np.ascontiguousarray(np.take_along_axis(blocks, which[..., None], axis=4)[..., 0])

    def backward(self, d: Float32Array, want_input: bool) -> Float32Array:
        if self._kept is None:
            raise RuntimeError("MaxPool: backward without a kept forward pass")
        if not want_input:
            return d
        shape, which = self._kept
        (b, rows, cols, c), s = which.shape, self._size
        blocks = np.zeros((b, rows, cols, c, s * s), dtype=np.float32)
        np.put_along_axis(blocks, which[..., None], d[..., None], axis=4)
        image = np.zeros(shape, dtype=np.float32)
        blocks = blocks.reshape(b, rows, cols, c, s, s).transpose(0, 1, 4, 2, 5, 3)
        image[:, : rows * s, : cols * s] = blocks.reshape(b, rows * s, cols * s, c)
        return image


class FlattenLayer:
    """Images to vectors and back."""

    def __init__(self) -> None:
        self._shape: tuple[int, ...] = ()  # of one image

    def forward(self, x: Float32Array, keep: bool) -> Float32Array:
        if keep:
            self._shape = x.shape[1:]
        return x.reshape(len(x), -1)

    def backward(self, d: Float32Array, want_input: bool) -> Float32Array:
        return d.reshape(len(d), *self._shape)
