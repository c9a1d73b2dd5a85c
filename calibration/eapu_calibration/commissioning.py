"""Prepares a new chip for use: forms and exercises every cell and measures the write error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eapu_calibration.cell_faults import classify
from eapu_calibration.read_offset import measure_read_offset
from eapu_calibration.write_error import WriteErrorSettings, write_error
from eapu_hil.bench.array import BenchArray
from eapu_hil.bench.entries import Measurement
from eapu_hil.bench.forming import exercise, form
from eapu_hil.bench.forming_record import FormingRecord
from eapu_hil.bench.passport import Chip
from eapu_hil.hal import Cells, CellStatus, Crossbar, HilError, Targets
from eapu_hil.hal.recipe import Recipe

CELLS_MEASURED = 2000
CELLS_LEAST = 80
SEED_STREAM = 7


def commission(arrays: Sequence[BenchArray], chip: Chip, recipe: Recipe, seed: int) -> None:
    """Forms and exercises the arrays if that was never done, then measures the write error of `recipe` on the first.

    Both go into the passport. Raises HilError when too few cells of the first array work.
    """
    arrays = [array.without_record() for array in arrays]
    formed = {entry.values["array"] for entry in chip.history() if entry.kind == "forming"}
    for number, array in enumerate(arrays):
        if number not in formed:
            record_forming(number, array, chip, recipe)
    array = arrays[0]
    rng = np.random.default_rng([seed, SEED_STREAM])
    cells = good_cells(array, chip, 0, CELLS_MEASURED, rng)
    settings = WriteErrorSettings(cells=CELLS_MEASURED, relax_time_s=1.0)
    found = write_error(array, cells, recipe, settings, rng, lambda _: None)
    # Cells that hold no weight should neither draw current nor make noise.
    array.program(Targets(cells, np.full(len(cells), recipe.g_min_S)), recipe)
    values = {**found.values, "array": 0, "recipe": recipe.model_dump(mode="json")}
    chip.record("write_error", values, found.arrays, array.clock_s())


def good_cells(array: Crossbar, chip: Chip, number: int, count: int, rng: np.random.Generator) -> Cells:
    """`count` cells of array `number` that can be written, drawn at random; all of them where there are fewer.

    Raises HilError with fewer than 80, or than half of the cells of a small array.
    """
    good = np.flatnonzero(chip.bad_cells(number) == CellStatus.OK)
    cells = array.shape[0] * array.shape[1]
    least = min(CELLS_LEAST, -(-cells // 2))
    if good.size < least:
        raise HilError(
            f"array {number}: only {good.size} of {cells} cells can be written; {least} are needed"
        )
    chosen = rng.choice(good, min(count, good.size), replace=False)
    return Cells(chosen // array.shape[1], chosen % array.shape[1])


def record_forming(number: int, array: BenchArray, chip: Chip, recipe: Recipe) -> Measurement:
    """Forms the cells of array `number` that never were, and exercises all; returns the new entry of the passport.

    Readings decide which cells are good, so the offset of the reads of each column is measured first; the array allows
    for it from then on.
    """
    array.corrections.read_offset_a = np.zeros(array.shape[1])
    offset = measure_read_offset(array, recipe.v_read_v)
    array.corrections.read_offset_a = offset.value
    cells = Cells.all(array.shape)
    forming = form(array, cells, recipe)
    status = exercise(array, cells, recipe)
    g_low_S = array.read(cells, recipe.v_read_v).g_S  # of all, after they were asked for the lowest state
    before = FormingRecord(
        chip, number
    ).maps()  # of cells that were formed earlier, with the new ones among them
    formed_before = np.isfinite(before["v_form_v"]).ravel()
    maps = {**vars(forming), "status": status, "g_low_S": g_low_S}
    for name in ("v_form_v", "g_fresh_S"):
        maps[name] = np.where(formed_before, before[name].ravel(), maps[name])
    maps = {name: value.reshape(array.shape) for name, value in maps.items()}
    faults = classify(maps["status"], maps["g_formed_S"], g_low_S.reshape(array.shape), recipe)
    v_form_v = maps["v_form_v"]
    formed = np.isfinite(v_form_v)
    values = {
        "array": number,
        "cells": len(cells),
        "formed": int(formed.sum()),
        "bad": int((status != CellStatus.OK).sum()),
        "faults": faults.counts(),
        "lines": faults.lines(),
        "read_offset_a": offset.plain(),
        "v_form_median_v": float(np.median(v_form_v[formed])) if formed.any() else None,
    }
    return chip.record("forming", values, {**maps, "fault": faults.of_cells}, array.clock_s())
