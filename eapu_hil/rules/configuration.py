"""What the configurations of all rules share."""

from __future__ import annotations

from typing import Protocol

from pydantic import BaseModel, ConfigDict

from eapu_hil.hal.recipe import Recipe
from eapu_hil.rules.contract import UpdateRule


class RuleModel(BaseModel):
    """The keys of one rule in an experiment file; unknown ones are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MakesRule(Protocol):
    """A configuration whose rule chooses writes."""

    def make(self, shape: tuple[int, int], recipe: Recipe | None) -> UpdateRule:
        """A fresh rule for one layer of `shape` (n_in, n_out). Raises ConfigError if `recipe` lacks what it needs."""
        ...
