"""The base of the Tiki-Taka family: a fast matrix A of cells collects gradients, which are moved to the weights.

See `eapu_hil.rules.tiki_taka_v2` for the method. Variants choose what is written to A and what its readings mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat

from eapu_hil.base.colours import PURPLE
from eapu_hil.base.sizes import Lines
from eapu_hil.hal import FloatArray, IntArray
from eapu_hil.hal.recipe import IncrementRecipe
from eapu_hil.rules.base import AccumulatingRule, require_state
from eapu_hil.rules.contract import BlindPulses, RuleModel, State, StepArray, WriteErrors
from eapu_hil.rules.pulses import push_pull, steps_of

FlipProbability = Annotated[float, Field(gt=0, le=1)]


class TransferConfig(RuleModel):
    """The keys that the family shares.

    transfer: a, of what a row of A holds, how much is added to H when it is read. rows: rows of A that are read
        in a step.
    """

    verified: ClassVar[bool] = False
    second_matrix: ClassVar[bool] = True
    colour: ClassVar[str | None] = PURPLE

    transfer: PositiveFloat = 0.5
    rows: Lines = 8


class FastMatrixRule(AccumulatingRule):
    """The rule of the family for one layer of `shape` (n_in, n_out): Tiki-Taka v2, with places for its variants."""

    def __init__(
        self, shape: tuple[int, int], increment: IncrementRecipe, transfer: float, rows: int
    ) -> None:
        super().__init__(shape[0] * shape[1])
        self._shape = shape
        self._increment = increment
        self._transfer = transfer
        self._rows = min(rows, shape[0])
        self._next = np.array(0)  # row of A that is read next

    def propose(self, dg_S: StepArray, errors: WriteErrors, rng: np.random.Generator) -> BlindPulses:
        """Pulses for the fast matrix, by stochastic rounding; see `UpdateRule.propose`."""
        steps = steps_of(self._written(dg_S.reshape(self._shape)).ravel(), self._increment.step_S)
        whole = np.floor(steps)
        count = whole + (rng.random(steps.size) < steps - whole)
        return push_pull(count.astype(np.int64), self._increment)

    def due(self) -> IntArray:
        """See `TransferRule.due`."""
        return (self._due_rows()[:, None] * self._shape[1] + np.arange(self._shape[1])).ravel()

    def transfer(self, fast_S: FloatArray, rng: np.random.Generator) -> BlindPulses:
        """See `TransferRule.transfer`."""
        rows = self._due_rows()
        owed = self._acc.reshape(self._shape)
        owed[rows] += self._transfer * self._collected(rows, fast_S.reshape(rows.size, -1), rng)
        self._next[...] = (rows[-1] + 1) % self._shape[0]
        count = np.trunc(steps_of(self._acc, self._increment.step_S)).clip(-1, 1).astype(np.int64)
        self._acc -= (count * (2 * self._increment.step_S)).astype(np.float32)
        return push_pull(count, self._increment)

    def state(self) -> State:
        """`acc`: H, (n_weights,), S; `next`: the row of A that is read next."""
        return {key: value.copy() for key, value in self._kept().items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See `UpdateRule.restore`."""
        require_state(self.name, state, self._kept())

    def _kept(self) -> dict[str, NDArray[Any]]:
        return {"acc": self._acc, "next": self._next}

    def _written(self, dg_S: StepArray) -> StepArray:
        """The changes to write to A for the wanted changes, both (n_in, n_out)."""
        return dg_S

    def _collected(self, rows: IntArray, fast_S: FloatArray, rng: np.random.Generator) -> FloatArray:
        """The gradients that the readings of some rows of A, (rows, n_out), stand for."""
        return fast_S

    def _due_rows(self) -> IntArray:
        return (int(self._next) + np.arange(self._rows)) % self._shape[0]


class ChoppedRule(FastMatrixRule):
    """The same, where rows of the fast matrix are written under a sign that flips at random."""

    def __init__(
        self, shape: tuple[int, int], increment: IncrementRecipe, transfer: float, rows: int, flip: float
    ) -> None:
        super().__init__(shape, increment, transfer, rows)
        self._flip = flip
        self._chopper = np.ones(shape[0], np.float32)

    def _kept(self) -> dict[str, NDArray[Any]]:
        """As of `FastMatrixRule`, and `chopper`: the sign of each row, (n_in,)."""
        return {**super()._kept(), "chopper": self._chopper}

    def _written(self, dg_S: StepArray) -> StepArray:
        return dg_S * self._chopper[:, None]

    def _collected(self, rows: IntArray, fast_S: FloatArray, rng: np.random.Generator) -> FloatArray:
        collected = fast_S * self._chopper[rows, None]
        self._flipped(rows, rng)
        return collected

    def _flipped(self, rows: IntArray, rng: np.random.Generator) -> IntArray:
        """Flips the signs of some of `rows` and returns which."""
        chosen = rows[rng.random(rows.size) < self._flip]
        self._chopper[chosen] *= -1
        return chosen
