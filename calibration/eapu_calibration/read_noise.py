"""Read noise: the scatter of readings of a cell that does not change, by state, and its spectrum.

Cells are written, left to settle, and read many times on end. Differences of readings in a row hold the white part
alone; the sd over all readings holds 1/f and telegraph noise too, and what is left of relaxation.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveInt
from scipy import signal

from eapu_calibration.measurement import Levels, Progress, Result, Settings
from eapu_calibration.statistics import bootstrap, share
from eapu_calibration.telegraph import SWITCHES_MIN, switches, two_levels
from eapu_hil.hal import Cells, CellStatus, Crossbar, FloatArray, HilError
from eapu_hil.hal.recipe import Recipe

CELLS_A_LEVEL_MIN = 5
READS_MIN = 16
RESTLESS_SDS = 3.0
CHANCE_MAX = 0.4  # nearer to a half, readings in a row have forgotten each other


class ReadNoiseSettings(Settings):
    """cells, levels: how many. settle_s: bench time between the write and the first of `reads` readings.

    interval_s: waited between readings; the slowest fluctuation that is seen takes `reads` times as long.
    """

    cells: PositiveInt
    levels: Annotated[int, Field(ge=2)]
    reads: Annotated[int, Field(ge=READS_MIN)]
    settle_s: NonNegativeFloat
    interval_s: NonNegativeFloat


def measure_read_noise(
    array: Crossbar,
    cells: Cells,
    recipe: Recipe,
    settings: ReadNoiseSettings,
    rng: np.random.Generator,
    progress: Progress,
) -> Result:
    """Reads written cells again and again. Overwrites them.

    Values, by level: `white_sd_S` and `total_sd_S`, root mean squares over the cells with their intervals; over all
    cells `restless_share`, the share whose total sd is more than 3 times the median of their level (telegraph noise),
    and `spectrum_slope`, that of log10 of the mean power density of G/mean(G) against log10 of the frequency over the
    lower half of the decades. `telegraph`: of the restless cells that were seen to switch at least 4 times, the median
    distance of their two levels in parts of their mean, and the median time they stay; None with fewer than 5 of them.
    Jumps too small to make a cell restless, or slower or faster than the readings, are not in it.
    Raises HilError when fewer than 5 cells of a level can be written.
    """
    levels = Levels.spread(cells, recipe, settings.levels, rng, CELLS_A_LEVEL_MIN)
    written = levels.write(array, recipe)
    if settings.settle_s > 0:
        array.wait(settings.settle_s)
    g_S = np.full((settings.reads, len(cells)), np.nan)
    clock_s = np.zeros(settings.reads)
    for number in range(settings.reads):
        if number and settings.interval_s > 0:
            array.wait(settings.interval_s)
        clock_s[number] = array.clock_s()
        reading = array.read(cells, recipe.v_read_v)
        g_S[number] = np.where(reading.status == CellStatus.OK, reading.g_S, np.nan)
        progress((number + 1) / settings.reads)
    usable = written & np.isfinite(g_S).all(axis=0)
    members = levels.members(usable, CELLS_A_LEVEL_MIN, array)
    white_S2 = np.square(np.diff(g_S, axis=0)).mean(axis=0) / 2
    total_S2 = g_S.var(axis=0, ddof=1)
    restless = np.zeros(len(cells), np.bool_)
    for chosen in members:
        total_sd_S = np.sqrt(total_S2[chosen])
        restless[chosen] = total_sd_S > RESTLESS_SDS * np.median(total_sd_S)
    frequency_hz, density = _spectrum(array, g_S[:, usable], clock_s)
    values = {
        "levels_S": levels.g_S,
        "g_mean_S": [g_S[:, chosen].mean() for chosen in members],
        "cells": [chosen.size for chosen in members],
        "reads": settings.reads,
        "read_interval_s": np.diff(clock_s).mean(),
        "white_sd_S": [bootstrap(_root_mean, white_S2[chosen], rng).plain() for chosen in members],
        "total_sd_S": [bootstrap(_root_mean, total_S2[chosen], rng).plain() for chosen in members],
        "restless_share": share(int(restless.sum()), int(usable.sum())).plain(),
        "telegraph": _telegraph(g_S[:, restless], clock_s, rng),
        "spectrum_slope": bootstrap(_Slope(frequency_hz), density, rng).plain(),
    }
    arrays = {
        "row": cells.row,
        "col": cells.col,
        "level": levels.level,
        "usable": usable,
        "restless": restless,
        "clock_s": clock_s,
        "g_S": g_S,
        "frequency_hz": frequency_hz,
        "density_per_hz": density.mean(axis=1),
    }
    return Result(values, arrays)


def _telegraph(
    g_S: FloatArray, clock_s: NDArray[np.float64], rng: np.random.Generator
) -> dict[str, Any] | None:
    low_S, high_S = two_levels(g_S)
    count = switches(g_S, low_S, high_S)
    chance = count / (clock_s.size - 1)  # of two readings in a row on different levels
    seen = (count >= SWITCHES_MIN) & (chance < CHANCE_MAX)
    if seen.sum() < CELLS_A_LEVEL_MIN:
        return None
    relative = ((high_S - low_S) / g_S.mean(axis=0))[seen]
    # A symmetric chain of dwell time T: chance = (1 - exp(-2 t/T)) / 2, which counts what switched back unseen.
    dwell_s = -2 * np.diff(clock_s).mean() / np.log1p(-2 * chance[seen])
    return {
        "cells": int(seen.sum()),
        "amplitude_relative": bootstrap(np.median, relative, rng).plain(),
        "dwell_s": bootstrap(np.median, dwell_s, rng).plain(),
    }


def _root_mean(squares: FloatArray, axis: int = -1) -> FloatArray:
    return np.asarray(np.sqrt(np.mean(squares, axis=axis)))


def _spectrum(
    array: Crossbar, g_S: FloatArray, clock_s: NDArray[np.float64]
) -> tuple[FloatArray, FloatArray]:
    """Frequencies (f,) in Hz and one-sided power density (f, cells) in 1/Hz of G/mean(G), without the mean."""
    interval_s = float(np.diff(clock_s).mean())
    if interval_s <= 0:
        raise HilError(f"{array.identity.serial}: the bench clock stood still while cells were read")
    frequency_hz, density = signal.periodogram(g_S / g_S.mean(axis=0), fs=1 / interval_s, axis=0)
    return frequency_hz[1:], density[1:]


class _Slope:
    """Slope of the mean power density on log axes, over the lower half of the decades, where 1/f stands out."""

    def __init__(self, frequency_hz: FloatArray) -> None:
        self._low = frequency_hz <= np.sqrt(frequency_hz[0] * frequency_hz[-1])
        x = np.log10(frequency_hz[self._low])
        self._weights = (x - x.mean()) / np.square(x - x.mean()).sum()

    def __call__(self, density: FloatArray, axis: int = -1) -> FloatArray:
        return np.tensordot(self._weights, np.log10(density.mean(axis=axis)[self._low]), axes=1)
