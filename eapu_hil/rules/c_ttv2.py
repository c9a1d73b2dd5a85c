"""Chopped Tiki-Taka v2: the sign under which a row of the fast matrix is written flips at random.

    A[row] += c[row] dG[row]          H[row] += a c[row] A[row]          then c[row] = -c[row] with probability p

c = +-1. Whatever a cell of A rests at without gradients goes into H with both signs and cancels; no reference is
needed. Otherwise as `tiki_taka_v2`. Rasch, Carta, Fagbohungbe, Gokmen, Nat. Commun. 15 (2024), doi
10.1038/s41467-024-51221-z.
"""

from __future__ import annotations

from typing import Literal

from eapu_hil.hal.recipe import Recipe
from eapu_hil.rules.pulses import increment_of
from eapu_hil.rules.transfer import ChoppedRule, FlipProbability, TransferConfig


class CTtv2Config(TransferConfig):
    """flip: probability that a row's sign flips after it was read."""

    name: Literal["c_ttv2"] = "c_ttv2"
    flip: FlipProbability = 0.1

    def make(self, shape: tuple[int, int], recipe: Recipe | None) -> CTtv2:
        """See `RuleModel.make`."""
        return CTtv2(shape, increment_of(recipe, self.name), self.transfer, self.rows, self.flip)


class CTtv2(ChoppedRule):
    """The rule for one layer of `shape` (n_in, n_out)."""

    name = "c_ttv2"
