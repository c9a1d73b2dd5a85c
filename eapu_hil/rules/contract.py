"""The contract between the trainer and an update rule, and the properties of a rule that other rooms use.

A rule answers an optimizer's step either with a `Proposal`, which is written with verify, or with `BlindPulses`,
which are sent as they are and never read back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from eapu_hil.hal import ConfigError, FloatArray, IntArray
from eapu_hil.hal.recipe import Recipe

StepArray = NDArray[np.float32]
State = dict[str, NDArray[Any]]

# As the gate voltage of a pulse: the one that the recipe's line gives for what the cell is expected to hold afterwards.
GATE_OF_TARGET = float("nan")
PLUS, MINUS = 0, 1  # the two cells of a pair: a weight is (g_plus - g_minus) r_wg
NEITHER = -1  # of the cells of a pair


@dataclass(frozen=True, eq=False)
class WriteErrors:
    """The measured write error of the cell that would be written, per weight and direction.

    up_S, down_S: shape (n_weights,), float32 or float64: standard deviation in S of the error that the next
        product sees if the weight is raised (lowered).
    floor_S: a lower bound of both arrays, at least 0. Candidates are drawn with it: a close bound saves time.
    """

    up_S: NDArray[np.floating]
    down_S: NDArray[np.floating]
    floor_S: float

    def __post_init__(self) -> None:
        if self.up_S.ndim != 1 or self.up_S.shape != self.down_S.shape:
            raise ValueError(
                f"up_S and down_S are {self.up_S.shape} and {self.down_S.shape}; expected two equal vectors"
            )
        if not 0 <= self.floor_S < np.inf:
            raise ValueError(f"floor_S is {self.floor_S!r} S; expected a finite number that is not negative")

    @classmethod
    def uniform(cls, error_S: float, n_weights: int) -> WriteErrors:
        """The same error for every weight and both directions, in S."""
        same = np.broadcast_to(np.float64(error_S), (n_weights,))
        return cls(same, same, error_S)


@dataclass(frozen=True, eq=False)
class Proposal:
    """Which weights to write.

    index: shape (k,), flat indices of the weights, ascending and without repetition.
    step_S: shape (k,), the wanted change of their (differential) conductance in S, never 0.
    """

    index: IntArray
    step_S: FloatArray


@dataclass(frozen=True, eq=False)
class PulseTrain:
    """Identical pulses to one cell of each of some weights; all vectors have shape (k,).

    index: flat indices of the weights; a weight may stand there twice, with another cell each time.
    side: `PLUS` or `MINUS`. polarity: as in `hal.Polarity`. gate_v: V, or `GATE_OF_TARGET`.
    change_S: the expected change of the cell, S; the cell is not read, so the host uses this value.
    """

    index: IntArray
    side: IntArray
    polarity: IntArray
    amplitude_v: FloatArray
    gate_v: FloatArray
    width_s: FloatArray
    count: IntArray
    change_S: FloatArray


@dataclass(frozen=True, eq=False)
class BlindPulses:
    """Pulses without verify, train after train."""

    trains: tuple[PulseTrain, ...] = ()


class UpdateRule(Protocol):
    """Turns the optimizer's wanted changes into writes. One instance for each layer."""

    name: str

    def propose(
        self, dg_S: StepArray, errors: WriteErrors, rng: np.random.Generator
    ) -> Proposal | BlindPulses:
        """Chooses the writes of this step.

        dg_S: shape (n_weights,), float32, the optimizer's step as a change of conductance in S. Not modified.
        Raises HilError if a wanted change is not finite, ValueError if `errors` is below its own floor.
        """
        ...

    def state(self) -> State:
        """A copy of the state that a checkpoint has to keep."""
        ...

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Puts back what `state` returned. Raises HilError if it belongs to another rule or layer."""
        ...

    def forget(self, index: IntArray, step_S: FloatArray) -> None:
        """After a crash: these changes were asked for after the checkpoint that `restore` put back.

        index may name a weight several times, once for each write.
        """
        ...


@runtime_checkable
class GradientRule(UpdateRule, Protocol):
    """A rule that gives the optimizer another gradient than the true one."""

    def gradient(self, x: StepArray, d: StepArray) -> StepArray:
        """The gradient for the optimizer, (n_in, n_out). x: the layer's inputs, (n, n_in). d: errors, (n,
        n_out).
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

    def transfer(self, fast_S: FloatArray, rng: np.random.Generator) -> BlindPulses:
        """Pulses for the weights. fast_S: the readings of those that were due, differential, S."""
        ...


class RuleModel(BaseModel):
    """The keys of one rule in an experiment file, and the properties of that rule.

    name: the rule's name as the file gives it. Unknown keys are refused.
    trains_on: `array`: the weights are on the array from the start, and `make` gives the rule that changes them.
        `host`: they never are, no bench is opened. `host_then_array`: they are written to it once, after the share
        `host_share` of the run; if any of it is left, `make` gives the rule that goes on with the last layer.
    verified: whether its writes are verified (`Proposal`) or not (`BlindPulses`).
    second_matrix: whether it is a `TransferRule`, which takes twice the cells.
    error_aware: whether its threshold can follow the measured write error; see `threshold_follows_error`.
    colour: in figures, as `#rrggbb`; relatives may share one. None: whichever is free.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    trains_on: ClassVar[Literal["array", "host", "host_then_array"]] = "array"
    verified: ClassVar[bool] = True
    second_matrix: ClassVar[bool] = False
    error_aware: ClassVar[bool] = False
    colour: ClassVar[str | None] = None

    name: str

    def make(self, shape: tuple[int, int], recipe: Recipe | None) -> UpdateRule:
        """A fresh rule for one layer of `shape` (n_in, n_out).

        recipe: of the bench; rules that pulse without verify take their pulses from it. Raises ConfigError if it lacks
        them, or for a class that should have this method and has it not; ValueError for a rule that never changes
        weights on the array.
        """
        if self.trains_on == "array":
            raise ConfigError(
                f"rule {self.name!r}: its class {type(self).__name__} trains on the array and has no method `make`"
            )
        raise ValueError(f"rule {self.name!r} trains on the host; it chooses no writes")

    @property
    def label(self) -> str:
        """The name in tables, figures and directories; for `module:Class`, the class."""
        return self.name.rpartition(":")[2]

    @property
    def threshold_follows_error(self) -> bool:
        """Whether the threshold is the measured write error of each cell, with the present keys."""
        return self.error_aware

    @property
    def host_share(self) -> float:
        """Share of the run, 0 to 1, that is trained on the host before the weights are mapped to the array."""
        return 0.0 if self.trains_on == "array" else 1.0

    @property
    def host_noise(self) -> float:
        """Noise on the weights while they are on the host, over the layer's largest weight."""
        return 0.0

    def band_S(self, progress: float) -> float | None:
        """Band of write-verify, S, at the share `progress` of the run; None: the recipe's."""
        return None
