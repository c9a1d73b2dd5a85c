"""Chopped Tiki-Taka v2: the sign under which a row of the fast matrix is written flips at random.

    A[row] += c[row] dG[row]          H[row] += a c[row] A[row]          then c[row] = -c[row] with probability p

c = +-1. Whatever a cell of A rests at without gradients goes into H with both signs and cancels; no reference is
needed. Otherwise as `tiki_taka_v2`. Rasch, Carta, Fagbohungbe, Gokmen, Nat. Commun. 15 (2024), doi
10.1038/s41467-024-51221-z.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from eapu_hil.hal import FloatArray, IntArray
from eapu_hil.hal.recipe import IncrementRecipe, Recipe
from eapu_hil.rules.contract import StepArray
from eapu_hil.rules.pulses import increment_of
from eapu_hil.rules.tiki_taka_v2 import TikiTakaV2, TransferConfig

FlipProbability = Annotated[float, Field(gt=0, le=1)]


class CTtv2Config(TransferConfig):
    """flip: probability that a row's sign flips after it was read."""

    name: Literal["c_ttv2"] = "c_ttv2"
    flip: FlipProbability = 0.1

    def make(self, shape: tuple[int, int], recipe: Recipe | None) -> CTtv2:
        """See `MakesRule.make`."""
        return CTtv2(shape, increment_of(recipe, self.name), self.transfer, self.rows, self.flip)


class CTtv2(TikiTakaV2):
    """The rule for one layer of `shape` (n_in, n_out)."""

    name = "c_ttv2"

    def __init__(
        self, shape: tuple[int, int], increment: IncrementRecipe, transfer: float, rows: int, flip: float
    ) -> None:
        super().__init__(shape, increment, transfer, rows)
        self._flip = flip
        self._chopper = np.ones(shape[0], np.float32)

    def _kept(self) -> dict[str, NDArray[Any]]:
        """As of `TikiTakaV2`, and `chopper`: the sign of each row, (n_in,)."""
        return {**super()._kept(), "chopper": self._chopper}

    def _written(self, dg_s: StepArray) -> StepArray:
        return dg_s * self._chopper[:, None]

    def _collected(self, rows: IntArray, fast_s: FloatArray, rng: np.random.Generator) -> FloatArray:
        collected = fast_s * self._chopper[rows, None]
        self._flipped(rows, rng)
        return collected

    def _flipped(self, rows: IntArray, rng: np.random.Generator) -> IntArray:
        """Flips the signs of some of `rows` and returns which."""
        chosen = rows[rng.random(rows.size) < self._flip]
        self._chopper[chosen] *= -1
        return chosen
