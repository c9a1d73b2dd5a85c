"""Data in people's own files, without code: classes or numbers, predicted by a network that the experiment lists."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator

from eapu_hil.base.errors import ConfigError
from eapu_hil.base.tables import LARGEST
from eapu_hil.base.tabletext import as_number
from eapu_hil.network.layer_list import LayerList, check_order, layer_specs
from eapu_hil.network.layers import Float32Array, LayerSpec
from eapu_hil.tasks.base import Evaluation, Forward, Item, TaskModel, Triplet, cross_entropy, squared_error
from eapu_hil.tasks.images import Image
from eapu_hil.tasks.samples import DataFiles, Samples, read_samples

_HELD_OUT_SHARE = 0.2
_SPLIT_SEED, _QUICK_SEED = 0, 1
_QUICK_SAMPLES = 500  # of an evaluation during training
_WHOLE_MAX = 2**53  # of the numbers that float64 tells apart
_CLASSES_SHOWN = 8  # in a message


class ArraysConfig(TaskModel):
    """The `task` section of an experiment.

    data: the files, and what in them is input and what is predicted.
    kind: classification predicts a class of each sample, regression one or several numbers.
    layers: the network: a number is a dense layer of so many units, `relu` a ReLU, `{conv: CHANNELS, kernel: 3}` a
        convolution and `{pool: 2}` a pooling. The last has as many units as there are classes, or numbers to predict.
    scale: standardize brings each input feature, each channel of images and each predicted number to mean 0 and
        standard deviation 1 over the training data; none takes all as it is.
    """

    name: Literal["arrays"] = "arrays"
    data: DataFiles
    kind: Literal["classification", "regression"] = "classification"
    layers: LayerList
    scale: Literal["standardize", "none"] = "standardize"

    @field_validator("layers")
    @classmethod
    def _make_a_network(cls, layers: LayerList) -> LayerList:
        check_order(layers)
        return layers

    def make(self) -> Arrays:
        """See `TaskModel.make`."""
        return Arrays(self)


class Arrays:
    """Softmax and cross entropy with the metric accuracy, or squared error with the metric R2, on held-out samples.

    Classes are sorted, numbers by value and text by its letters; output k of the network is the k-th. Without a test
    file the held-out share of each class, or of all samples for regression, is drawn once and for all: it does not
    depend on the run's seed. R2 is 1 minus the squared error over that of the mean, averaged over what is predicted:
    it has no unit, so several numbers can be averaged, and like all metrics here it is the better the higher.
    """

    name = "arrays"

    def __init__(self, config: ArraysConfig) -> None:
        """Raises ConfigError, with file and place, for data that cannot be used or do not fit the layers."""
        self._config = config
        data, classify = config.data, config.kind == "classification"
        self.metric_name = "accuracy" if classify else "r2"
        samples = read_samples(data.train, data, not classify)
        test = read_samples(data.test, data, not classify, samples) if data.test is not None else None
        self.classes = _classes(samples) if classify else ()
        y = _class_numbers(samples, self.classes, samples) if classify else samples.y
        if test is None:
            trained, held = _split(samples, y, data.held_out or _HELD_OUT_SHARE, classify)
            x, x_held, y, y_held = samples.x[trained], samples.x[held], y[trained], y[held]
        else:
            x, x_held = samples.x, test.x
            y_held = _class_numbers(test, self.classes, samples) if classify else test.y
        self._x, self._x_held_out = self._scaled(
            x, x_held, samples.feature, "leave it out, or take task.scale: none"
        )
        self._check_layers(samples)
        self._items = self.classes or samples.target_names
        self._y, self._y_held_out = y, y_held
        if not classify:
            path = (test or samples).path
            _refuse_constant(
                y_held, lambda i: f"{path}: held-out {self._items[i]!r}", "R2 needs samples that differ"
            )
            self._y, self._y_held_out = self._scaled(
                y, y_held, lambda i: f"{samples.path}: {self._items[i]!r}", "there is nothing to predict"
            )
        self._quick = np.sort(np.random.default_rng(_QUICK_SEED).permutation(len(x_held))[:_QUICK_SAMPLES])

    def layers(self) -> list[LayerSpec]:
        try:
            return layer_specs(self._config.layers, self._x.shape[1:])
        except ValueError as error:
            raise ConfigError(f"{self._config.data.train}: task.layers: {error}") from error

    def batch(self, rng: np.random.Generator, size: int) -> tuple[Float32Array, NDArray[Any]]:
        """Scaled inputs, with their classes (size,) or their scaled numbers (size, targets)."""
        chosen = rng.integers(len(self._x), size=size)
        return self._x[chosen], self._y[chosen]

    def loss(self, out: Float32Array, y: NDArray[Any]) -> tuple[float, Float32Array]:
        return cross_entropy(out, y) if self.classes else squared_error(out, y)

    def evaluate(self, forward: Forward, quick: bool, folder: Path | None = None) -> Evaluation:
        """Accuracy (0..1) with that of each class, or R2 with that of each number; `quick` takes 500 samples."""
        if folder is not None:
            raise ConfigError(f"{folder}: task arrays has its own data and takes no folder of images")
        chosen = self._quick if quick else np.arange(len(self._x_held_out))
        out, y = forward(self._x_held_out[chosen]), self._y_held_out[chosen]
        if self.classes:
            right = out.argmax(axis=1) == y
            items = [
                Item(name, None, float(right[y == i].mean()))
                for i, name in enumerate(self.classes)
                if np.any(y == i)
            ]
            return Evaluation(None, float(right.mean()), None, tuple(items))
        # the variance of all held-out samples: that of a few may be 0
        error = np.mean((out - y) ** 2, axis=0, dtype=np.float64) / np.var(
            self._y_held_out, axis=0, dtype=np.float64
        )
        return Evaluation.of(
            [Item(name, None, float(1 - e)) for name, e in zip(self._items, error, strict=True)]
        )

    def apply(self, forward: Forward, image: Image) -> Image:
        raise ConfigError(
            "task arrays predicts classes or numbers; only tasks that return images can be applied to one"
        )

    def gallery(self, forward: Forward) -> list[Triplet]:
        return []

    def record(self) -> dict[str, Any]:
        """The classes in the order of the outputs, or the names of the numbers, and what tells changed files."""
        files = {"train": self._config.data.train, "test": self._config.data.test}
        sums = {f"{key}_sha256": _sha256(path) for key, path in files.items() if path is not None}
        return {"classes" if self.classes else "targets": list(self._items), **sums}

    def _check_layers(self, samples: Samples) -> None:
        self.layers()
        units = self._config.layers[-1]
        wanted = len(self.classes) if self.classes else samples.y.shape[1]
        if units == wanted:
            return
        what = (
            f"{wanted} classes ({_shown(self.classes)})" if self.classes else f"{wanted} numbers to predict"
        )
        hint = "; numbers to predict instead of classes: task.kind: regression" if self.classes else ""
        raise ConfigError(f"{samples.path}: {what}, but the last of task.layers has {units} units{hint}")

    def _scaled(
        self,
        trained: NDArray[np.float64],
        held: NDArray[np.float64],
        label: Callable[[int], str],
        then: str,
    ) -> tuple[Float32Array, Float32Array]:
        """Both as float32, by mean and standard deviation of the training data over all axes but the last.

        label, then: see `_refuse_constant`.
        """
        if self._config.scale == "none":
            return trained.astype(np.float32), held.astype(np.float32)
        _refuse_constant(trained, label, then)
        axes = tuple(range(trained.ndim - 1))
        mean, sd = trained.mean(axis=axes), trained.std(axis=axes)
        return ((trained - mean) / sd).astype(np.float32), ((held - mean) / sd).astype(np.float32)


def _refuse_constant(values: NDArray[np.float64], label: Callable[[int], str], then: str) -> None:
    """label: how messages call a column, or a channel, by its index. then: what to do about it."""
    for (i,) in np.argwhere(np.ptp(values, axis=tuple(range(values.ndim - 1))) < 1 / LARGEST)[:1]:
        value = values.reshape(-1, values.shape[-1])[0, i]
        raise ConfigError(f"{label(i)} is {value:g} in every sample; {then}")


def _classes(samples: Samples) -> tuple[str, ...]:
    """The classes of the training data, sorted; numbers as whole ones. Raises ConfigError for one alone."""
    found = sorted(set(samples.y.tolist()))
    numbers = [as_number(text) for text in found]
    if all(number is not None for number in numbers):
        for text, number in zip(found, numbers, strict=True):
            if number is None or not number.is_integer():
                place = samples.row(samples.y.tolist().index(text))
                raise ConfigError(
                    f"{place}: {text} is no class; numbers to predict need task.kind: regression"
                )
            if abs(number) > _WHOLE_MAX:
                place = samples.row(samples.y.tolist().index(text))
                raise ConfigError(
                    f"{place}: class {text} is too large to be told from its neighbours; write classes as text, or as "
                    f"numbers up to {_WHOLE_MAX}"
                )
        found = [str(whole) for whole in sorted({int(number) for number in numbers if number is not None})]
    if len(found) < 2:
        raise ConfigError(f"{samples.path}: one class alone, {found[0]!r}; expected two or more")
    return tuple(found)


def _class_numbers(samples: Samples, classes: tuple[str, ...], training: Samples) -> NDArray[Any]:
    """The number of each sample's class. Raises ConfigError, with its place, for one that training has not."""
    place = {name: i for i, name in enumerate(classes)}
    numeric = all(as_number(name) is not None for name in classes)
    found = np.empty(len(samples.y), dtype=np.int64)
    for i, text in enumerate(samples.y.tolist()):
        number = as_number(text) if numeric else None
        name = str(int(number)) if number is not None and number.is_integer() else text
        if name not in place:
            raise ConfigError(
                f"{samples.row(i)}: class {text!r} is none of those in {training.path}: {_shown(classes)}"
            )
        found[i] = place[name]
    return found


def _split(
    samples: Samples, y: NDArray[Any], share: float, classify: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which samples are trained on and which are held out, at least one of each class, or two of all, on both sides."""
    rng = np.random.default_rng(_SPLIT_SEED)
    groups = [np.flatnonzero(y == i) for i in range(int(y.max()) + 1)] if classify else [np.arange(len(y))]
    fewest, held = (1 if classify else 2), []
    for group in groups:
        if len(group) < 2 * fewest:
            what = (
                f"class {str(samples.y[group[0]])!r} has one sample" if classify else f"{len(group)} samples"
            )
            raise ConfigError(
                f"{samples.path}: {what}; at least {2 * fewest} are needed, to train on and to hold out"
            )
        count = min(max(round(share * len(group)), fewest), len(group) - fewest)
        held.append(rng.permutation(group)[:count])
    held_out = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(y)), held_out), held_out


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:_CLASSES_SHOWN]) + (", ..." if len(names) > _CLASSES_SHOWN else "")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
