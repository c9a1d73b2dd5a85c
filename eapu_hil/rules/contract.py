"""What the trainer and an update rule say to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import FloatArray, HilError, IntArray

StepArray = NDArray[np.float32]
State = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class WriteErrors:
    """The measured write error of the cell that would be written, per weight and direction.

    up_s, down_s: shape (n_weights,), float32 or float64: standard deviation in S of the error that the next
        product sees if the weight is raised (lowered).
    floor_s: a lower bound of both arrays, at least 0. Candidates are drawn with it: a close bound saves time.
    """

    up_s: NDArray[np.floating]
    down_s: NDArray[np.floating]
    floor_s: float

    def __post_init__(self) -> None:
        if self.up_s.ndim != 1 or self.up_s.shape != self.down_s.shape:
            raise ValueError(
                f"up_s and down_s are {self.up_s.shape} and {self.down_s.shape}; expected two equal vectors"
            )
        if not 0 <= self.floor_s < np.inf:
            raise ValueError(f"floor_s is {self.floor_s!r} S; expected a finite number that is not negative")

    @classmethod
    def uniform(cls, error_s: float, n_weights: int) -> WriteErrors:
        """The same error for every weight and both directions, in S."""
        same = np.broadcast_to(np.float64(error_s), (n_weights,))
        return cls(same, same, error_s)


@dataclass(frozen=True, eq=False)
class Proposal:
    """Which weights to write.

    index: shape (k,), flat indices of the weights, ascending and without repetition.
    step_s: shape (k,), the wanted change of their (differential) conductance in S, never 0.
    """

    index: IntArray
    step_s: FloatArray


class UpdateRule(Protocol):
    """Turns the optimizer's wanted changes into writes. One instance for each layer."""

    name: str

    def propose(self, dg_s: StepArray, errors: WriteErrors, rng: np.random.Generator) -> Proposal:
        """Chooses the writes of this step.

        dg_s: shape (n_weights,), float32, the optimizer's step as a change of conductance in S. Not modified.
        Raises HilError if a wanted change is not finite, ValueError if `errors` is below its own floor.
        """
        ...

    def state(self) -> State:
        """A copy of what a checkpoint has to keep."""
        ...

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Puts back what `state` returned. Raises HilError if it belongs to another rule or layer."""
        ...

    def forget(self, index: IntArray, step_s: FloatArray) -> None:
        """After a crash: these changes were asked for after the checkpoint that `restore` put back.

        index may name a weight several times, once for each write.
        """
        ...


class Stateless:
    """State handling of a rule that remembers nothing from step to step."""

    name: str

    def state(self) -> State:
        return {}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        if state:
            raise HilError(
                f"the checkpoint holds {sorted(state)} for rule {self.name!r}, which keeps no state"
            )

    def forget(self, index: IntArray, step_s: FloatArray) -> None:
        """Nothing to do: a lost step is not owed to anybody."""


def require_finite(largest_s: float) -> None:
    """Raises HilError if the largest magnitude of the wanted changes says that training has diverged."""
    if not np.isfinite(largest_s):
        raise HilError(
            "the optimizer asks for a change that is not finite: training diverged; lower the learning rate"
        )
