"""Open-loop response: identical pulses without verify, up from the lowest state and down from the highest."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt

from eapu_calibration.measurement import Progress, Result, Settings
from eapu_calibration.statistics import bootstrap
from eapu_hil.hal import Cells, CellStatus, Crossbar, FloatArray, HilError, Polarity, Pulses, Targets
from eapu_hil.hal.recipe import Recipe

CELLS_MIN = 20
BINS = 10
GENTLE = 0.6  # of the amplitude at which the recipe begins its SETs: that one goes all the way at once


class PulseResponseSettings(Settings):
    """cells: how many. pulses: in one train.

    set_amplitude_v, reset_amplitude_v: of the pulses; by default 0.6 of where the recipe's SETs start, and where its
    RESETs do. The gate is the recipe's for the highest conductance, so that it does not end a train early.
    """

    cells: PositiveInt
    pulses: Annotated[int, Field(ge=3)]
    set_amplitude_v: PositiveFloat | None = None
    reset_amplitude_v: PositiveFloat | None = None


def measure_pulse_response(
    array: Crossbar,
    cells: Cells,
    recipe: Recipe,
    settings: PulseResponseSettings,
    rng: np.random.Generator,
    progress: Progress,
) -> Result:
    """Writes `cells` low and pulses them up, writes them high and pulses them down, reading after each pulse.

    Overwrites them. Values, for `up` and `down`: `amplitude_v`, `gate_v`, `width_s`; `g_S`, mean over the cells by
    number of pulses, with interval; by state (ten parts of the window, null with fewer than 20 steps from there)
    `step_S`, the mean of one step with its interval, and `step_sd_S`. `asymmetry`: mean step down over mean step up
    in the middle four parts, null where they are not both known. Raises HilError when fewer than 20 cells can be
    written and read.
    """
    ramps = {
        "up": (Polarity.SET, settings.set_amplitude_v or GENTLE * recipe.set.amplitude.start_v, _gate_v(recipe),
               recipe.set.width_s, recipe.g_min_S),
        "down": (Polarity.RESET, settings.reset_amplitude_v or recipe.reset.amplitude.start_v, recipe.reset.gate_v,
                 recipe.reset.width_s, recipe.g_max_S),
    }  # fmt: skip
    edges_S = np.linspace(recipe.g_min_S, recipe.g_max_S, BINS + 1)
    values: dict[str, Any] = {"edges_S": edges_S}
    arrays: dict[str, NDArray[Any]] = {"row": cells.row, "col": cells.col}
    for number, (name, (polarity, amplitude_v, gate_v, width_s, from_S)) in enumerate(ramps.items()):
        pulse = Pulses.same(cells, polarity, amplitude_v, gate_v, width_s)
        outcome = array.program(Targets(cells, np.full(len(cells), from_S)), recipe)
        g_S = np.full((settings.pulses + 1, len(cells)), np.nan)
        for count in range(settings.pulses + 1):
            if count:
                array.pulse(pulse)
            reading = array.read(cells, recipe.v_read_v)
            g_S[count] = np.where(reading.status == CellStatus.OK, reading.g_S, np.nan)
            progress((number + (count + 1) / (settings.pulses + 1)) / 2)
        usable = (outcome.status == CellStatus.OK) & np.isfinite(g_S).all(axis=0)
        if usable.sum() < CELLS_MIN:
            raise HilError(
                f"{array.identity.serial}: only {int(usable.sum())} cells could be written to "
                f"{1e6 * from_S:.3g} uS and read after every pulse; {CELLS_MIN} are needed"
            )
        values[name] = {
            "amplitude_v": amplitude_v,
            "gate_v": gate_v,
            "width_s": width_s,
            "cells": int(usable.sum()),
            "g_S": bootstrap(np.mean, g_S[:, usable], rng).plain(),
            **_by_state(g_S[:, usable], edges_S, rng),
        }
        arrays |= {f"{name}_g_S": g_S, f"{name}_usable": usable}
    values["asymmetry"] = _asymmetry(values)
    return Result(values, arrays)


def _gate_v(recipe: Recipe) -> float:
    highest_v = recipe.set.gate_offset_v + recipe.g_max_S / recipe.set.gate_slope_S_per_v
    return float(np.clip(highest_v, recipe.set.gate.start_v, recipe.set.gate.stop_v))


def _by_state(g_S: FloatArray, edges_S: FloatArray, rng: np.random.Generator) -> dict[str, list[Any]]:
    before_S, step_S = g_S[:-1].ravel(), np.diff(g_S, axis=0).ravel()
    part = np.searchsorted(edges_S, before_S, side="right") - 1
    mean: list[Any] = []
    spread: list[Any] = []
    for number in range(BINS):
        steps = step_S[part == number]
        known = steps.size >= CELLS_MIN
        mean.append(bootstrap(np.mean, steps, rng).plain() if known else None)
        spread.append(float(steps.std(ddof=1)) if known else None)
    return {"step_S": mean, "step_sd_S": spread}


def _asymmetry(values: dict[str, Any]) -> float | None:
    middle = slice(BINS // 2 - 2, BINS // 2 + 2)
    up, down = (
        [step and step["value"] for step in values[name]["step_S"][middle]] for name in ("up", "down")
    )
    if None in up or None in down or sum(up) <= 0:
        return None
    return float(-sum(down) / sum(up))
