"""A plan of measurements on one array, each result an entry of the chip's passport.

A stopped calibration goes on where it was: an entry `calibration` stands at its start, and each measurement that was
finished names the number of that entry.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_calibration.commissioning import good_cells, record_forming
from eapu_calibration.endurance import EnduranceSettings, measure_endurance
from eapu_calibration.gate_curve import measure_gate_curve
from eapu_calibration.iv import measure_iv
from eapu_calibration.line_resistance import measure_line_resistance
from eapu_calibration.linearity import measure_linearity
from eapu_calibration.measurement import Progress, Result, StoppedError
from eapu_calibration.plan import FORMING, MEASUREMENTS, Plan, require_large_enough
from eapu_calibration.product_accuracy import measure_products
from eapu_calibration.pulse_response import measure_pulse_response
from eapu_calibration.read_noise import measure_read_noise
from eapu_calibration.relaxation import measure_relaxation
from eapu_calibration.write_error import write_error
from eapu_calibration.write_verify import measure_write_verify
from eapu_hil.bench import Bench
from eapu_hil.bench.array import BenchArray
from eapu_hil.bench.corrections import line_gains
from eapu_hil.bench.entries import Measurement
from eapu_hil.bench.passport import Chip
from eapu_hil.hal import Cells, CellStatus, ConfigError, Crossbar, HilError, Targets
from eapu_hil.hal.recipe import Recipe

_MEASURE: dict[str, Callable[..., Result]] = {  # each with settings of its own
    "iv": measure_iv,
    "gate_curve": measure_gate_curve,
    "pulse_response": measure_pulse_response,
    "write_verify": measure_write_verify,
    "write_error": write_error,
    "relaxation": measure_relaxation,
    "read_noise": measure_read_noise,
    "linearity": measure_linearity,
    "line_resistance": measure_line_resistance,
    "product_accuracy": measure_products,
    "endurance": measure_endurance,
}
_LOG = logging.getLogger(__name__)
ProgressOf = Callable[[str], Progress]


@dataclass(frozen=True, eq=False)
class _Calibration:
    """The array to measure, with all that the measurements need. number: of `array` on the bench."""

    array: BenchArray
    number: int
    chip: Chip
    recipe: Recipe
    plan: Plan
    names: Sequence[str]
    seed: int


def with_forming(names: Sequence[str], chip: Chip, number: int) -> list[str]:
    """The measurements with `forming` before them where array `number` was never formed: costs a twin nothing."""
    return list(names) if FORMING in names or is_formed(chip, number) else [FORMING, *names]


def calibrate(
    bench: Bench,
    number: int,
    plan: Plan,
    names: Sequence[str],
    *,
    seed: int,
    progress_of: ProgressOf,
    left_over: Callable[[Cells], None] = lambda _: None,
    recorded: Callable[[Measurement], object] = lambda _: None,
) -> list[Measurement]:
    """Makes the measurements `names` (of `chosen_names`) on array `number`; returns their entries.

    Overwrites cells; at the end all that can be written are in the lowest state. Goes on with a calibration of the
    same plan and names that was stopped. progress_of: gives what a measurement tells its progress. left_over: is told,
    at the end, the cells that were found unusable or that cannot be written to the lowest state. recorded: is told each
    new entry but that of forming, with the array grounded. The temperature that the bench file gives is noted in each
    entry but that of forming.
    Raises HilError for an array that was never formed, unless `forming` is asked, and for one that is too small.
    """
    array, chip = bench.arrays[number].without_record(), bench.chip
    require_large_enough(array, number, names)
    if FORMING not in names and not is_formed(chip, number):
        raise HilError(
            f"array {number} was never formed under this passport; to form every cell of it, name the measurement "
            f"{FORMING!r} (a fresh chip is not formed unasked)"
        )
    array.corrections.gains = None  # products are measured as they are
    try:
        work = _Calibration(array, number, chip, bench.recipe, plan, names, seed)
        was_bad = chip.bad_cells(number) != CellStatus.OK
        entries = _entries(work, progress_of, bench.config.temperature_c, recorded)
        wrong = _lower(array, number, chip, bench.recipe)
        if FORMING not in names:
            wrong &= ~was_bad
        left_over(Cells(*np.nonzero(wrong)))
        return entries
    finally:
        array.corrections.gains = line_gains(chip, number)


def _entries(
    work: _Calibration,
    progress_of: ProgressOf,
    temperature_c: float | None,
    recorded: Callable[[Measurement], object],
) -> list[Measurement]:
    array, chip, number = work.array, work.chip, work.number
    begun = _begun(work)
    done = _done(chip, number, begun)
    for name in work.names:
        if name in done:
            _LOG.info("%s: measured already, entry %d", name, done[name].number)
            continue
        progress = progress_of(name)
        if name == FORMING:
            done[name] = record_forming(number, array, chip, work.recipe)
            progress(1.0)
            continue
        rng = np.random.default_rng([begun.values["seed"], MEASUREMENTS.index(name)])
        began_s = array.clock_s()
        try:
            found, stop = _measured(work, name, rng, progress), None
        except StoppedError as stopped:
            found, stop = stopped.found, stopped.__cause__
        values = {
            **found.values,
            "array": number,
            "calibration": begun.number,
            "interrupted": stop is not None,
            "recipe": work.recipe.model_dump(mode="json"),
            "bench_time_s": array.clock_s() - began_s,
        }
        if temperature_c is not None:
            values["temperature_c"] = temperature_c
        done[name] = chip.record(name, values, found.arrays, array.clock_s())
        if stop is not None:
            _LOG.info("%s: stopped; entry %d holds the results so far", name, done[name].number)
            raise stop
        if "failed" in found.arrays:
            _retire(found, number, chip, array.clock_s())
        array.ground()
        recorded(done[name])
        progress(1.0)
    return [done[name] for name in work.names]


def _done(chip: Chip, number: int, begun: Measurement) -> dict[str, Measurement]:
    """The measurements of a calibration so far, by name. Forming does not say for which calibration it was made."""
    entries = [entry for entry in chip.history() if entry.number > begun.number]
    return {
        entry.kind: entry
        for entry in entries
        if (entry.values.get("calibration") == begun.number and not entry.values.get("interrupted"))
        or (entry.kind == FORMING and entry.values["array"] == number)
    }


def _lower(array: Crossbar, number: int, chip: Chip, recipe: Recipe) -> NDArray[np.bool_]:
    """Cells that hold nothing should neither draw current nor make noise: all that can be written go to `g_min_S`.

    Returns those that are bad or did not get there, (rows, columns).
    """
    bad: NDArray[np.bool_] = chip.bad_cells(number) != CellStatus.OK
    cells = Cells(*np.nonzero(~bad))
    outcome = array.program(Targets(cells, np.full(len(cells), recipe.g_min_S)), recipe)
    bad[cells.row, cells.col] = outcome.status != CellStatus.OK
    return bad


def is_formed(chip: Chip, number: int) -> bool:
    """Whether array `number` was formed under this passport."""
    return any(entry.kind == FORMING and entry.values["array"] == number for entry in chip.history())


def _begun(work: _Calibration) -> Measurement:
    """The entry of this calibration: that of the last one if it is the same and was not finished."""
    wanted: dict[str, Any] = {
        "array": work.number,
        # Forming is not asked for again when this goes on.
        "names": [name for name in work.names if name != FORMING],
        "plan": work.plan.model_dump(mode="json"),
        "recipe": work.recipe.model_dump(mode="json"),
        "seed": work.seed,
    }
    last = work.chip.latest("calibration")
    same = last is not None and dict(last.values) == wanted
    if last is None or not same or not set(work.names) - _done(work.chip, work.number, last).keys():
        return work.chip.record("calibration", wanted, {}, work.array.clock_s())
    _LOG.info("continuing calibration %d", last.number)
    return last


def _set_aside(settings: EnduranceSettings, array: Crossbar, number: int, chip: Chip) -> Cells:
    """The cells that the plan names. Raises ConfigError for one that is not there, HilError for one that is bad."""
    cells, status = settings.chosen(), chip.bad_cells(number)
    for row, col in settings.cells:
        if row >= array.shape[0] or col >= array.shape[1]:
            raise ConfigError(
                f"endurance: cell ({row}, {col}) asked; array {number} has rows 0 to {array.shape[0] - 1} and "
                f"columns 0 to {array.shape[1] - 1}"
            )
        if status[row, col] != CellStatus.OK:
            raise HilError(
                f"endurance: cell ({row}, {col}) of array {number} is bad already "
                f"({CellStatus(int(status[row, col])).name}); name other cells"
            )
    return cells


def _retire(found: Result, number: int, chip: Chip, clock_s: float) -> None:
    """Cells that wore out hold no weights from now on."""
    failed = np.asarray(found.arrays["failed"], dtype=bool)
    if failed.any():
        lost = {"row": found.arrays["row"][failed], "col": found.arrays["col"][failed],
                "status": np.full(int(failed.sum()), CellStatus.STUCK, np.uint8)}  # fmt: skip
        chip.record(
            "bad_cells", {"array": number, "cells": int(failed.sum()), "found_by": "endurance"}, lost, clock_s
        )


def _measured(work: _Calibration, name: str, rng: np.random.Generator, progress: Progress) -> Result:
    array, number, chip = work.array, work.number, work.chip
    settings = getattr(work.plan.measurements, name)
    if isinstance(settings, EnduranceSettings):
        cells = _set_aside(settings, array, number, chip)
    else:
        count = getattr(settings, "cells", array.shape[0] * array.shape[1])
        cells = good_cells(array, chip, number, count, rng)
    return _MEASURE[name](array, cells, work.recipe, settings, rng, progress)
