"""The update rules: which weights to write, given the optimizer's step and the measured write errors.

A new rule is one module with its configuration, a `RuleModel`, and its `UpdateRule`. An experiment finds it by the
name of its entry point in the group `eapu_hil.rules`, or as `module:Configuration`. `digital` stands for no rule that
chooses writes: it is the reference without an array.
"""

from __future__ import annotations

from eapu_hil.rules.base import AccumulatingRule, BaseRule, require_finite, require_state
from eapu_hil.rules.contract import (
    BlindPulses,
    GradientRule,
    Proposal,
    PulseTrain,
    RuleModel,
    TransferRule,
    UpdateRule,
    WriteErrors,
)
from eapu_hil.rules.registry import BP, COMPARED, DIGITAL, EAPU, RuleConfig, installed_rules, known_rule

__all__ = [
    "BP",
    "COMPARED",
    "DIGITAL",
    "EAPU",
    "AccumulatingRule",
    "BaseRule",
    "BlindPulses",
    "GradientRule",
    "Proposal",
    "PulseTrain",
    "RuleConfig",
    "RuleModel",
    "TransferRule",
    "UpdateRule",
    "WriteErrors",
    "installed_rules",
    "known_rule",
    "require_finite",
    "require_state",
]
