"""The update rules: which weights to write, given the optimizer's step and the measured write errors.

A new rule is one module with its configuration, a `RuleModel`, and its `UpdateRule`. An experiment finds it by the
name of its entry point in the group `eapu_hil.rules`, or as `module:Configuration`. `digital` stands for no rule that
chooses writes: it is the reference without an array. Each name is imported when it is first used: the help of a command
names rules and waits for none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from eapu_hil.rules.registry import RuleConfig, installed_rules, known_rule
    from eapu_hil.rules.spoken_of import BP, COMPARED, DIGITAL, EAPU

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

_DOORS = {
    **dict.fromkeys(("AccumulatingRule", "BaseRule", "require_finite", "require_state"), "base"),
    **dict.fromkeys(("RuleConfig", "installed_rules", "known_rule"), "registry"),
    **dict.fromkeys(("BP", "COMPARED", "DIGITAL", "EAPU"), "spoken_of"),
}


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"{__name__}.{_DOORS.get(name, 'contract')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
