"""The layers of a network as an experiment file lists them: `[{conv: 8, kernel: 3}, relu, {pool: 2}, 32, relu, 10]`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator

from eapu_hil.base.sizes import WEIGHTS_MAX, Edge, Lines
from eapu_hil.network.layers import Conv2d, Dense, Flatten, LayerSpec, MaxPool, ReLU


class Convolution(BaseModel):
    """A convolution, stride 1, padded with zeros. conv: channels that it gives. kernel: its edge, an odd number."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    conv: Lines
    kernel: Edge = 3

    @field_validator("kernel")
    @classmethod
    def _has_a_centre(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError("must be odd, so that the kernel has a centre")
        return kernel


class Pooling(BaseModel):
    """pool: edge of the blocks of pixels of which the largest is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pool: Annotated[int, Field(ge=2)]


def _kind(item: Any) -> str | None:
    if isinstance(item, (dict, BaseModel)):
        keys = item if isinstance(item, dict) else type(item).model_fields
        return "Convolution" if "conv" in keys else "Pooling" if "pool" in keys else None
    if isinstance(item, str):
        return "word"
    return "units" if isinstance(item, int) and not isinstance(item, bool) else None


ListedLayer = Annotated[
    Annotated[Lines, Tag("units")]
    | Annotated[Literal["relu"], Tag("word")]
    | Annotated[Convolution, Tag("Convolution")]
    | Annotated[Pooling, Tag("Pooling")],
    Discriminator(
        _kind,
        custom_error_type="layer",
        custom_error_message="must be the units of a dense layer, relu, {conv: CHANNELS, kernel: 3} or {pool: 2}",
    ),
]
LayerList = Annotated[tuple[ListedLayer, ...], Field(min_length=1, max_length=1000)]


def check_order(layers: Sequence[ListedLayer]) -> None:
    """Raises ValueError, with the number of the layer, for an order that makes no network of vectors at the end."""
    dense = False
    for number, layer in enumerate(layers):
        if layer == "relu" and number == 0:
            raise ValueError("layer 0: relu needs a layer before it")
        if dense and isinstance(layer, Convolution | Pooling):
            what = "conv" if isinstance(layer, Convolution) else "pool"
            raise ValueError(f"layer {number}: {what} works on images and cannot follow a dense layer")
        dense = dense or isinstance(layer, int)
    if not isinstance(layers[-1], int):
        raise ValueError("the last layer must be a dense one: the number of classes or of predicted numbers")


def layer_specs(layers: Sequence[ListedLayer], shape: tuple[int, ...]) -> list[LayerSpec]:
    """The network for inputs of `shape`: (n,) for vectors, (height, width, channels) for images.

    A dense layer takes images as vectors. The initial weights of layers with a ReLU behind them have a gain of 2, of
    those without 1. Raises ValueError, with the number of the layer, where the shape does not allow it.
    """
    specs: list[LayerSpec] = []
    for number, layer in enumerate(layers):
        if isinstance(layer, Convolution | Pooling) and len(shape) != 3:
            raise ValueError(
                f"layer {number}: {_text(layer)} works on images; the data are vectors of {shape[0]}"
            )
        match layer:
            case Convolution():
                _require_room(number, shape[2] * layer.conv * layer.kernel**2)
                specs.append(Conv2d(shape[2], layer.conv, layer.kernel, _gain(layers[number + 1 :])))
                shape = (*shape[:2], layer.conv)
            case Pooling():
                if min(shape[:2]) < layer.pool:
                    raise ValueError(
                        f"layer {number}: {_text(layer)} needs at least {layer.pool} x {layer.pool} pixels; "
                        f"here there are {shape[0]} x {shape[1]}"
                    )
                specs.append(MaxPool(layer.pool))
                shape = (shape[0] // layer.pool, shape[1] // layer.pool, shape[2])
            case int():
                if len(shape) == 3:
                    specs.append(Flatten())
                _require_room(number, math.prod(shape) * layer)
                specs.append(Dense(math.prod(shape), layer, _gain(layers[number + 1 :])))
                shape = (layer,)
            case _:
                specs.append(ReLU())
    return specs


def _require_room(number: int, weights: int) -> None:
    if weights > WEIGHTS_MAX:
        raise ValueError(f"layer {number}: {weights} weights; allowed are {WEIGHTS_MAX}")


def _gain(after: Sequence[ListedLayer]) -> float:
    first = next((layer for layer in after if not isinstance(layer, Pooling)), None)
    return 2.0 if first == "relu" else 1.0


def _text(layer: Convolution | Pooling) -> str:
    return f"conv {layer.conv}" if isinstance(layer, Convolution) else f"pool {layer.pool}"
