"""Plain backpropagation on the array: every weight is written at every step, whatever the write error.

    write dG wherever dG != 0, with verify          [S]

The baseline that EaPU is compared with: the noise of one write lands on each weight in each step. It is the
"original" method of the simulation code of Liu, Shi, Liu et al., Nat. Commun. (2025),
doi 10.1038/s41467-025-66240-7.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from eapu_hil.base.colours import VERMILLION
from eapu_hil.hal.recipe import Recipe
from eapu_hil.rules.contract import RuleModel
from eapu_hil.rules.every_weight import EveryWeightRule


class BpConfig(RuleModel):
    """Every weight at every step, with verify."""

    colour: ClassVar[str | None] = VERMILLION

    name: Literal["bp"] = "bp"

    def make(self, shape: tuple[int, int], recipe: Recipe | None) -> Bp:
        """See `RuleModel.make`."""
        return Bp()


class Bp(EveryWeightRule):
    """The rule for one layer."""

    name = "bp"
