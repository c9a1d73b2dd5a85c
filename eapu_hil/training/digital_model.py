"""The digital reference: float weights on the host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.network.layers import DigitalWeights, Float32Array, WeightSpec
from eapu_hil.network.network import Network
from eapu_hil.rules.contract import State
from eapu_hil.tasks import Task
from eapu_hil.training.matrices import initial_matrices
from eapu_hil.training.write_log import WriteCounts


class DigitalModel:
    """Takes every change as it is."""

    array = None

    def __init__(self, task: Task, seed: int) -> None:
        initial = initial_matrices(task, seed)
        self._weights = {name: DigitalWeights(matrix) for name, matrix in initial.items()}

        def make(name: str, _: WeightSpec) -> DigitalWeights:
            return self._weights[name]

        self.network = Network(task.layers(), make)

    def update(self, step: int, wanted: Mapping[str, Float32Array], rng: np.random.Generator) -> WriteCounts:  # noqa: ARG002 - the contract's
        """Adds the change to the weights."""
        for name, change in wanted.items():
            self._weights[name].matrix += change
        return WriteCounts({name: np.count_nonzero(change) / change.size for name, change in wanted.items()})

    def state(self) -> State:
        """The weights, by layer."""
        return {name: weights.matrix.copy() for name, weights in self._weights.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Puts back what `state` returned."""
        for name, weights in self._weights.items():
            weights.matrix[...] = state[name]
