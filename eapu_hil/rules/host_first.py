"""The base of rules that train on the host first and then write all weights to the array once.

So that the network learns to bear the errors of that writing, every forward pass on the host has noise on the weights,

    y = x (W + eta max|W| xi)          xi ~ N(0, 1), drawn anew for each weight and batch

See `eapu_hil.training.mapped_model` for the training itself.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import NonNegativeFloat

from eapu_hil.base.colours import SKY
from eapu_hil.rules.contract import RuleModel


class HostFirstConfig(RuleModel):
    """noise: eta, of the weights in training, over the layer's largest weight."""

    trains_on: ClassVar[Literal["host_then_array"]] = "host_then_array"
    colour: ClassVar[str | None] = SKY

    noise: NonNegativeFloat = 0.04

    @property
    def host_noise(self) -> float:
        """See `RuleModel.host_noise`."""
        return self.noise
