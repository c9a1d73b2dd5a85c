"""Write-verify as it comes out: success, pulses and error by level, from below and from above."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from eapu_calibration.measurement import Levels, Progress, Result, Settings
from eapu_calibration.statistics import bootstrap, share
from eapu_hil.hal import Cells, CellStatus, Crossbar, FloatArray, Targets
from eapu_hil.hal.recipe import Recipe

CELLS_A_LEVEL_MIN = 20
DIRECTIONS = ("up", "down")  # from the lowest and from the highest state


class WriteVerifySettings(Settings):
    """cells, levels: how many. Each cell is written to its level twice, from either end of the window."""

    cells: PositiveInt
    levels: Annotated[int, Field(ge=2)]


def measure_write_verify(
    array: Crossbar,
    cells: Cells,
    recipe: Recipe,
    settings: WriteVerifySettings,
    rng: np.random.Generator,
    progress: Progress,
) -> Result:
    """Writes `cells` to levels of the window with the recipe. Overwrites them.

    Values, by direction and level: `ok`, the share that ended in the band, with its interval; `pulses`, mean with
    interval, and `pulses_p99`; `error_mean_S` and `error_sd_S` of a fresh reading of those, with intervals. By
    direction `statuses`, how often each was met (a cell may have several). Raises HilError when fewer than 20 cells
    of a level are there or were written.
    """
    levels = Levels.spread(cells, recipe, settings.levels, rng, CELLS_A_LEVEL_MIN)
    values: dict[str, Any] = {"levels_S": levels.g_S}
    arrays: dict[str, NDArray[Any]] = {"row": cells.row, "col": cells.col, "level": levels.level}
    for number, (direction, from_S) in enumerate(
        zip(DIRECTIONS, (recipe.g_min_S, recipe.g_max_S), strict=True)
    ):
        array.program(Targets(cells, np.full(len(cells), from_S)), recipe)
        outcome = array.program(Targets(cells, levels.g_S[levels.level]), recipe)
        reading = array.read(cells, recipe.v_read_v)
        error_S = np.where(reading.status == CellStatus.OK, reading.g_S - levels.g_S[levels.level], np.nan)
        written = (outcome.status == CellStatus.OK) & np.isfinite(error_S)
        levels.members(written, CELLS_A_LEVEL_MIN, array)
        members = [np.flatnonzero(levels.level == level) for level in range(levels.g_S.size)]
        values[direction] = {
            "ok": [
                share(int((outcome.status[chosen] == 0).sum()), chosen.size).plain() for chosen in members
            ],
            "pulses": [
                bootstrap(np.mean, outcome.pulses[chosen].astype(float), rng).plain() for chosen in members
            ],
            "pulses_p99": [float(np.percentile(outcome.pulses[chosen], 99)) for chosen in members],
            "error_mean_S": [
                bootstrap(np.mean, error_S[chosen[written[chosen]]], rng).plain() for chosen in members
            ],
            "error_sd_S": [
                bootstrap(_sd, error_S[chosen[written[chosen]]], rng).plain() for chosen in members
            ],
            "statuses": _statuses(outcome.status),
        }
        arrays |= {
            f"{direction}_pulses": outcome.pulses,
            f"{direction}_status": outcome.status,
            f"{direction}_error_S": error_S,
        }
        progress((number + 1) / len(DIRECTIONS))
    return Result(values, arrays)


def _sd(sample: FloatArray, axis: int = -1) -> FloatArray:
    return np.asarray(np.std(sample, axis=axis, ddof=1))


def _statuses(status: NDArray[np.uint8]) -> dict[str, int]:
    counts = {flag.name: int(((status & flag) != 0).sum()) for flag in CellStatus if flag.name}
    return {
        "OK": int((status == CellStatus.OK).sum()),
        **{name: count for name, count in counts.items() if count},
    }
