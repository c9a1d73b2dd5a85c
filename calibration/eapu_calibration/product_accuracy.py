"""Product accuracy: measured products against those computed from read conductances, line by line.

A product has a gain for each measured line and one for each driven line: those of the converters, what the wires take
off far lines, and, where columns are driven, the inverse of what their converters do to the reads that are compared.
A gain that products and reads share does not show.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field, PositiveFloat

from eapu_calibration.line_gains import LineGainFit, fill_unread, fit_line_gains
from eapu_calibration.measurement import Progress, Result, Settings
from eapu_calibration.statistics import Estimate
from eapu_hil.base.sizes import Samples
from eapu_hil.hal import Cells, CellStatus, Crossbar, Direction, FloatArray, HilError, IntArray, Targets
from eapu_hil.hal.recipe import Recipe

WEIGHT_SD = 0.15  # of the written cells, of the window; the other cell of a pair stays at its low end
UNREAD_SHARE = 4  # vectors for each cell of a column that cannot be read


class ProductSettings(Settings):
    """vectors: how many, each line evenly within +-v_in_v. reads: averaged, half before and half after them.

    settle_s: bench time between the write and all that.
    """

    vectors: Annotated[int, Field(ge=8)]
    v_in_v: PositiveFloat
    reads: Annotated[int, Field(ge=2)]
    settle_s: Annotated[float, Field(ge=0)]
    batch: Samples


def measure_products(
    array: Crossbar,
    cells: Cells,
    recipe: Recipe,
    settings: ProductSettings,
    rng: np.random.Generator,
    progress: Progress,
) -> Result:
    """Writes `cells` at random, reads the whole array, and measures products in both directions. Overwrites `cells`.

    A cell that reads nothing, or beyond the converter's range, is taken from the forward products. A column with more
    of them than a quarter of the vectors is in `columns_unknown`: it is not driven, and its gain is set to 1.
    `read_offset_S`: what the reads of each column have in common that products do not see.
    Values, for each direction: `gain` and `offset_a` of each measured line and `driven_gain` of each driven line (mean
    1) with intervals, `residual_sd_a`, and `residual_relative` to the largest computed current. Raises HilError where
    more than half of the columns are unknown.
    """
    array.program(Targets(cells, _like_weights_S(len(cells), recipe, rng)), recipe)
    if settings.settle_s > 0:
        array.wait(settings.settle_s)
    everywhere = Cells.all(array.shape)
    half = settings.reads // 2
    read_S = [_matrix_S(array, everywhere, recipe) for _ in range(half)]
    unread = np.isnan(np.mean(read_S, axis=0)).sum(axis=0)
    unknown = unread > settings.vectors // UNREAD_SHARE
    if 2 * unknown.sum() > unknown.size:
        raise HilError(
            f"{array.identity.serial}: {unknown.sum()} of {unknown.size} columns have more cells that cannot be "
            f"read than {settings.vectors} vectors tell apart ({settings.vectors // UNREAD_SHARE}); take more vectors"
        )
    measured = {}
    for number, direction in enumerate(Direction):
        driven = np.arange(array.shape[0]) if direction is Direction.FORWARD else np.flatnonzero(~unknown)
        v_v = rng.uniform(-settings.v_in_v, settings.v_in_v, (settings.vectors, driven.size))
        parts = []
        for start in range(0, settings.vectors, settings.batch):
            parts.append(array.vmm(v_v[start : start + settings.batch], direction, driven))
            progress((number + min(start + settings.batch, settings.vectors) / settings.vectors) / 2)
        measured[direction] = v_v, np.vstack(parts)
    read_S += [_matrix_S(array, everywhere, recipe) for _ in range(settings.reads - half)]
    g_S = np.mean(read_S, axis=0)
    known = np.flatnonzero(~unknown)
    v_v, current_a = measured[Direction.FORWARD]
    g_S[:, known] = fill_unread(v_v, g_S[:, known], current_a[:, known])
    forward = fit_line_gains(v_v, g_S[:, known], current_a[:, known], with_read_offset=True)
    v_v, current_a = measured[Direction.TRANSPOSED]
    true_S = g_S[:, known] - forward.read_offset.value
    transposed = fit_line_gains(v_v, true_S.T, current_a, with_read_offset=False)
    values: dict[str, Any] = {
        "columns_unknown": np.flatnonzero(unknown).tolist(),
        "read_offset_S": _everywhere(forward.read_offset, known, unknown.size, 0.0),
        "forward": _values(forward, np.arange(array.shape[0]), known, array.shape),
        "transposed": _values(transposed, known, np.arange(array.shape[0]), array.shape[::-1]),
    }
    arrays = {"g_S": g_S}
    for direction, fit in ((Direction.FORWARD, forward), (Direction.TRANSPOSED, transposed)):
        arrays |= {
            f"{direction.value}_computed_a": fit.computed_a,
            f"{direction.value}_measured_a": fit.measured_a,
        }
    return Result(values, arrays)


def _like_weights_S(count: int, recipe: Recipe, rng: np.random.Generator) -> FloatArray:
    """Conductances as a network's: most at the low end. The wires take off more the more the cells conduct."""
    part = WEIGHT_SD * np.abs(rng.standard_normal(count)) * (rng.random(count) < 0.5)
    return np.asarray(recipe.g_min_S + np.minimum(part, 1.0) * (recipe.g_max_S - recipe.g_min_S))


def _matrix_S(array: Crossbar, everywhere: Cells, recipe: Recipe) -> FloatArray:
    """Conductances (rows, columns); NaN where a cell cannot be read."""
    reading = array.read(everywhere, recipe.v_read_v)
    return np.where(reading.status == CellStatus.OK, reading.g_S, np.nan).reshape(array.shape)


def _values(fit: LineGainFit, driven: IntArray, measured: IntArray, shape: tuple[int, int]) -> dict[str, Any]:
    """The passport's values for one direction. shape: lines driven and measured, with those that are unknown."""
    residual_a = fit.residual_a
    freedom = residual_a.size - 2 * residual_a.shape[1] - fit.driven.value.size
    sd_a = float(np.sqrt(np.square(residual_a).sum() / freedom))
    return {
        "gain": _everywhere(fit.gain, measured, shape[1], 1.0),
        "offset_a": _everywhere(fit.offset, measured, shape[1], 0.0),
        "driven_gain": _everywhere(fit.driven, driven, shape[0], 1.0),
        "gain_mean": float(fit.gain.value.mean()),
        "residual_sd_a": sd_a,
        "residual_relative": sd_a / float(np.abs(fit.computed_a).max()),
    }


def _everywhere(estimate: Estimate, lines: IntArray, count: int, else_: float) -> dict[str, Any]:
    """The estimate of `lines` among all `count` lines; `else_` for those that are unknown."""
    ends = np.full((3, count), else_)
    ends[:, lines] = estimate.value, estimate.low, estimate.high
    return Estimate(*ends).plain()
