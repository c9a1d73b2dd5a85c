"""Relaxation: how far cells move after a write, by state and by time, on a log-time schedule.

Batches of cells are written, read at once, and read again at each of `times_s` after that first reading. The times
that are shorter than `batch_s` are waited for within the batch; the longer ones come round for every batch once all are
written. Each reading keeps its own age, because a batch that is due while another is read is read late.

The change of a cell holds the noise of two readings. The white part of it is known from the first two readings, which
follow each other at once, and is taken off the variance; 1/f and telegraph noise are not told apart from relaxation.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt

from eapu_calibration.measurement import Levels, Progress, Result, Settings, StoppedError
from eapu_calibration.statistics import bootstrap, share
from eapu_hil.base.sizes import Samples
from eapu_hil.hal import Cells, CellStatus, Crossbar, FloatArray, HilError
from eapu_hil.hal.recipe import Recipe

CELLS_A_LEVEL_MIN = 20  # with fewer the variance is known to no better than a third
TAIL_SDS = 3.0
TIMES_MIN = 2  # of a measurement that is stopped, for it to be kept


def _rising(times_s: list[float]) -> list[float]:
    if sorted(set(times_s)) != times_s:
        raise ValueError("the times must rise")
    return times_s


class RelaxationSettings(Settings):
    """cells, levels: how many. batch: cells written and read together. batch_s: times up to it stay in the batch."""

    cells: PositiveInt
    levels: Annotated[int, Field(ge=2)]
    times_s: Annotated[list[PositiveFloat], Field(min_length=2), AfterValidator(_rising)]
    batch: Samples
    batch_s: PositiveFloat


class _Record:
    """The readings as they come in. Shapes: first two readings (2, n), age and conductance (times, n)."""

    def __init__(self, array: Crossbar, levels: Levels, recipe: Recipe, times: int) -> None:
        n = len(levels.cells)
        self._array, self._levels, self._v_read_v = array, levels, recipe.v_read_v
        self.written = np.zeros(n, np.bool_)
        self.first_S = np.full((2, n), np.nan)
        self.began_s = np.full(n, np.nan)
        self.age_s, self.g_S = np.full((2, times, n), np.nan)

    def write(self, batch: slice, recipe: Recipe) -> None:
        self.written[batch] = self._levels.write(self._array, recipe, batch)
        self.began_s[batch] = self._array.clock_s()
        for first_S in self.first_S:
            first_S[batch] = self._read(batch)

    def again(self, batch: slice, number: int, time_s: float) -> None:
        """Reading `number`, `time_s` after the first, or as soon as may be."""
        left_s = self.began_s[batch.start] + time_s - self._array.clock_s()
        if left_s > 0:
            self._array.wait(left_s)
        self.age_s[number, batch] = self._array.clock_s() - self.began_s[batch]
        self.g_S[number, batch] = self._read(batch)

    def _read(self, batch: slice) -> FloatArray:
        reading = self._array.read(self._levels.cells[batch], self._v_read_v)
        return np.where(reading.status == CellStatus.OK, reading.g_S, np.nan)

    def usable(self, times: int) -> NDArray[np.bool_]:
        read = np.isfinite(np.vstack([self.first_S, self.g_S[:times]])).all(axis=0)
        return np.asarray(self.written & read)


def measure_relaxation(
    array: Crossbar,
    cells: Cells,
    recipe: Recipe,
    settings: RelaxationSettings,
    rng: np.random.Generator,
    progress: Progress,
) -> Result:
    """Writes `cells` to levels of the window and follows them. Overwrites them.

    Values, by level and time: `sd_S` and `mean_S` of the change since the first reading, each with its interval; by
    time `tail_share`, the share of cells beyond 3 robust sd of their level; by level the law
    variance = `variance_1s_S2` + `variance_per_decade_S2` log10(t / 1 s), and the same for the mean.
    Raises HilError when fewer than 20 cells of a level can be written; StoppedError, with what all cells were read at,
    for a signal after two of the times.
    """
    levels = Levels.spread(cells, recipe, settings.levels, rng, CELLS_A_LEVEL_MIN)
    batches = [slice(start, start + settings.batch) for start in range(0, len(cells), settings.batch)]
    early = [time_s for time_s in settings.times_s if time_s <= settings.batch_s]
    record = _Record(array, levels, recipe, len(settings.times_s))
    done, total = 0, len(batches) * len(settings.times_s)
    for batch in batches:
        record.write(batch, recipe)
        for number, time_s in enumerate(early):
            record.again(batch, number, time_s)
        done += len(early)
        progress(done / total)
    number = len(early)
    try:
        for number, time_s in enumerate(settings.times_s[len(early) :], len(early)):
            for batch in batches:
                record.again(batch, number, time_s)
                done += 1
                progress(done / total)
    except (KeyboardInterrupt, SystemExit) as stop:
        if number < TIMES_MIN:
            raise
        raise StoppedError(_evaluated(array, levels, record, settings, rng, number)) from stop
    return _evaluated(array, levels, record, settings, rng, len(settings.times_s))


def _evaluated(
    array: Crossbar,
    levels: Levels,
    record: _Record,
    settings: RelaxationSettings,
    rng: np.random.Generator,
    times: int,
) -> Result:
    """times: how many of them all cells were read at."""
    usable, g_S = record.usable(times), record.g_S[:times]
    members = levels.members(usable, CELLS_A_LEVEL_MIN, array)
    age_s = np.median(record.age_s[:times, np.concatenate(members)], axis=1)
    if (np.diff(age_s) <= 0).any():
        raise HilError(
            f"{array.identity.serial}: the readings took so long that two of times_s coincide; "
            "take fewer cells, or times further apart"
        )
    values = {
        "levels_S": levels.g_S,
        "times_s": settings.times_s[:times],
        **evaluate(record.first_S, g_S, age_s, members, rng),
    }
    arrays = {
        "row": levels.cells.row,
        "col": levels.cells.col,
        "level": levels.level,
        "usable": usable,
        "first_S": record.first_S,
        "age_s": record.age_s[:times],
        "g_S": g_S,
    }
    return Result(values, arrays)


def evaluate(
    first_S: FloatArray,
    g_S: FloatArray,
    age_s: FloatArray,
    members: list[NDArray[np.int64]],
    rng: np.random.Generator,
) -> dict[str, object]:
    """The results of the readings, by level and time; see `measure_relaxation`.

    first_S: one or two readings at age 0, (1 or 2, cells); the last is the reference. g_S: (times, cells).
    age_s: (times,). members: cells of each level.
    """
    change_S = g_S - first_S[-1]
    by_level: dict[str, list[dict[str, object]]] = {name: [] for name in ("sd_S", "mean_S", *_LAW)}
    for chosen in members:
        jump_S = first_S[-1, chosen] - first_S[0, chosen]
        sample = np.vstack([jump_S, change_S[:, chosen]])
        by_level["sd_S"].append(bootstrap(_sd_S, sample, rng).plain())
        by_level["mean_S"].append(bootstrap(np.mean, change_S[:, chosen], rng).plain())
        law = _Law(age_s, sample)
        for name, estimate in zip(_LAW, law(sample, rng), strict=True):
            by_level[name].append(estimate)
    return {
        "g_first_S": [first_S[-1, chosen].mean() for chosen in members],
        "cells": [chosen.size for chosen in members],
        "age_s": age_s,
        "tail_share": _tails(change_S, members),
        **by_level,
    }


_LAW = ("variance_1s_S2", "variance_per_decade_S2", "mean_1s_S", "mean_per_decade_S")


def _variance_S2(sample: FloatArray, axis: int = -1) -> FloatArray:
    """Variance of the changes (rows 1 and on) less that of two readings (row 0); never below 0."""
    variance = np.var(sample[1:], axis=axis, ddof=1) - np.mean(np.square(sample[:1]), axis=axis)
    return np.asarray(np.maximum(variance, 0.0))


def _sd_S(sample: FloatArray, axis: int = -1) -> FloatArray:
    return np.asarray(np.sqrt(_variance_S2(sample, axis)))


class _Law:
    """Straight lines over log10 of the age, by weighted least squares: a variance is known in proportion to itself."""

    def __init__(self, age_s: FloatArray, sample: FloatArray) -> None:
        design = np.column_stack([np.ones(age_s.size), np.log10(age_s)])
        variance = _variance_S2(sample)
        weight = 1.0 / np.maximum(variance, 1e-3 * variance.max(initial=1e-30))
        self._variance = np.linalg.pinv(design * weight[:, None]) * weight
        weight = np.sqrt(weight)
        self._mean = np.linalg.pinv(design * weight[:, None]) * weight

    def __call__(self, sample: FloatArray, rng: np.random.Generator) -> list[dict[str, object]]:
        found = bootstrap(self._coefficients, sample, rng).plain()
        return [{end: values[number] for end, values in found.items()} for number in range(len(_LAW))]

    def _coefficients(self, sample: FloatArray, axis: int = -1) -> FloatArray:
        variance = np.tensordot(self._variance, _variance_S2(sample, axis), axes=1)
        mean = np.tensordot(self._mean, np.mean(sample[1:], axis=axis), axes=1)
        return np.concatenate([variance, mean])


def _tails(change_S: FloatArray, members: list[NDArray[np.int64]]) -> list[dict[str, object]]:
    """By time: the share of cells whose change lies beyond 3 robust sd (half of 16-84 %) from the median."""
    beyond = np.zeros(change_S.shape[0], np.int64)
    for chosen in members:
        low, middle, high = np.percentile(change_S[:, chosen], [15.87, 50, 84.13], axis=1)
        far = np.abs(change_S[:, chosen] - middle[:, None]) > TAIL_SDS / 2 * (high - low)[:, None]
        beyond += far.sum(axis=1)
    of = sum(chosen.size for chosen in members)
    return [share(int(count), of).plain() for count in beyond]
