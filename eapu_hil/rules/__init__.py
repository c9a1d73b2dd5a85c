"""The update rules: which weights to write, given the optimizer's step and the measured write errors.

A new rule is one module with an `UpdateRule`, its configuration here, and a line in `make_rule`.
`digital` names the reference without an array: the trainer then keeps float weights and needs no rule.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator

from eapu_hil.rules.bp import Bp
from eapu_hil.rules.contract import Proposal, UpdateRule, WriteErrors
from eapu_hil.rules.eapu import Eapu
from eapu_hil.rules.eapu_residual import EapuResidual

__all__ = [
    "BpConfig",
    "DigitalConfig",
    "EapuConfig",
    "EapuResidualConfig",
    "Proposal",
    "RuleConfig",
    "UpdateRule",
    "WriteErrors",
    "make_rule",
]


class EapuConfig(BaseModel):
    """Error-aware probabilistic update.

    threshold_us: a fixed threshold in uS; None takes the measured write error of each cell.
    threshold_scale: threshold over measured write error.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["eapu"] = "eapu"
    threshold_us: PositiveFloat | None = None
    threshold_scale: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _one_threshold(self) -> EapuConfig:
        if self.threshold_us is not None and self.threshold_scale != 1.0:
            raise ValueError(
                "threshold_scale multiplies the measured write error; leave it out with threshold_us"
            )
        return self


class EapuResidualConfig(BaseModel):
    """Residual accumulation. kappa: threshold over measured write error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["eapu_residual"] = "eapu_residual"
    kappa: PositiveFloat = 3.0


class BpConfig(BaseModel):
    """Every weight at every step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["bp"] = "bp"


class DigitalConfig(BaseModel):
    """Float weights on the host, no array."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["digital"] = "digital"


RuleConfig = Annotated[
    EapuConfig | EapuResidualConfig | BpConfig | DigitalConfig, Field(discriminator="name")
]


def make_rule(config: RuleConfig, n_weights: int) -> UpdateRule:
    """A fresh rule for one layer of `n_weights` weights. Raises ValueError for `digital`."""
    match config:
        case EapuConfig():
            fixed_us = config.threshold_us
            threshold_s = None if fixed_us is None else fixed_us * 1e-6
            return Eapu(n_weights, threshold_scale=config.threshold_scale, threshold_s=threshold_s)
        case EapuResidualConfig():
            return EapuResidual(n_weights, kappa=config.kappa)
        case BpConfig():
            return Bp()
        case DigitalConfig():
            raise ValueError("rule 'digital' keeps float weights on the host; there is no array to write")
