"""A network that is trained on the host first and mapped to the arrays once, for rules that ask for it.

Until the mapping nothing of the array is used and nothing is written; after it the products run on the array, and the
last layer goes on being trained there. See `eapu_hil.rules.host_first` for the method, and its rules for the sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.network.layers import Float32Array, Weights, WeightSpec
from eapu_hil.network.network import Network
from eapu_hil.rules.contract import State
from eapu_hil.tasks import Task
from eapu_hil.training.array_model import ArrayModel
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.matrices import initial_matrices
from eapu_hil.training.write_log import WriteCounts

NOISE_STREAM = 4


class _HostFirst:
    """The weights of one layer: on the host, with noise in training, until `on_array` says otherwise.

    Evaluations before the mapping take the weights without noise.
    """

    def __init__(self, matrix: Float32Array, array: Weights) -> None:
        self.matrix = matrix
        self.noise: Float32Array | None = None  # of this step; None outside of a training step
        self.on_array = False
        self._array = array

    @property
    def shape(self) -> tuple[int, int]:
        return self._array.shape

    def forward(self, x: Float32Array) -> Float32Array:
        """`x @ W`."""
        return self._array.forward(x) if self.on_array else x @ self._noisy()

    def backward(self, d: Float32Array) -> Float32Array:
        """`d @ W.T`, with the weights of the forward pass."""
        return self._array.backward(d) if self.on_array else d @ self._noisy().T

    def _noisy(self) -> Float32Array:
        return self.matrix if self.noise is None else self.matrix + self.noise


class MappedModel:
    """`array`: where the weights go. Its rule is that of the layer which is trained in place, if any is."""

    def __init__(self, task: Task, config: ExperimentConfig, array: ArrayModel) -> None:
        rule = config.rule
        if rule.trains_on != "host_then_array":
            raise TypeError(f"rule {rule.name!r} trains on the array from the start")
        self._array = array
        self._seed, self._noise = config.seed, rule.host_noise
        self._map_step = round(config.steps * rule.host_share)
        on_array = {layer.name: layer.weights for layer in array.network.weighted}
        self._weights = {
            name: _HostFirst(matrix.copy(), on_array[name])
            for name, matrix in initial_matrices(task, config.seed).items()
        }
        self._last = list(self._weights)[-1]

        def make(name: str, _: WeightSpec) -> _HostFirst:
            return self._weights[name]

        self.network = Network(task.layers(), make)

    @property
    def array(self) -> ArrayModel | None:
        """See `Model.array`: nothing is on the arrays before the mapping."""
        return self._array if self._mapped else None

    def before_step(self, step: int) -> None:
        """Draws this step's noise on the weights that are still on the host."""
        rng = np.random.default_rng([self._seed, NOISE_STREAM, step])
        for weights in self._weights.values():
            sd = np.float32(self._noise) * np.abs(weights.matrix).max()
            weights.noise = sd * rng.standard_normal(weights.shape, dtype=np.float32)

    def update(self, step: int, wanted: Mapping[str, Float32Array], rng: np.random.Generator) -> WriteCounts:
        """On the host until the mapping, which is the end of its step; then the last layer on the array."""
        for weights in self._weights.values():
            weights.noise = None
        if self._mapped:
            return self._array.update(step, {self._last: wanted[self._last]}, rng)
        for name, change in wanted.items():
            matrix, largest = self._weights[name].matrix, self._array.largest_weight(name)
            np.clip(matrix + change, -largest, largest, out=matrix)
        if step < self._map_step:
            return WriteCounts(dict.fromkeys(self._weights, 0.0))
        counts = self._array.map_weights(step, {name: w.matrix for name, w in self._weights.items()})
        self._switch(True)
        return counts

    def saves_after(self, step: int) -> bool:
        """After the mapping: what is trained in place from then on must not be repeated by a run that goes on."""
        return step == self._map_step

    def state(self) -> State:
        """The host's weights, whether they were mapped, and the account of the rule on the array."""
        host = {f"host.{name}": weights.matrix.copy() for name, weights in self._weights.items()}
        return {**host, "mapped": np.array(self._mapped), **self._array.state()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        for name, weights in self._weights.items():
            weights.matrix[...] = state[f"host.{name}"]
        self._switch(bool(state["mapped"]))
        own = {"mapped", *(f"host.{name}" for name in self._weights)}
        self._array.restore({key: value for key, value in state.items() if key not in own})

    @property
    def _mapped(self) -> bool:
        return self._weights[self._last].on_array

    def _switch(self, on_array: bool) -> None:
        for weights in self._weights.values():
            weights.on_array = on_array
