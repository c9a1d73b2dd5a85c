"""Handwritten digits: scikit-learn's 1,797 images of 8 x 8 pixels and a network of two dense layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.sizes import Lines
from eapu_hil.hal import ConfigError
from eapu_hil.network.layers import Dense, Float32Array, LayerSpec, ReLU
from eapu_hil.tasks.base import Evaluation, Forward, Item, TaskModel, Triplet, cross_entropy
from eapu_hil.tasks.images import Image, missing_extra

_PIXELS, _CLASSES = 64, 10
_HELD_OUT_SHARE = 0.25
_SPLIT_SEED = 0
_MEAN_INK = np.float32(0.3)  # subtracted from the input, so that both signs of the drivers' range are used


class DigitsConfig(TaskModel):
    """The `task` section of an experiment. hidden: units between the two layers."""

    name: Literal["digits"] = "digits"
    hidden: Lines = 32

    def make(self) -> Digits:
        """See `TaskModel.make`."""
        return Digits(self)


class Digits:
    """Ten classes, softmax and cross entropy; the metric is the share of held-out digits that are recognised.

    A quarter of each class is held out, always the same one.
    """

    name = "digits"
    metric_name = "accuracy"

    def __init__(self, config: DigitsConfig) -> None:
        self._config = config
        try:
            from sklearn.datasets import load_digits
            from sklearn.model_selection import train_test_split
        except ImportError as error:
            missing_extra(error)
        pixels, labels = load_digits(return_X_y=True)
        inputs = (pixels / 16).astype(np.float32) - _MEAN_INK
        split = train_test_split(
            inputs, labels, test_size=_HELD_OUT_SHARE, stratify=labels, random_state=_SPLIT_SEED
        )
        self._x, self._x_held_out, self._y, self._y_held_out = split

    def layers(self) -> list[LayerSpec]:
        hidden = self._config.hidden
        return [Dense(_PIXELS, hidden), ReLU(), Dense(hidden, _CLASSES, gain=1.0)]

    def batch(self, rng: np.random.Generator, size: int) -> tuple[Float32Array, NDArray[Any]]:
        """Digits (size, 64) and their classes (size,)."""
        chosen = rng.integers(len(self._x), size=size)
        return self._x[chosen], self._y[chosen]

    def loss(self, out: Float32Array, y: NDArray[Any]) -> tuple[float, Float32Array]:
        return cross_entropy(out, y)

    def evaluate(self, forward: Forward, quick: bool, folder: Path | None = None) -> Evaluation:
        """Accuracy (0..1) on the held-out digits; `quick` takes all of them too."""
        if folder is not None:
            raise ConfigError(f"{folder}: task digits has its own data and takes no folder of images")
        right = forward(self._x_held_out).argmax(axis=1) == self._y_held_out
        items = [Item(str(d), None, float(right[self._y_held_out == d].mean())) for d in range(_CLASSES)]
        return Evaluation(None, float(right.mean()), None, tuple(items))

    def apply(self, forward: Forward, image: Image) -> Image:
        raise ConfigError("task digits classifies; only tasks that return images can be applied to one")

    def gallery(self, forward: Forward) -> list[Triplet]:
        return []
