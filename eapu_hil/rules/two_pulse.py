"""Gate-controlled two-pulse writing without verify.

    Vg += k dG / 2 for one cell of a pair, -= k dG / 2 for the other, inside the gate's range          [V]
    a cell that falls gets a full RESET first; then every changed cell gets one SET at its Vg

k is the inverse slope of the recipe's line between gate voltage and conductance, and a cell's Vg what this line
gives for the conductance that the host believes in. Changes of `threshold_uS` or less are skipped. Wang, Li et al.,
Nat. Mach. Intell. (2019), doi 10.1038/s42256-019-0089-1; Li et al., Nat. Commun. 9:2385 (2018),
doi 10.1038/s41467-018-04484-2.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import NonNegativeFloat

from eapu_hil.base.colours import ORANGE
from eapu_hil.hal import ConfigError, FloatArray, IntArray, Polarity
from eapu_hil.hal.recipe import Recipe
from eapu_hil.rules.base import BaseRule, require_finite
from eapu_hil.rules.contract import (
    GATE_OF_TARGET,
    MINUS,
    PLUS,
    BlindPulses,
    PulseTrain,
    RuleModel,
    StepArray,
    WriteErrors,
)


class TwoPulseConfig(RuleModel):
    """threshold_uS: largest change of a weight that is skipped, uS."""

    verified: ClassVar[bool] = False
    colour: ClassVar[str | None] = ORANGE

    name: Literal["two_pulse"] = "two_pulse"
    threshold_uS: NonNegativeFloat = 0.0

    def make(self, shape: tuple[int, int], recipe: Recipe | None) -> TwoPulse:
        """See `RuleModel.make`."""
        if recipe is None:
            raise ConfigError(f"rule {self.name!r} needs a recipe: the gate voltages are its")
        return TwoPulse(recipe, self.threshold_uS * 1e-6)


class TwoPulse(BaseRule):
    """threshold_S: largest change of a weight that is skipped, S. Draws nothing at random."""

    name = "two_pulse"

    def __init__(self, recipe: Recipe, threshold_S: float) -> None:
        self._recipe = recipe
        self._threshold_S = threshold_S

    def propose(self, dg_S: StepArray, errors: WriteErrors, rng: np.random.Generator) -> BlindPulses:
        """See `UpdateRule.propose`."""
        size_S = np.abs(dg_S)
        require_finite(float(size_S.max(initial=0.0)))
        index = np.flatnonzero(size_S > self._threshold_S)
        if index.size == 0:
            return BlindPulses()
        half_S = dg_S[index].astype(np.float64) / 2
        rising = half_S > 0
        both = np.concatenate([index, index])
        side = np.repeat([PLUS, MINUS], index.size)
        change_S = np.concatenate([half_S, -half_S])
        falling = side == np.concatenate([np.where(rising, MINUS, PLUS)] * 2)
        return BlindPulses((self._erase(both[falling], side[falling]), self._set(both, side, change_S)))

    def _erase(self, index: IntArray, side: IntArray) -> PulseTrain:
        law = self._recipe.reset
        # The SET that follows says what the two pulses together are expected to change.
        return _same(
            index, side, Polarity.RESET, law.amplitude.stop_v, law.gate_v, law.width_s, np.zeros(index.size)
        )

    def _set(self, index: IntArray, side: IntArray, change_S: FloatArray) -> PulseTrain:
        law = self._recipe.set
        return _same(index, side, Polarity.SET, law.amplitude.start_v, GATE_OF_TARGET, law.width_s, change_S)


def _same(
    index: IntArray,
    side: IntArray,
    polarity: Polarity,
    amplitude_v: float,
    gate_v: float,
    width_s: float,
    change_S: FloatArray,
) -> PulseTrain:
    n = index.size
    volts, gates, widths = np.full((3, n), np.array([[amplitude_v], [gate_v], [width_s]]))
    return PulseTrain(
        index, side, np.full(n, int(polarity)), volts, gates, widths, np.ones(n, np.int64), change_S
    )
