"""Current against voltage: how linear a reading is, and at which amplitudes cells switch."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt

from eapu_calibration.measurement import Levels, Progress, Result, Settings
from eapu_calibration.statistics import bootstrap, share
from eapu_hil.base.sizes import Samples
from eapu_hil.hal import Cells, CellStatus, Crossbar, FloatArray, Polarity, Pulses, Targets
from eapu_hil.hal.recipe import Recipe

CELLS_A_LEVEL_MIN = 20


def _rising(volts: list[float]) -> list[float]:
    if sorted(set(volts)) != volts:
        raise ValueError("the voltages must rise")
    return volts


class IvSettings(Settings):
    """cells, levels: how many. read_parts: of the recipe's v_read_v, at which each is read.

    reads: at each of them. step_v: of the sweeps of pulse amplitudes, from itself to the end of the recipe's ramps.
    """

    cells: PositiveInt
    levels: Annotated[int, Field(ge=2)]
    read_parts: Annotated[list[PositiveFloat], Field(min_length=4), AfterValidator(_rising)]
    reads: Samples
    step_v: PositiveFloat


def measure_iv(
    array: Crossbar,
    cells: Cells,
    recipe: Recipe,
    settings: IvSettings,
    rng: np.random.Generator,
    progress: Progress,
) -> Result:
    """Reads written cells at several voltages; then sweeps pulses up from the lowest state and down from the highest.

    Overwrites them. Values, by level: `nonlinearity_per_v2`, k of I = I0 + G V (1 + k V^2), with interval;
    `disturbed_S`, mean change of the reading at the lowest voltage after all others, with interval. For `set` and
    `reset`: `amplitude_v`; `g_S`, mean over the cells after a pulse of each, with interval; `compliance`, share of
    the cells that met the current limit, with interval; `switched_v`, median over the cells of the first amplitude
    that took them half the way across the window, with interval, and `switched_sd_v`; null where fewer than half of
    the cells got there. Raises HilError when fewer than 20 cells of a level can be written and read, LimitError for a
    voltage beyond the limits.
    """
    levels = Levels.spread(cells, recipe, settings.levels, rng, CELLS_A_LEVEL_MIN)
    written = levels.write(array, recipe)
    g_S = np.full((len(settings.read_parts) + 1, len(cells)), np.nan)
    read_v = recipe.v_read_v * np.asarray(settings.read_parts)
    for number, v_read_v in enumerate([*read_v, read_v[0]]):
        readings = [array.read(cells, float(v_read_v)) for _ in range(settings.reads)]
        good = np.all([reading.status == CellStatus.OK for reading in readings], axis=0)
        g_S[number] = np.where(good, np.mean([reading.g_S for reading in readings], axis=0), np.nan)
        progress(0.5 * (number + 1) / len(g_S))
    members = levels.members(written & np.isfinite(g_S).all(axis=0), CELLS_A_LEVEL_MIN, array)
    curve = _Nonlinearity(read_v)
    values: dict[str, Any] = {
        "levels_S": levels.g_S,
        "read_v": read_v,
        "nonlinearity_per_v2": [bootstrap(curve, g_S[:-1, chosen], rng).plain() for chosen in members],
        "disturbed_S": [
            bootstrap(np.mean, g_S[-1, chosen] - g_S[0, chosen], rng).plain() for chosen in members
        ],
    }
    arrays: dict[str, NDArray[Any]] = {
        "row": cells.row,
        "col": cells.col,
        "level": levels.level,
        "read_g_S": g_S,
    }
    up, down = recipe.set, recipe.reset
    sweeps = (
        ("set", Polarity.SET, up.amplitude.stop_v, up.gate.stop_v, up.width_s, recipe.g_min_S),
        ("reset", Polarity.RESET, down.amplitude.stop_v, down.gate_v, down.width_s, recipe.g_max_S),
    )
    for number, (name, polarity, stop_v, gate_v, width_s, from_S) in enumerate(sweeps):
        array.program(Targets(cells, np.full(len(cells), from_S)), recipe)
        amplitude_v = np.arange(settings.step_v, stop_v + settings.step_v / 2, settings.step_v).clip(
            max=stop_v
        )
        after_S, limited = np.full((2, amplitude_v.size, len(cells)), np.nan)
        for step, volts in enumerate(amplitude_v):
            outcome = array.pulse(Pulses.same(cells, polarity, float(volts), gate_v, width_s))
            limited[step] = (outcome.status & CellStatus.COMPLIANCE) != 0
            reading = array.read(cells, recipe.v_read_v)
            # Beyond the range of a reading a cell has gone further than half the way.
            after_S[step] = np.where(reading.status == CellStatus.OK, reading.g_S, recipe.g_max_S)
            progress(0.5 + (number + (step + 1) / amplitude_v.size) / 4)
        values[name] = _swept(amplitude_v, after_S, limited, polarity, recipe, rng)
        arrays |= {f"{name}_g_S": after_S}
    return Result(values, arrays)


class _Nonlinearity:
    """k of I = I0 + G V (1 + k V^2), least squares on I / V, mean over the cells; I0 is the reader's offset."""

    def __init__(self, read_v: FloatArray) -> None:
        self._design = np.linalg.pinv(np.column_stack([np.ones(read_v.size), read_v**2, 1.0 / read_v]))

    def __call__(self, g_S: FloatArray, axis: int = -1) -> FloatArray:
        linear, slope, _ = np.tensordot(self._design, np.mean(g_S, axis=axis), axes=1)
        return np.asarray(slope / linear)


def _swept(
    amplitude_v: FloatArray,
    after_S: FloatArray,
    limited: FloatArray,
    polarity: Polarity,
    recipe: Recipe,
    rng: np.random.Generator,
) -> dict[str, Any]:
    half_S = (recipe.g_min_S + recipe.g_max_S) / 2
    beyond = after_S > half_S if polarity == Polarity.SET else after_S < half_S
    switched = beyond.any(axis=0)
    first_v = amplitude_v[np.argmax(beyond, axis=0)][switched]
    known = 2 * switched.sum() >= switched.size
    return {
        "amplitude_v": amplitude_v,
        "g_S": bootstrap(np.mean, after_S, rng).plain(),
        "compliance": [share(int(row.sum()), row.size).plain() for row in limited],
        "switched": int(switched.sum()),
        "switched_v": bootstrap(np.median, first_v, rng).plain() if known else None,
        "switched_sd_v": float(first_v.std(ddof=1)) if known else None,
    }
