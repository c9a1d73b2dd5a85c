"""The parts of a task: its data, its network, its loss and its metric."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from eapu_hil.hal import ConfigError
from eapu_hil.network.layers import Float32Array, LayerSpec
from eapu_hil.tasks.images import Image, read_folder

EXAMPLES_SHOWN = 2  # of an evaluation, their middle
Forward = Callable[[Float32Array], Float32Array]


class TaskModel(BaseModel, ABC):
    """The keys of one task in an experiment file; unknown ones are refused.

    name: as it stands in the file, which is also how the task was found.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str

    @abstractmethod
    def make(self) -> Task:
        """The task with its data loaded.

        Raises ConfigError for data that cannot be used, or a package that is missing.
        """


class DataConfig(BaseModel):
    """The user's own images. folder: a directory of image files, relative to the working directory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path


@dataclass(frozen=True)
class Item:
    """One image, or one set of samples, of an evaluation.

    input: the metric of what goes into the network (noisy image, bicubic enlargement), None if there is none.
    value: the metric of what comes out.
    ssim: structural similarity of what comes out, None where it means nothing.
    """

    name: str
    input: float | None
    value: float
    ssim: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """The means over `items`, and the items. examples: pictures of some of them, few and small."""

    input: float | None
    value: float
    ssim: float | None
    items: tuple[Item, ...]
    examples: tuple[Triplet, ...] = ()

    @classmethod
    def of(cls, items: list[Item], examples: Sequence[Triplet] = ()) -> Evaluation:
        """Means of what all items have."""

        def mean(values: list[float | None]) -> float | None:
            known = [value for value in values if value is not None]
            return float(np.mean(known)) if len(known) == len(values) else None

        value = float(np.mean([item.value for item in items]))
        return cls(
            mean([i.input for i in items]),
            value,
            mean([i.ssim for i in items]),
            tuple(items),
            tuple(examples),
        )


@dataclass(frozen=True, eq=False)
class Triplet:
    """A picture for the report: what goes in, what comes out, and what should; float32 in 0..1, (h, w)."""

    name: str
    input: Image
    output: Image
    reference: Image


@runtime_checkable
class Recording(Protocol):
    """An optional ability of a task: facts about its data that a run records."""

    def record(self) -> dict[str, Any]:
        """Plain values for start.yaml. A run is only continued or evaluated while they are what they were."""
        ...


class Task(Protocol):
    """Data, network, loss and metric. `forward` is the network's output for a batch of inputs."""

    name: str
    metric_name: str  # psnr_db, accuracy, r2 ...; higher is better

    def layers(self) -> list[LayerSpec]:
        """The network."""
        ...

    def batch(self, rng: np.random.Generator, size: int) -> tuple[Float32Array, NDArray[Any]]:
        """Inputs and wanted outputs of `size` random training samples."""
        ...

    def loss(self, out: Float32Array, y: NDArray[Any]) -> tuple[float, Float32Array]:
        """The mean loss of a batch and its gradient with respect to `out`."""
        ...

    def evaluate(self, forward: Forward, quick: bool, folder: Path | None = None) -> Evaluation:
        """The metric on held-out data, the same at every call.

        quick: small fixed crops, for use during training. folder: all images of this directory instead.
        Raises ConfigError for a folder that cannot be used.
        """
        ...

    def apply(self, forward: Forward, image: Image) -> Image:
        """The output of the network for a user's image in 0..1, grey (h, w) or colour (h, w, 3).

        Raises ConfigError for tasks that do not work on images.
        """
        ...

    def gallery(self, forward: Forward) -> list[Triplet]:
        """Held-out pictures for the report; empty for tasks without pictures."""
        ...


def load_split(folder: Path, smallest: int) -> tuple[list[Image], list[tuple[str, Image]]]:
    """Training and held-out images of a user's folder: every fifth in the order of names is held out.

    Raises ConfigError as `read_folder` does, and if there is only one image.
    """
    images = read_folder(folder, smallest)
    if len(images) < 2:
        raise ConfigError(f"{folder}: holds one image; expected at least 2, one to train on and one held out")
    return [image for i, (_, image) in enumerate(images) if i % 5 != 1], images[1::5]


def squared_error(out: Float32Array, y: NDArray[Any]) -> tuple[float, Float32Array]:
    """The mean of (out - y)^2 and its gradient with respect to `out`."""
    error = out - y
    return float(np.mean(error * error)), error * np.float32(2.0 / error.size)


def cross_entropy(out: Float32Array, y: NDArray[Any]) -> tuple[float, Float32Array]:
    """The mean cross entropy of softmax(out) (n, classes) and the classes `y` (n,), and its gradient at `out`."""
    shifted = out - out.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    samples = np.arange(len(y))
    gradient = np.exp(shifted - log_sum)
    gradient[samples, y] -= 1
    mean_loss = float(np.mean(log_sum[:, 0] - shifted[samples, y]))
    return mean_loss, (gradient / len(y)).astype(np.float32)
