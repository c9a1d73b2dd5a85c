"""Resistance of the column wires, from how products of single rows fall off against reads of the same cells.

A column is a ladder: a segment of wire between neighbouring cells, and one more to the converter below the last row. A
read has the gates of one row on alone: all that its cell lets through arrives. In a product all gates are on, and of
the current of a row the cells of the others, at 0 V, take their part, the more the further it is from the converter.
Gains of the converters are the same for all rows of a column and drop out; what the row wires take off is in reads
and products.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat
from scipy import linalg, optimize

from eapu_calibration.measurement import Progress, Result, Settings
from eapu_calibration.statistics import bootstrap
from eapu_hil.hal import Cells, CellStatus, Crossbar, Direction, FloatArray, HilError, Targets
from eapu_hil.hal.recipe import Recipe

COLUMNS_MIN = 8
ZEROS = 16
LEAST_PART = 0.3  # of the level: columns with a cell that reads less are left out
_SMALL_OHM, _SMALL = 1e-3, 1e-9


class LineResistanceSettings(Settings):
    """v_in_v: of the driven row. level: of the cells, as a part of the window. repeats: of each product and read."""

    v_in_v: PositiveFloat
    level: Annotated[float, Field(gt=0, le=1)]
    repeats: Annotated[int, Field(ge=2)]


def measure_line_resistance(
    array: Crossbar,
    cells: Cells,
    recipe: Recipe,
    settings: LineResistanceSettings,
    rng: np.random.Generator,
    progress: Progress,
) -> Result:
    """Writes all of `cells` to one level, reads them and measures products of single rows. Overwrites them.

    Values: `ohm`, resistance of one segment, median over the columns, with interval; `falloff`, by row, the median over
    the columns of product over read, by that of the last row. Raises HilError where fewer than 8 columns have only
    cells that can be read.
    """
    g_S = recipe.g_min_S + settings.level * (recipe.g_max_S - recipe.g_min_S)
    array.program(Targets(cells, np.full(len(cells), g_S)), recipe)
    everywhere, rows = Cells.all(array.shape), array.shape[0]
    read_S, product_S = np.zeros((2, *array.shape))
    readable = np.ones(array.shape[1], np.bool_)
    one_by_one = np.vstack([settings.v_in_v * np.eye(rows), np.zeros((ZEROS, rows))])
    for number in range(settings.repeats):
        reading = array.read(everywhere, recipe.v_read_v)
        readable &= (reading.status == CellStatus.OK).reshape(array.shape).all(axis=0)
        read_S += reading.g_S.reshape(array.shape) / settings.repeats
        current_a = array.vmm(one_by_one, Direction.FORWARD)
        # Vectors of 0 V in the same range show the offset of each column.
        product_S += (current_a[:rows] - current_a[rows:].mean(axis=0)) / settings.v_in_v / settings.repeats
        progress((number + 1) / settings.repeats)
    readable &= (read_S > LEAST_PART * g_S).all(axis=0) & (product_S > 0).all(axis=0)
    if readable.sum() < COLUMNS_MIN:
        raise HilError(
            f"{array.identity.serial}: {int(readable.sum())} columns have only cells that can be written and read; "
            f"{COLUMNS_MIN} are needed"
        )
    ratio = np.log(product_S[:, readable] / read_S[:, readable])
    ohm = np.array([_segment_ohm(*column) for column in zip(read_S[:, readable].T, ratio.T, strict=True)])
    falloff = np.exp(np.median(ratio - ratio[-1], axis=1))
    values: dict[str, Any] = {
        "columns": int(readable.sum()),
        "ohm": bootstrap(np.median, ohm, rng).plain(),
        "falloff": falloff,
    }
    arrays: dict[str, NDArray[Any]] = {
        "column": np.flatnonzero(readable),
        "ohm": ohm,
        "read_S": read_S,
        "product_S": product_S,
    }
    return Result(values, arrays)


def _segment_ohm(read_S: FloatArray, log_ratio: FloatArray) -> float:
    """Resistance of a segment of one column, by least squares; below zero where noise makes the ratio rise.

    read_S: (rows,). log_ratio: of product over read, (rows,), up to the gain of the converters.
    """
    # To first order the falloff is proportional to the resistance: that gives the sign and the scale.
    slope = _log_falloff(read_S, _SMALL_OHM) / _SMALL_OHM
    slope -= slope.mean()
    first_ohm = float(slope @ (log_ratio - log_ratio.mean()) / (slope @ slope))
    if first_ohm <= 0:
        return first_ohm

    def squares(ohm: float) -> float:
        return float((log_ratio - _log_falloff(read_S, ohm)).var())

    found = optimize.minimize_scalar(squares, bounds=(0.0, 3.0 * first_ohm), method="bounded")
    return float(found.x)


def _log_falloff(read_S: FloatArray, ohm: float) -> FloatArray:
    """Log of product over read for each row of a column with equal gains, shape (rows,).

    By reciprocity what arrives of a row's current is the potential of its node when the converter's end is at 1 V.
    """
    rows = read_S.size
    below = rows - np.arange(rows)
    cell_S = read_S / np.maximum(1.0 - read_S * ohm * below, _SMALL)
    banded = np.zeros((3, rows))
    banded[0, 1:] = banded[2, :-1] = -1.0
    banded[1] = 2.0 + cell_S * ohm
    banded[1, 0] -= 1.0  # nothing above the first row
    driven = np.zeros(rows)
    driven[-1] = 1.0
    potential = linalg.solve_banded((1, 1), banded, driven)
    found: FloatArray = np.log(potential) + np.log1p(cell_S * ohm * below)
    return found
