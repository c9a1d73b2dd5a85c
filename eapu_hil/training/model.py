"""A network that can be trained: where its weights live and how a wanted change reaches them.

`Model` is what the trainer works with. `eapu_hil.training.digital_model.DigitalModel` keeps float weights on the host
and is the reference; `eapu_hil.training.array_model.ArrayModel` keeps them on the arrays of a bench, behind an update
rule; `eapu_hil.training.mapped_model.MappedModel` begins on the host and moves to the arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from eapu_hil.network.layers import Float32Array
from eapu_hil.network.network import Network
from eapu_hil.rules.contract import State
from eapu_hil.training.array_model import ArrayModel
from eapu_hil.training.write_log import WriteCounts


class Model(Protocol):
    """A network and the place where its weights live."""

    @property
    def network(self) -> Network: ...

    @property
    def array(self) -> ArrayModel | None:
        """The weights on the arrays of a bench, which need more care; None while there are none."""
        ...

    def update(self, step: int, wanted: Mapping[str, Float32Array], rng: np.random.Generator) -> WriteCounts:
        """Changes the weights of each layer by what is wanted, shape (n_in, n_out), as the model's rule does.

        The arrays of `wanted` may be worked on in place.
        """
        ...

    def state(self) -> State:
        """The data that a checkpoint has to keep besides biases and optimizers."""
        ...

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Puts back what `state` returned."""
        ...


@runtime_checkable
class StagedModel(Model, Protocol):
    """A model that is trained in another way first."""

    def before_step(self, step: int) -> None:
        """Called before the forward pass of each training step."""
        ...

    def saves_after(self, step: int) -> bool:
        """Whether a checkpoint must follow this step, wherever the next regular one is."""
        ...
