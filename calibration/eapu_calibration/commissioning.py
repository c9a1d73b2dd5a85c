"""What a chip needs before its first use: every cell formed and exercised, the write error measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eapu_calibration.forming import exercise, form
from eapu_calibration.write_error import LEVELS, measure_write_error
from eapu_hil.chip import Chip
from eapu_hil.hal import Cells, CellStatus, Crossbar, HilError
from eapu_hil.recipe import Recipe

RELAX_TIME_S = 1.0
CELLS_MEASURED = 2000


def commission(arrays: Sequence[Crossbar], chip: Chip, recipe: Recipe, seed: int) -> None:
    """Forms and exercises all arrays, measures the write error on the first, records both in the passport.

    Raises HilError when too few cells of the first array work.
    """
    status = []
    for number, array in enumerate(arrays):
        cells = Cells.all(array.shape)
        forming = form(array, cells, recipe)
        bad = exercise(array, cells, recipe)
        status.append(bad.reshape(array.shape))
        formed = np.isfinite(forming.v_form_v)
        chip.record(
            "forming",
            {
                "array": number,
                "cells": len(cells),
                "formed": int(formed.sum()),
                "bad": int((bad != CellStatus.OK).sum()),
                "v_form_median_v": float(np.median(forming.v_form_v[formed])) if formed.any() else None,
            },
            {
                "g_fresh_s": forming.g_fresh_s.reshape(array.shape),
                "v_form_v": forming.v_form_v.reshape(array.shape),
                "g_formed_s": forming.g_formed_s.reshape(array.shape),
                "status": bad.reshape(array.shape),
            },
            array.clock_s(),
        )
    rng = np.random.default_rng([seed, 7])
    good = np.flatnonzero(status[0] == CellStatus.OK)
    if good.size < 8 * LEVELS:
        raise HilError(
            f"array 0: only {good.size} of {status[0].size} cells can be written; "
            f"{8 * LEVELS} are needed to measure the write error"
        )
    chosen = rng.choice(good, min(CELLS_MEASURED, good.size), replace=False)
    columns = arrays[0].shape[1]
    cells = Cells(chosen // columns, chosen % columns)
    table = measure_write_error(arrays[0], cells, recipe, RELAX_TIME_S, rng)
    chip.record(
        "write_error",
        {
            "array": 0,
            "relax_time_s": table.relax_time_s,
            "levels_s": table.levels_s.tolist(),
            "sigma_write_s": table.sigma_write_s.tolist(),
            "sigma_relax_s": table.sigma_relax_s.tolist(),
            "mean_relax_s": table.mean_relax_s.tolist(),
            "cells": table.cells.tolist(),
        },
        {},
        arrays[0].clock_s(),
    )
