"""What the trainer and an update rule say to each other.

A rule answers an optimizer's step either with a `Proposal`, which is written with verify, or with `BlindPulses`,
which are sent as they are and never read back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import FloatArray, HilError, IntArray
from eapu_hil.network.finite import NotFiniteError
from eapu_hil.network.layers import true_gradient

StepArray = NDArray[np.float32]
State = dict[str, NDArray[Any]]

# As the gate voltage of a pulse: the one that the recipe's line gives for what the cell is expected to hold afterwards.
GATE_OF_TARGET = float("nan")
PLUS, MINUS = 0, 1  # the two cells of a pair: a weight is (g_plus - g_minus) r_wg
NEITHER = -1  # of the cells of a pair


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


@dataclass(frozen=True, eq=False)
class PulseTrain:
    """Identical pulses to one cell of each of some weights; all vectors have shape (k,).

    index: flat indices of the weights; a weight may stand there twice, with another cell each time.
    side: `PLUS` or `MINUS`. polarity: as in `hal.Polarity`. gate_v: V, or `GATE_OF_TARGET`.
    change_s: what the pulses are expected to change the cell by, S: nobody looks, so the host goes on with that.
    """

    index: IntArray
    side: IntArray
    polarity: IntArray
    amplitude_v: FloatArray
    gate_v: FloatArray
    width_s: FloatArray
    count: IntArray
    change_s: FloatArray


@dataclass(frozen=True, eq=False)
class BlindPulses:
    """Pulses without verify, train after train."""

    trains: tuple[PulseTrain, ...] = ()


class UpdateRule(Protocol):
    """Turns the optimizer's wanted changes into writes. One instance for each layer."""

    name: str

    def gradient(self, x: StepArray, d: StepArray) -> StepArray:
        """What the optimizer gets as gradient, (n_in, n_out). x: the layer's inputs, (n, n_in). d: errors, (n,
        n_out).
        """
        ...

    def propose(
        self, dg_s: StepArray, errors: WriteErrors, rng: np.random.Generator
    ) -> Proposal | BlindPulses:
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


@runtime_checkable
class TransferRule(UpdateRule, Protocol):
    """A rule with a second matrix of cells, the fast one, that collects gradients and moves them to the weights.

    `propose` pulses the fast matrix; then the rows of it that are due are read and `transfer` pulses the weights.
    """

    def due(self) -> IntArray:
        """Weights of the fast matrix to read now, flat indices."""
        ...

    def transfer(self, fast_s: FloatArray, rng: np.random.Generator) -> BlindPulses:
        """Pulses for the weights. fast_s: the readings of those that were due, differential, S."""
        ...


class Stateless:
    """A rule with the true gradient that remembers nothing from step to step."""

    name: str

    def gradient(self, x: StepArray, d: StepArray) -> StepArray:
        """See `UpdateRule.gradient`."""
        return true_gradient(x, d)

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
    """Raises NotFiniteError if the largest magnitude of the wanted changes is not finite."""
    if not np.isfinite(largest_s):
        raise NotFiniteError("the optimizer asks for a change that is not finite")


class Owing(Stateless):
    """A rule with one digital number per weight: the change in S that is still owed to it."""

    def __init__(self, n_weights: int) -> None:
        self._acc = np.zeros(n_weights, np.float32)

    def state(self) -> State:
        """`acc`: shape (n_weights,), float32, the change in S that is still owed to each weight."""
        return {"acc": self._acc.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See `UpdateRule.restore`."""
        require_state(self.name, state, {"acc": self._acc})

    def forget(self, index: IntArray, step_s: FloatArray) -> None:
        """Subtracts changes asked for after the checkpoint, so that they are not asked for again."""
        np.subtract.at(self._acc, index, step_s.astype(np.float32))


def require_state(name: str, state: Mapping[str, NDArray[Any]], into: Mapping[str, NDArray[Any]]) -> None:
    """Copies a checkpoint's `state` of rule `name` into the arrays of `into`. Raises HilError if it is of
    another shape.
    """
    held = {key: value.shape for key, value in state.items()}
    expected = {key: value.shape for key, value in into.items()}
    if held != expected:
        raise HilError(f"the checkpoint holds {held} for rule {name!r}; expected {expected}")
    for key, value in state.items():
        into[key][...] = value
