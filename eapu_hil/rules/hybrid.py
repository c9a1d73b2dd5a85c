"""Training on the host, with noise on the weights, for the first part of the run; then the last layer in place.

After the mapping every weight of the last layer is written with verify in every step, on top of the errors of the
layers before it. Yao, Wu et al., Nature 577:641 (2020), doi 10.1038/s41586-020-1942-4.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from eapu_hil.hal.recipe import Recipe
from eapu_hil.rules.every_weight import EveryWeightRule
from eapu_hil.rules.host_first import HostFirstConfig


class HybridConfig(HostFirstConfig):
    """mapped_after: share of the run that is trained on the host. noise: see `HostFirstConfig`."""

    name: Literal["hybrid"] = "hybrid"
    mapped_after: Annotated[float, Field(gt=0, lt=1)] = 0.8

    def make(self, shape: tuple[int, int], recipe: Recipe | None) -> Hybrid:
        """See `RuleModel.make`: that of the layer which is trained in place."""
        return Hybrid()

    @property
    def host_share(self) -> float:
        """See `RuleModel.host_share`."""
        return self.mapped_after


class Hybrid(EveryWeightRule):
    """The rule for the last layer, once it is mapped."""

    name = "hybrid"
