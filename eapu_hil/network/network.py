"""A network: layers in a row, with the forward pass for training and the tiled one for images of any size."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from eapu_hil.network.convolution import ConvLayer
from eapu_hil.network.layers import (
    Conv2d,
    Dense,
    DenseLayer,
    Flatten,
    FlattenLayer,
    Float32Array,
    Layer,
    LayerSpec,
    MaxPool,
    MaxPoolLayer,
    PixelShuffle,
    PixelShuffleLayer,
    ReLU,
    ReluLayer,
    Weights,
    WeightSpec,
)

TILE_PIXELS = 256  # edge of a tile: 126 inputs a pixel make 33 MB of patches
VECTORS = 65536  # as many vectors as such a tile has pixels

MakeWeights = Callable[[str, WeightSpec], Weights]


def named_weight_specs(specs: Sequence[LayerSpec]) -> dict[str, WeightSpec]:
    """The layers with weights, in order, by name: kind and running number, as in `conv1`, `dense2`."""
    counts: Counter[str] = Counter()
    named: dict[str, WeightSpec] = {}
    for spec in specs:
        if isinstance(spec, Dense | Conv2d):
            counts[spec.kind] += 1
            named[f"{spec.kind}{counts[spec.kind]}"] = spec
    return named


class Network:
    """Layers in a row.

    specs: what the layers are.
    make_weights: gives each layer with weights, by name, the place where its matrix lives.
    """

    def __init__(self, specs: Sequence[LayerSpec], make_weights: MakeWeights) -> None:
        self.specs = tuple(specs)
        self.weighted: list[DenseLayer | ConvLayer] = []
        self._layers: list[Layer] = []
        names = iter(named_weight_specs(specs))
        for spec in self.specs:
            match spec:
                case ReLU():
                    self._layers.append(ReluLayer())
                case PixelShuffle():
                    self._layers.append(PixelShuffleLayer(spec.factor))
                case MaxPool():
                    self._layers.append(MaxPoolLayer(spec.size))
                case Flatten():
                    self._layers.append(FlattenLayer())
                case Dense() | Conv2d():
                    name = next(names)
                    layer = _weight_layer(name, spec, make_weights(name, spec))
                    self._layers.append(layer)
                    self.weighted.append(layer)
        # below the first layer with weights nobody needs a gradient
        self._first = self._layers.index(self.weighted[0])

    @property
    def names(self) -> list[str]:
        """Names of the layers with weights, in order."""
        return [layer.name for layer in self.weighted]

    def forward(self, x: Float32Array) -> Float32Array:
        """The output for a training batch; what `backward` needs is kept."""
        return self._run(x, keep=True)

    def backward(self, d: Float32Array) -> list[tuple[Float32Array, Float32Array]]:
        """Gradients (dW, db) of each layer with weights, in order.

        d: the gradient of the loss with respect to the output; it is consumed.
        """
        for i in range(len(self._layers) - 1, self._first - 1, -1):
            d = self._layers[i].backward(d, want_input=i > self._first)
        return [layer.gradients for layer in self.weighted]

    def infer(self, x: Float32Array) -> Float32Array:
        """The output alone, in pieces that bound the memory: images in tiles, vectors in blocks.

        Tiles overlap by as many pixels as the network sees beyond one, so the result is that of the whole
        image at once. A network that pools or ends in vectors takes its images whole, in blocks of several.
        """
        if x.ndim == 2 or any(isinstance(spec, MaxPool | Flatten) for spec in self.specs):
            block = max(1, VECTORS // math.prod(x.shape[1:3] if x.ndim == 4 else ()))
            blocks = [self._run(x[i : i + block], keep=False) for i in range(0, len(x), block)]
            return np.concatenate(blocks)
        scale, halo = _geometry(self.specs)
        batch, height, width, _ = x.shape
        edge = max(16, int(TILE_PIXELS / math.sqrt(batch)))
        rows = []
        for top in range(0, height, edge):
            tiles = [self._tile(x, (top, left), edge, (scale, halo)) for left in range(0, width, edge)]
            rows.append(np.concatenate(tiles, axis=2))
        return np.concatenate(rows, axis=1)

    def _tile(
        self, x: Float32Array, corner: tuple[int, int], edge: int, geometry: tuple[int, int]
    ) -> Float32Array:
        (top, left), (scale, halo) = corner, geometry
        top0, left0 = max(0, top - halo), max(0, left - halo)
        y = self._run(x[:, top0 : top + edge + halo, left0 : left + edge + halo], keep=False)
        row, col = (top - top0) * scale, (left - left0) * scale
        height, width = min(edge, x.shape[1] - top) * scale, min(edge, x.shape[2] - left) * scale
        return y[:, row : row + height, col : col + width]

    def _run(self, x: Float32Array, keep: bool) -> Float32Array:
        for layer in self._layers:
            x = layer.forward(x, keep)
        return x


def _weight_layer(name: str, spec: WeightSpec, weights: Weights) -> DenseLayer | ConvLayer:
    if weights.shape != spec.matrix_shape:
        raise ValueError(f"{name}: weights of shape {weights.shape}; the layer needs {spec.matrix_shape}")
    return ConvLayer(name, weights, spec.kernel) if isinstance(spec, Conv2d) else DenseLayer(name, weights)


def _geometry(specs: Sequence[LayerSpec]) -> tuple[int, int]:
    """How much larger the output image is, and how many input pixels beyond its own an output pixel sees."""
    scale, halo = 1, 0
    for spec in specs:
        if isinstance(spec, Conv2d):
            halo += math.ceil(spec.kernel // 2 / scale)
        elif isinstance(spec, PixelShuffle):
            scale *= spec.factor
    return scale, halo
