"""The lab's task: three rings of points in the plane, told apart by a small network."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from eapu_hil.hal import ConfigError
from eapu_hil.network.layers import Dense, Float32Array, LayerSpec, ReLU
from eapu_hil.tasks import Evaluation, Forward, Item, TaskModel, Triplet
from eapu_hil.tasks.base import cross_entropy
from eapu_hil.tasks.images import Image

_CLASSES = 3


class RingsConfig(TaskModel):
    """The `task` section of an experiment. hidden: units between the two layers."""

    name: Literal["rings"] = "rings"
    hidden: PositiveInt = 12

    def make(self) -> Rings:
        """See `TaskModel.make`."""
        return Rings(self)


class Rings:
    """Three classes; the metric is the share of held-out points that are put into the right ring."""

    name = "rings"
    metric_name = "accuracy"

    def __init__(self, config: RingsConfig) -> None:
        self._hidden = config.hidden
        self._held_out = _points(np.random.default_rng(0), 300)

    def layers(self) -> list[LayerSpec]:
        return [Dense(4, self._hidden), ReLU(), Dense(self._hidden, _CLASSES, gain=1.0)]

    def batch(self, rng: np.random.Generator, size: int) -> tuple[Float32Array, NDArray[Any]]:
        """Points (size, 4) and their rings (size,)."""
        return _points(rng, size)

    def loss(self, out: Float32Array, y: NDArray[Any]) -> tuple[float, Float32Array]:
        """The mean cross entropy and its gradient."""
        return cross_entropy(out, y)

    def evaluate(self, forward: Forward, quick: bool, folder: Path | None = None) -> Evaluation:
        """Accuracy, 0 to 1; `quick` takes all points too."""
        if folder is not None:
            raise ConfigError(f"{folder}: task rings makes its own data and takes no folder of images")
        x, y = self._held_out
        right = forward(x).argmax(axis=1) == y
        items = [Item(f"ring {ring}", None, float(right[y == ring].mean())) for ring in range(_CLASSES)]
        return Evaluation(None, float(right.mean()), None, tuple(items))

    def apply(self, forward: Forward, image: Image) -> Image:
        raise ConfigError("task rings classifies; only tasks that return images can be applied to one")

    def gallery(self, forward: Forward) -> list[Triplet]:
        return []


def _points(rng: np.random.Generator, count: int) -> tuple[Float32Array, NDArray[np.int64]]:
    """Each point as x, y and their squares, so that a small network is enough."""
    ring = rng.integers(_CLASSES, size=count)
    radius = 0.25 + 0.3 * ring + 0.04 * rng.standard_normal(count)
    angle = rng.uniform(0, 2 * np.pi, count)
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    return np.stack([x, y, x**2, y**2], axis=1).astype(np.float32), ring
