"""The update rules: which weights to write, given the optimizer's step and the measured write errors.

A new rule is one module with its configuration and its `UpdateRule`, and a name in `RuleConfig`.
Three names stand for no rule that chooses writes: `digital` is the reference without an array, and
`offline_then_map` and `hybrid` say when the array is written (`eapu_hil.rules.offline`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from eapu_hil.hal.recipe import Recipe
from eapu_hil.rules.agad import AgadConfig
from eapu_hil.rules.bp import BpConfig
from eapu_hil.rules.bp_open_loop import BpOpenLoopConfig
from eapu_hil.rules.c_ttv2 import CTtv2Config
from eapu_hil.rules.configuration import RuleModel
from eapu_hil.rules.contract import (
    BlindPulses,
    Proposal,
    PulseTrain,
    TransferRule,
    UpdateRule,
    WriteErrors,
)
from eapu_hil.rules.dead_zone import DeadZoneConfig
from eapu_hil.rules.eapu import EapuConfig
from eapu_hil.rules.eapu_deterministic import EapuDeterministicConfig
from eapu_hil.rules.eapu_residual import EapuResidualConfig
from eapu_hil.rules.manhattan import ManhattanConfig
from eapu_hil.rules.mixed_precision import MixedPrecisionConfig
from eapu_hil.rules.offline import HybridConfig, OfflineThenMapConfig
from eapu_hil.rules.stellar import StellarConfig
from eapu_hil.rules.stochastic_sparse_momentum import StochasticSparseMomentumConfig
from eapu_hil.rules.threshold_accumulate import ThresholdAccumulateConfig
from eapu_hil.rules.tiki_taka_v2 import TikiTakaV2Config
from eapu_hil.rules.two_pulse import TwoPulseConfig

__all__ = [
    "BlindPulses",
    "DigitalConfig",
    "Proposal",
    "PulseTrain",
    "RuleConfig",
    "TransferRule",
    "UpdateRule",
    "WriteErrors",
    "make_rule",
]


class DigitalConfig(RuleModel):
    """Float weights on the host, no array."""

    name: Literal["digital"] = "digital"


RuleConfig = Annotated[
    AgadConfig
    | BpConfig
    | BpOpenLoopConfig
    | CTtv2Config
    | DeadZoneConfig
    | DigitalConfig
    | EapuConfig
    | EapuDeterministicConfig
    | EapuResidualConfig
    | HybridConfig
    | ManhattanConfig
    | MixedPrecisionConfig
    | OfflineThenMapConfig
    | StellarConfig
    | StochasticSparseMomentumConfig
    | ThresholdAccumulateConfig
    | TikiTakaV2Config
    | TwoPulseConfig,
    Field(discriminator="name"),
]


def make_rule(config: RuleConfig, shape: tuple[int, int], recipe: Recipe | None = None) -> UpdateRule:
    """A fresh rule for one layer of `shape` (n_in, n_out).

    recipe: of the bench; rules that pulse without verify take their pulses from it. Raises ConfigError when it lacks
    them, ValueError for `digital` and `offline_then_map`, which choose no writes. Of `hybrid` it is the rule of
    the layer that is trained in place.
    """
    match config:
        case DigitalConfig() | OfflineThenMapConfig():
            raise ValueError(f"rule {config.name!r} trains on the host; it chooses no writes")
        case HybridConfig():
            return BpConfig().make(shape, recipe)
        case _:
            return config.make(shape, recipe)
