"""Small identical pulses, the recipe's `increment`, as rules without verify send them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import ConfigError, FloatArray, IntArray, Polarity
from eapu_hil.hal.recipe import IncrementRecipe, Recipe
from eapu_hil.rules.base import require_finite
from eapu_hil.rules.contract import MINUS, PLUS, BlindPulses, PulseTrain, StepArray


def increment_of(recipe: Recipe | None, rule: str) -> IncrementRecipe:
    """The recipe's small blind pulses. Raises ConfigError where it has none."""
    if recipe is None or recipe.increment is None:
        raise ConfigError(
            f"rule {rule!r} pulses without verify, and the recipe has no `increment` (its small identical pulses); "
            "add one, for instance from `eapu-hil calibrate BENCH pulse_response`"
        )
    return recipe.increment


def steps_of(dg_S: StepArray, step_S: float) -> FloatArray:
    """The wanted changes in units of one increment of the pair, which is a pulse to each cell: `2 step_S`."""
    steps = dg_S.astype(np.float64) / (2 * step_S)
    require_finite(float(np.abs(steps).max(initial=0.0)))
    return steps


def push_pull(count: IntArray, increment: IncrementRecipe) -> BlindPulses:
    """`count` (n_weights,) signed increments of each weight: identical pulses to both cells of its pair, opposite ways.

    Going both ways at once keeps the response of the pair symmetric where that of a cell is not: SET steps shrink
    towards the top of the window, RESET steps towards its floor.
    """
    index = np.flatnonzero(count)
    number, rising = np.abs(count[index]), count[index] > 0
    trains = (
        _train(index, PLUS, rising, number, increment),
        _train(index, MINUS, ~rising, number, increment),
    )
    return BlindPulses(trains if index.size else ())


def one_way(
    index: IntArray, rising: NDArray[np.bool_], polarity: Polarity, increment: IncrementRecipe
) -> BlindPulses:
    """One identical pulse of one `polarity` to one cell of each pair: the one that moves the weight the wanted way."""
    side = np.where(rising == (polarity is Polarity.SET), PLUS, MINUS)
    up = np.full(index.size, polarity is Polarity.SET)
    train = _train(index, side, up, np.ones(index.size, np.int64), increment)
    return BlindPulses((train,) if index.size else ())


def _train(
    index: IntArray, side: int | IntArray, up: NDArray[np.bool_], count: IntArray, increment: IncrementRecipe
) -> PulseTrain:
    change_S = (np.where(up, 1.0, -1.0) * count * increment.step_S).astype(np.float64)
    return PulseTrain(
        index=index,
        side=np.broadcast_to(side, index.shape),
        polarity=np.where(up, Polarity.SET, Polarity.RESET),
        amplitude_v=np.where(up, increment.set_amplitude_v, increment.reset_amplitude_v),
        gate_v=np.where(up, increment.set_gate_v, increment.reset_gate_v),
        width_s=np.full(index.size, increment.width_s),
        count=count,
        change_S=change_S,
    )
