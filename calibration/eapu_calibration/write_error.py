"""The write error as a function of the conductance written: the error that EaPU is aware of.

Two parts, kept apart so that neither is counted twice: what write-verify leaves at once, and what relaxation adds
between the confirming read and a product some time later.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import PositiveFloat, PositiveInt

from eapu_calibration.measurement import Progress, Result, Settings
from eapu_hil.hal import Cells, CellStatus, Crossbar, FloatArray, HilError, IntArray, StatusArray, Targets
from eapu_hil.hal.recipe import Recipe

LEVELS = 10
WRITES_A_LEVEL = 8  # at least
CELLS_A_LEVEL_MIN = 4  # converged ones; with fewer a standard deviation says nothing


class WriteErrorSettings(Settings):
    """cells: how many. relax_time_s: bench time between the two readings."""

    cells: PositiveInt
    relax_time_s: PositiveFloat


@dataclass(frozen=True, eq=False)
class WriteErrorTable:
    """By level, shape (levels,): sd of the error at once and of the change after `relax_time_s`, with the cells used.

    mean_relax_S: mean change in that time. Standard errors of the two sds are sd / sqrt(2 cells).
    """

    levels_S: FloatArray
    sigma_write_S: FloatArray
    sigma_relax_S: FloatArray
    mean_relax_S: FloatArray
    cells: IntArray
    relax_time_s: float


def write_error(
    array: Crossbar,
    cells: Cells,
    recipe: Recipe,
    settings: WriteErrorSettings,
    rng: np.random.Generator,
    progress: Progress,
) -> Result:
    """`measure_write_error` as an entry of the passport."""
    found = Result(vars(measure_write_error(array, cells, recipe, settings.relax_time_s, rng)), {})
    progress(1.0)
    return found


def measure_write_error(
    array: Crossbar, cells: Cells, recipe: Recipe, relax_time_s: float, rng: np.random.Generator
) -> WriteErrorTable:
    """Writes `cells` to evenly spaced levels of the window at random, reads them at once and after `relax_time_s`.

    Where there are fewer cells than 8 a level, they are written again and again until there are as many writes. Those
    that do not converge are left out. Raises HilError when too few of a level converge.
    """
    levels_S = np.linspace(recipe.g_min_S, recipe.g_max_S, LEVELS)
    rounds = -(-WRITES_A_LEVEL * LEVELS // len(cells))
    level = rng.permutation(np.arange(rounds * len(cells)) % LEVELS)
    written: list[tuple[StatusArray, FloatArray, FloatArray]] = []
    for its_level in np.split(level, rounds):
        outcome = array.program(Targets(cells, levels_S[its_level]), recipe)
        read_S = array.read(cells, recipe.v_read_v).g_S
        array.wait(relax_time_s)
        written.append((outcome.status, read_S, array.read(cells, recipe.v_read_v).g_S))
    status, at_once, later = (np.concatenate(parts) for parts in zip(*written, strict=True))
    good = status == CellStatus.OK
    by_level = [np.flatnonzero(good & (level == number)) for number in range(LEVELS)]
    for number, chosen in enumerate(by_level):
        if chosen.size < CELLS_A_LEVEL_MIN:
            raise HilError(
                f"{array.identity.serial}: level of {levels_S[number]:.3g} S: only {chosen.size} of "
                f"{np.count_nonzero(level == number)} writes ended in their band; {CELLS_A_LEVEL_MIN} are needed to "
                "measure the write error"
            )
    return WriteErrorTable(
        levels_S=levels_S,
        sigma_write_S=np.array([_sd(at_once[chosen] - levels_S[level[chosen]]) for chosen in by_level]),
        sigma_relax_S=np.array([_sd(later[chosen] - at_once[chosen]) for chosen in by_level]),
        mean_relax_S=np.array([(later[chosen] - at_once[chosen]).mean() for chosen in by_level]),
        cells=np.array([chosen.size for chosen in by_level]),
        relax_time_s=relax_time_s,
    )


def _sd(values: FloatArray) -> float:
    return float(values.std(ddof=1))
