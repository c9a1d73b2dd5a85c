"""Training on the host, with the array written once; and then, if wanted, the last layer trained in place.

`offline_then_map`: all steps on the host, with noise on the weights in every forward pass so that the network learns to
bear the errors of writing,

    y = x (W + eta max|W| xi)          xi ~ N(0, 1), drawn anew for each weight and batch

and one write-verify of all weights after the last step. Joshi, Le Gallo et al., Nat. Commun. 11:2473 (2020),
doi 10.1038/s41467-020-16108-9.

`hybrid`: the same for the first part of the run; then the weights are mapped, and the last layer is trained in
place, every weight of it written with verify in every step, on top of the errors of the layers before it. Yao,
Wu et al., Nature 577:641 (2020), doi 10.1038/s41586-020-1942-4.

What these decide is when the array is written, so they are not an `UpdateRule`: see `eapu_hil.training.mapped_model`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat

from eapu_hil.rules.configuration import RuleModel


class OfflineThenMapConfig(RuleModel):
    """noise: eta, of the weights in training, over the layer's largest weight."""

    name: Literal["offline_then_map"] = "offline_then_map"
    noise: NonNegativeFloat = 0.04


class HybridConfig(RuleModel):
    """noise: as of `offline_then_map`. mapped_after: share of the run that is trained on the host."""

    name: Literal["hybrid"] = "hybrid"
    noise: NonNegativeFloat = 0.04
    mapped_after: Annotated[float, Field(gt=0, lt=1)] = 0.8
