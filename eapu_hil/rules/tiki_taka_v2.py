"""Tiki-Taka v2: a fast matrix A of cells collects gradients, which are moved bit by bit to the weights C.

    A += dG                                     stochastically rounded to increments, blind pulses          [S]
    every step, for some rows of A: H += a A    H on the host
    where |H| >= 2 s: one increment of C        H -= 2 s sign(H)

s: mean change of a cell by one pulse, S; 2 s is the increment of a pair. Gradients that do not agree cancel in
A, so that C is pulsed for what lasts. Gokmen, Front. Artif. Intell. 4:699148 (2021), doi 10.3389/frai.2021.699148.

As far as the array allows: A is updated with whole batches, not by coincidence of pulse trains, and read cell by cell.
A needs as many cells as the weights.
"""

from __future__ import annotations

from typing import Literal

from eapu_hil.hal.recipe import Recipe
from eapu_hil.rules.pulses import increment_of
from eapu_hil.rules.transfer import FastMatrixRule, TransferConfig


class TikiTakaV2Config(TransferConfig):
    """See `TransferConfig`."""

    name: Literal["tiki_taka_v2"] = "tiki_taka_v2"

    def make(self, shape: tuple[int, int], recipe: Recipe | None) -> TikiTakaV2:
        """See `RuleModel.make`."""
        return TikiTakaV2(shape, increment_of(recipe, self.name), self.transfer, self.rows)


class TikiTakaV2(FastMatrixRule):
    """The rule for one layer of `shape` (n_in, n_out)."""

    name = "tiki_taka_v2"
