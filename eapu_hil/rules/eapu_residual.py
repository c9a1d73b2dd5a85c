"""Residual accumulation with an error-aware threshold: the host sums the changes that are not written yet.

    acc += dG
    where |acc| >= kappa * error: write acc, then acc -= the change that was asked for

The accumulator is that of mixed-precision training (Nandakumar, Le Gallo et al., Front. Neurosci. 14:406
(2020), doi 10.3389/fnins.2020.00406), whose threshold is the granularity of the device. Here the threshold
follows the measured write error as in EaPU (Liu, Shi, Liu et al., Nat. Commun. (2025),
doi 10.1038/s41467-025-66240-7), and cells are written with verify. The asked change is subtracted, not the
measured one, so the rule does not chase write noise.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import PositiveFloat

from eapu_hil.base.colours import GREEN
from eapu_hil.hal.recipe import Recipe
from eapu_hil.rules.contract import RuleModel
from eapu_hil.rules.residual import ResidualRule


class EapuResidualConfig(RuleModel):
    """Residual accumulation. kappa: threshold over measured write error."""

    error_aware: ClassVar[bool] = True
    colour: ClassVar[str | None] = GREEN

    name: Literal["eapu_residual"] = "eapu_residual"
    kappa: PositiveFloat = 3.0

    def make(self, shape: tuple[int, int], recipe: Recipe | None) -> EapuResidual:
        """See `RuleModel.make`."""
        return EapuResidual(shape[0] * shape[1], kappa=self.kappa)


class EapuResidual(ResidualRule):
    """The rule for one layer."""

    name = "eapu_residual"
