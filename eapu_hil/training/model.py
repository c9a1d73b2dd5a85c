"""A network that can be trained: where its weights live and how a wanted change reaches them.

`Model` is what the trainer works with. `DigitalModel` keeps float weights on the host and is the reference;
`eapu_hil.training.array_model.ArrayModel` keeps them on the arrays of a bench, behind an update rule;
`eapu_hil.training.mapped_model.MappedModel` begins on the host and moves to the arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eapu_hil.bench.ledger import LedgerCounts
from eapu_hil.network.layers import DigitalWeights, Float32Array, WeightSpec, initial_matrix
from eapu_hil.network.network import Network, named_weight_specs
from eapu_hil.tasks import Task

INIT_STREAM = 1
State = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Applied:
    """What one update came to: the share of each layer's weights that changed, cell writes, pulses, failures."""

    changed: dict[str, float]
    writes: int = 0
    pulses: int = 0
    not_converged: int = 0


class Model(Protocol):
    """A network and the place where its weights live."""

    network: Network

    def begin(self) -> None:
        """Puts the initial weights in place; what an earlier try has put there stays."""
        ...

    def before_step(self, step: int) -> None:
        """Called before the forward pass of each training step."""
        ...

    def saves_after(self, step: int) -> bool:
        """Whether a checkpoint must follow this step, wherever the next regular one is."""
        ...

    def update(self, step: int, wanted: Mapping[str, Float32Array], rng: np.random.Generator) -> Applied:
        """Changes the weights of each layer by what is wanted, shape (n_in, n_out), as the model's rule does."""
        ...

    def refresh(self, step: int) -> Applied:
        """Writes again, after `step`, what has drifted from what was last written."""
        ...

    def level(self, step: int) -> Applied:
        """After the checkpoint of `step`: moves weights off worn cells, where the experiment asks for it."""
        ...

    def clock_s(self) -> float:
        """Bench time, s; 0 without a bench."""
        ...

    def state(self) -> State:
        """What a checkpoint has to keep besides biases and optimizers."""
        ...

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Puts back what `state` returned."""
        ...

    def reconcile(self, saved_step: int) -> tuple[int, dict[int, Applied]]:
        """After `restore`: accounts for what happened after the checkpoint.

        Returns the last step that counts, and what those steps came to that the run's metrics lack.
        """
        ...

    def maps(self, moment: str) -> State:
        """Arrays for the report, `g_<moment>_s_<array>` and `pulses_<array>`; empty without a bench."""
        ...

    def counts(self) -> LedgerCounts | None:
        """The ledger as it stands; None without a bench."""
        ...

    def used(self) -> NDArray[np.bool_] | None:
        """Which cells hold weights or did so earlier, shape (arrays, rows, columns); None without a bench."""
        ...

    def flush(self) -> None:
        """Makes what the bench has counted durable."""
        ...


def initial_matrices(task: Task, seed: int) -> dict[str, Float32Array]:
    """The weights that training starts from, the same for every rule with the same seed."""
    rng = np.random.default_rng([seed, INIT_STREAM])
    return {name: initial_matrix(spec, rng) for name, spec in named_weight_specs(task.layers()).items()}


class DigitalModel:
    """Float weights on the host."""

    def __init__(self, task: Task, seed: int) -> None:
        initial = initial_matrices(task, seed)
        self._weights = {name: DigitalWeights(matrix) for name, matrix in initial.items()}

        def make(name: str, _: WeightSpec) -> DigitalWeights:
            return self._weights[name]

        self.network = Network(task.layers(), make)

    def begin(self) -> None:
        """The weights are in place from the start."""

    def before_step(self, step: int) -> None:
        """The weights are the same in every pass."""

    def saves_after(self, step: int) -> bool:  # noqa: ARG002
        return False

    def update(self, step: int, wanted: Mapping[str, Float32Array], rng: np.random.Generator) -> Applied:  # noqa: ARG002
        """Adds the change to the weights."""
        for name, change in wanted.items():
            self._weights[name].matrix += change
        return Applied({name: np.count_nonzero(change) / change.size for name, change in wanted.items()})

    def refresh(self, step: int) -> Applied:  # noqa: ARG002
        """Numbers do not drift."""
        return Applied(dict.fromkeys(self._weights, 0.0))

    def level(self, step: int) -> Applied:
        """Numbers do not wear."""
        return self.refresh(step)

    def clock_s(self) -> float:
        return 0.0

    def state(self) -> State:
        return {name: weights.matrix.copy() for name, weights in self._weights.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        for name, weights in self._weights.items():
            weights.matrix[...] = state[name]

    def reconcile(self, saved_step: int) -> tuple[int, dict[int, Applied]]:
        """Nothing outside the checkpoint has happened: the steps after it are repeated."""
        return saved_step, {}

    def maps(self, moment: str) -> State:  # noqa: ARG002
        return {}

    def counts(self) -> LedgerCounts | None:
        return None

    def used(self) -> NDArray[np.bool_] | None:
        return None

    def flush(self) -> None:
        """Nothing is counted."""
