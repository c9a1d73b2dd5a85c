"""Product accuracy: measured products against those computed from read conductances, line by line.

What is compared is the products with the reads, so a gain that both share does not show.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from eapu_calibration.measurement import Found, Levels, Progress, Settings
from eapu_calibration.statistics import Estimate, gain_and_offset
from eapu_hil.hal import Cells, CellStatus, Crossbar, Direction, FloatArray, HilError, IntArray
from eapu_hil.recipe import Recipe

LEVELS = 10


class ProductSettings(Settings):
    """vectors: how many, each line evenly within +-v_in_v. reads: averaged, half before and half after them.

    settle_s: bench time between the write and all that.
    """

    vectors: Annotated[int, Field(ge=8)]
    v_in_v: PositiveFloat
    reads: Annotated[int, Field(ge=2)]
    settle_s: Annotated[float, Field(ge=0)]
    batch: PositiveInt


def measure_products(
    array: Crossbar,
    cells: Cells,
    recipe: Recipe,
    settings: ProductSettings,
    rng: np.random.Generator,
    progress: Progress,
) -> Found:
    """Writes `cells` at random, reads the whole array, and measures products in both directions. Overwrites `cells`.

    Lines with a cell that reads nothing, or beyond the converter's range, stay at 0 V: what it adds to a product is
    not known. Values, for each direction: `gain` and `offset_a` of each measured line with intervals,
    `residual_sd_a`, and `residual_relative` to the largest computed current. Raises HilError where less than half
    of the lines can be driven.
    """
    Levels.spread(cells, recipe, LEVELS, rng).write(array, recipe)
    if settings.settle_s > 0:
        array.wait(settings.settle_s)
    everywhere = Cells.all(array.shape)
    half = settings.reads // 2
    read_s = [_matrix_s(array, everywhere, recipe) for _ in range(half)]
    products = []
    for number, direction in enumerate(Direction):
        lines = _driven(array, read_s[0], direction)
        v_v = rng.uniform(-settings.v_in_v, settings.v_in_v, (settings.vectors, lines.size))
        parts = []
        for start in range(0, settings.vectors, settings.batch):
            parts.append(array.vmm(v_v[start : start + settings.batch], direction, lines))
            progress((number + min(start + settings.batch, settings.vectors) / settings.vectors) / 2)
        products.append((direction, lines, v_v, np.vstack(parts)))
    read_s += [_matrix_s(array, everywhere, recipe) for _ in range(settings.reads - half)]
    g_s = np.mean(read_s, axis=0)
    values: dict[str, Any] = {}
    arrays: dict[str, Any] = {"g_s": g_s}
    for direction, lines, v_v, current_a in products:
        computed_a = v_v @ (g_s if direction is Direction.FORWARD else g_s.T)[lines]
        if not np.isfinite(computed_a).all():
            raise HilError(f"{array.identity.serial}: cells went out of the range of a reading meanwhile")
        values[direction.value] = {"lines_driven": lines.size, **_compared(computed_a, current_a)}
        arrays |= {f"{direction.value}_computed_a": computed_a, f"{direction.value}_measured_a": current_a}
    return Found(values, arrays)


def _matrix_s(array: Crossbar, everywhere: Cells, recipe: Recipe) -> FloatArray:
    """Conductances (rows, columns); NaN where a cell cannot be read."""
    reading = array.read(everywhere, recipe.v_read_v)
    return np.where(reading.status == CellStatus.OK, reading.g_s, np.nan).reshape(array.shape)


def _driven(array: Crossbar, g_s: FloatArray, direction: Direction) -> IntArray:
    """The lines of which every cell can be read. Raises HilError where that is less than half of them."""
    readable = np.isfinite(g_s).all(axis=1 if direction is Direction.FORWARD else 0)
    if 2 * readable.sum() < readable.size:
        raise HilError(
            f"{array.identity.serial}: {readable.size - readable.sum()} of {readable.size} lines have a cell that "
            "cannot be read; products are computed from the others, and these are too few"
        )
    return np.flatnonzero(readable)


def _compared(computed_a: FloatArray, measured_a: FloatArray) -> dict[str, Any]:
    gain, offset, residual_a = gain_and_offset(computed_a, measured_a)
    sd_a = float(np.sqrt(np.square(residual_a).sum() / (residual_a.size - 2 * residual_a.shape[1])))
    return {
        "gain": gain.plain(),
        "offset_a": offset.plain(),
        "gain_mean": _mean(gain),
        "residual_sd_a": sd_a,
        "residual_relative": sd_a / float(np.abs(computed_a).max()),
    }


def _mean(gain: Estimate) -> float:
    return float(gain.value.mean())
