"""Tiki-Taka v2: a fast matrix A of cells collects gradients; what it holds is moved bit by bit to the weights C.

    A += dG                                     stochastically rounded to increments, blind pulses          [S]
    every step, for some rows of A: H += a A    H on the host
    where |H| >= 2 s: one increment of C        H -= 2 s sign(H)

s: mean change of a cell by one pulse, S; 2 s is the increment of a pair. Gradients that do not agree cancel in
A, so that C is pulsed for what lasts. Gokmen, Front. Artif. Intell. 4:699148 (2021), doi 10.3389/frai.2021.699148.

As far as the array allows: A is updated with whole batches, not by coincidence of pulse trains, and read cell by cell.
A needs as many cells as the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt

from eapu_hil.hal import FloatArray, IntArray
from eapu_hil.hal.recipe import IncrementRecipe, Recipe
from eapu_hil.rules.configuration import RuleModel
from eapu_hil.rules.contract import BlindPulses, Owing, State, StepArray, WriteErrors, require_state
from eapu_hil.rules.pulses import increment_of, push_pull, steps_of


class TransferConfig(RuleModel):
    """What the Tiki-Taka family shares.

    transfer: a, of what a row of A holds, how much is added to H when it is read. rows: rows of A that are read
        in a step.
    """

    transfer: PositiveFloat = 0.5
    rows: PositiveInt = 8


class TikiTakaV2Config(TransferConfig):
    """See `TransferConfig`."""

    name: Literal["tiki_taka_v2"] = "tiki_taka_v2"

    def make(self, shape: tuple[int, int], recipe: Recipe | None) -> TikiTakaV2:
        """See `MakesRule.make`."""
        return TikiTakaV2(shape, increment_of(recipe, self.name), self.transfer, self.rows)


class TikiTakaV2(Owing):
    """The rule for one layer of `shape` (n_in, n_out)."""

    name = "tiki_taka_v2"

    def __init__(
        self, shape: tuple[int, int], increment: IncrementRecipe, transfer: float, rows: int
    ) -> None:
        super().__init__(shape[0] * shape[1])
        self._shape = shape
        self._increment = increment
        self._transfer = transfer
        self._rows = min(rows, shape[0])
        self._next = np.array(0)  # row of A that is read next

    def propose(self, dg_s: StepArray, errors: WriteErrors, rng: np.random.Generator) -> BlindPulses:  # noqa: ARG002
        """Pulses for the fast matrix, by stochastic rounding; see `UpdateRule.propose`."""
        steps = steps_of(self._written(dg_s.reshape(self._shape)).ravel(), self._increment.step_s)
        whole = np.floor(steps)
        count = whole + (rng.random(steps.size) < steps - whole)
        return push_pull(count.astype(np.int64), self._increment)

    def due(self) -> IntArray:
        """See `TransferRule.due`."""
        return (self._due_rows()[:, None] * self._shape[1] + np.arange(self._shape[1])).ravel()

    def transfer(self, fast_s: FloatArray, rng: np.random.Generator) -> BlindPulses:
        """See `TransferRule.transfer`."""
        rows = self._due_rows()
        owed = self._acc.reshape(self._shape)
        owed[rows] += self._transfer * self._collected(rows, fast_s.reshape(rows.size, -1), rng)
        self._next[...] = (rows[-1] + 1) % self._shape[0]
        count = np.trunc(steps_of(self._acc, self._increment.step_s)).clip(-1, 1).astype(np.int64)
        self._acc -= (count * (2 * self._increment.step_s)).astype(np.float32)
        return push_pull(count, self._increment)

    def state(self) -> State:
        """`acc`: H, (n_weights,), S; `next`: the row of A that is read next."""
        return {key: value.copy() for key, value in self._kept().items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See `UpdateRule.restore`."""
        require_state(self.name, state, self._kept())

    def _kept(self) -> dict[str, NDArray[Any]]:
        return {"acc": self._acc, "next": self._next}

    def _written(self, dg_s: StepArray) -> StepArray:
        """What is written to A for the wanted changes, both (n_in, n_out)."""
        return dg_s

    def _collected(self, rows: IntArray, fast_s: FloatArray, rng: np.random.Generator) -> FloatArray:  # noqa: ARG002
        """What the readings of some rows of A, (rows, n_out), say about the gradients that went in."""
        return fast_s

    def _due_rows(self) -> IntArray:
        return (int(self._next) + np.arange(self._rows)) % self._shape[0]
