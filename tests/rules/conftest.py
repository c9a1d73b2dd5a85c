"""The recipe that the rules are tried with: round increments."""

from __future__ import annotations

import pytest
from rule_steps import STEP_S

from eapu_hil.base.loading import load_model
from eapu_hil.hal.recipe import Recipe


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return load_model(Recipe, "rram_180nm", {"increment.step_S": STEP_S}, "recipes")
