"""A task of one's own: points in the plane, of which the network says whether they lie inside a ring.

It is called `rings_task:RingsConfig` in an experiment file, and is used with `--allow-module rings_task`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt

from eapu_hil.hal import ConfigError
from eapu_hil.network.layers import Dense, Float32Array, LayerSpec, ReLU
from eapu_hil.tasks import Evaluation, Forward, Item, TaskModel, Triplet
from eapu_hil.tasks.base import squared_error
from eapu_hil.tasks.images import Image

_HELD_OUT, _HELD_OUT_SEED = 1000, 7


class RingsConfig(TaskModel):
    """The keys of the task in an experiment file. hidden: units between the layers. radius: of the ring."""

    hidden: PositiveInt = 24
    radius: PositiveFloat = 0.8

    def make(self) -> Rings:
        """The task with its data."""
        return Rings(self)


class Rings:
    """Points (x, y, 1) with x and y in -1..1; the output is above 0 for a point inside the ring."""

    name = "rings"
    metric_name = "accuracy"

    def __init__(self, config: RingsConfig) -> None:
        self._config = config
        self._held_out = self._points(np.random.default_rng(_HELD_OUT_SEED), _HELD_OUT)

    def layers(self) -> list[LayerSpec]:
        """The network."""
        return [Dense(3, self._config.hidden), ReLU(), Dense(self._config.hidden, 1, gain=1.0)]

    def batch(self, rng: np.random.Generator, size: int) -> tuple[Float32Array, NDArray[Any]]:
        """Points (size, 3), and +1 or -1 for each (size, 1)."""
        return self._points(rng, size)

    def loss(self, out: Float32Array, y: NDArray[Any]) -> tuple[float, Float32Array]:
        """The mean squared error and its gradient."""
        return squared_error(out, y)

    def evaluate(self, forward: Forward, quick: bool, folder: Path | None = None) -> Evaluation:
        """Share of the held-out points that are told right."""
        if folder is not None:
            raise ConfigError(f"{folder}: task rings makes its own data and takes no folder of images")
        x, y = self._held_out
        right = float(np.mean(np.sign(forward(x)) == y))
        return Evaluation.of([Item("points", None, right)])

    def apply(self, forward: Forward, image: Image) -> Image:
        """Points are no images."""
        raise ConfigError("task rings classifies points; only tasks that return images can be applied to one")

    def gallery(self, forward: Forward) -> list[Triplet]:
        """No pictures for the report."""
        return []

    def _points(self, rng: np.random.Generator, size: int) -> tuple[Float32Array, NDArray[np.float32]]:
        x = rng.uniform(-1, 1, (size, 3)).astype(np.float32)
        x[:, 2] = 1.0
        inside = np.hypot(x[:, 0], x[:, 1]) < self._config.radius
        return x, np.where(inside, 1.0, -1.0).astype(np.float32)[:, None]
