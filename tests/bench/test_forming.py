"""Forming and exercising all cells, through the contract."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eapu_hil.bench import Bench, open_bench
from eapu_hil.bench.forming import exercise, form, note_formed
from eapu_hil.bench.forming_record import FormingRecord
from eapu_hil.bench.passport import Chip
from eapu_hil.hal import Cells, CellStatus, ConfigError, HilError, Limits, Targets

SHAPE = (32, 16)
CELLS = Cells.all(SHAPE)
OpenTwin = Callable[..., Bench]


@pytest.fixture
def open_twin(limits: Limits) -> Iterator[OpenTwin]:
    with ExitStack() as stack:

        def make(**overrides: Any) -> Bench:
            source = {
                "backend": "twin",
                "shape": list(SHAPE),
                "overrides": {"faults.stuck_fraction": 0.0, **overrides},
                "limits": dict(vars(limits)),
            }
            return stack.enter_context(open_bench(source, commission=False))

        yield make


def test_every_working_cell_is_formed_at_a_voltage_of_its_own(open_twin: OpenTwin) -> None:
    bench = open_twin()
    result = form(bench.arrays[0], CELLS, bench.recipe)
    law = bench.recipe.form
    assert (result.g_fresh_S < law.g_formed_S).all()
    assert np.isfinite(result.v_form_v).mean() > 0.99
    assert (result.g_formed_S >= law.g_formed_S).mean() > 0.99
    # the ramp finds each cell's voltage, rounded up to a step: 2.8 V, sd 0.15 V
    assert np.nanmean(result.v_form_v) == pytest.approx(2.8 + law.amplitude.step_v / 2, abs=0.03)
    assert np.nanstd(result.v_form_v) == pytest.approx(0.15, abs=0.03)
    assert (result.v_form_v >= law.amplitude.start_v).all()


def test_a_cell_gets_no_pulse_after_it_formed(open_twin: OpenTwin) -> None:
    bench = open_twin()
    result = form(bench.arrays[0], CELLS, bench.recipe)
    law = bench.recipe.form.amplitude
    steps = np.rint((result.v_form_v - law.start_v) / law.step_v).astype(int) + 1
    pulses = bench.ledger.snapshot().pulses[0].ravel()
    np.testing.assert_array_equal(pulses, steps)


def test_a_formed_array_is_left_alone(open_twin: OpenTwin) -> None:
    bench = open_twin()
    form(bench.arrays[0], CELLS, bench.recipe)
    before = bench.ledger.snapshot().pulses.sum()
    again = form(bench.arrays[0], CELLS, bench.recipe)
    assert bench.ledger.snapshot().pulses.sum() == before
    assert np.isnan(again.v_form_v).all()
    np.testing.assert_array_equal(again.g_formed_S, again.g_fresh_S)


def test_cells_that_do_not_form(open_twin: OpenTwin) -> None:
    bench = open_twin(**{"forming.v_form_v": 3.4, "forming.v_form_sd_v": 0.1})
    result = form(bench.arrays[0], CELLS, bench.recipe)
    failed = np.isnan(result.v_form_v)
    assert failed.mean() == pytest.approx(0.5, abs=0.1)  # the ramp ends at 3.4 V
    assert (result.g_formed_S[failed] < bench.recipe.form.g_formed_S).all()
    status = exercise(bench.arrays[0], CELLS, bench.recipe)
    assert (status[failed] != CellStatus.OK).all()
    assert (status[failed] == CellStatus.STUCK).mean() > 0.9
    assert (status[~failed] == CellStatus.OK).mean() > 0.98


def test_exercise_finds_stuck_cells(open_twin: OpenTwin) -> None:
    bench = open_twin(**{"faults.stuck_fraction": 0.1})
    result = form(bench.arrays[0], CELLS, bench.recipe)
    high = result.g_fresh_S > 60e-6
    low = ~high & np.isnan(result.v_form_v)
    assert high.mean() + low.mean() == pytest.approx(0.1, abs=0.04)
    status = exercise(bench.arrays[0], CELLS, bench.recipe)
    assert (status[high | low] != CellStatus.OK).all()
    assert (status[~high & ~low] == CellStatus.OK).mean() > 0.98


def test_exercise_leaves_the_array_low(open_twin: OpenTwin) -> None:
    bench = open_twin()
    form(bench.arrays[0], CELLS, bench.recipe)
    status = exercise(bench.arrays[0], CELLS, bench.recipe)
    good = status == CellStatus.OK
    assert good.mean() > 0.98
    g_S = bench.arrays[0].read(CELLS, 0.2).g_S
    assert (g_S[good] < bench.recipe.g_min_S + 2 * bench.recipe.band_S).all()


def pulses_of(bench: Bench) -> np.ndarray:
    return np.array(bench.ledger.snapshot().pulses[0])


def test_a_formed_cell_is_never_formed_again_unless_named(open_twin: OpenTwin) -> None:
    """Cells that were programmed below the threshold of forming are as low as fresh ones look."""
    bench = open_twin()
    array, recipe = bench.arrays[0], bench.recipe
    form(array, CELLS, recipe)
    array.program(Targets(CELLS, np.full(len(CELLS), 2.4e-6)))
    before, held_S = pulses_of(bench), array.read(CELLS, recipe.v_read_v).g_S
    form(array, CELLS, recipe)
    np.testing.assert_array_equal(pulses_of(bench), before)
    assert array.read(CELLS, recipe.v_read_v).g_S.mean() == pytest.approx(held_S.mean(), abs=0.3e-6)
    few = Cells.block(0, 1, 0, 4)
    form(array, few, recipe, again=True)
    assert (pulses_of(bench) > before).sum() == 4


def test_what_was_formed_is_in_the_passport(open_twin: OpenTwin) -> None:
    bench = open_twin()
    few = Cells.block(0, 2, 0, 16)
    found = form(bench.arrays[0], few, bench.recipe)
    maps = FormingRecord(Chip.open(bench.chip.directory), 0).maps()
    np.testing.assert_array_equal(maps["v_form_v"][:2].ravel(), found.v_form_v)
    np.testing.assert_array_equal(maps["g_formed_S"][:2].ravel(), found.g_formed_S)
    assert (maps["formed_at_s"][:2] > 1.7e9).all()
    assert np.isnan(maps["v_form_v"][2:]).all()
    assert (maps["state"][2:] == 0).all()


def test_forming_that_is_cut_short_is_noted_and_goes_on(open_twin: OpenTwin) -> None:
    bench = open_twin()
    array, record = bench.arrays[0], FormingRecord(bench.chip, 0)
    pulse, sent = array.pulse, []

    def cut(pulses: Any) -> Any:
        sent.append(pulses)
        if len(sent) == 8:
            raise KeyboardInterrupt
        return pulse(pulses)

    array.pulse = cut  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        form(array, CELLS, bench.recipe)
    done = record.is_formed(CELLS)
    assert 0 < done.sum() < len(CELLS)
    array.pulse = pulse  # type: ignore[method-assign]
    found = form(array, CELLS, bench.recipe)
    assert np.isnan(found.v_form_v[done]).all()
    assert record.is_formed(CELLS).mean() > 0.99


def test_cells_whose_forming_was_killed_are_left_alone_once_something_was_written(
    open_twin: OpenTwin,
) -> None:
    bench = open_twin()
    array, record = bench.arrays[0], FormingRecord(bench.chip, 0)
    unnoted = copy.copy(array)
    unnoted.forming = None
    form(unnoted, CELLS, bench.recipe)
    record.begin(CELLS)  # and the process was killed before it noted the end
    array.program(Targets(CELLS, np.full(len(CELLS), 2e-6)))
    before = bench.ledger.snapshot().pulses.sum()
    with pytest.raises(ConfigError, match="were pulsed before, and this passport does not say"):
        form(array, CELLS, bench.recipe)
    assert bench.ledger.snapshot().pulses.sum() == before


def test_cells_that_did_not_form_may_be_tried_again(open_twin: OpenTwin) -> None:
    bench = open_twin(**{"faults.stuck_fraction": 0.3})
    array = bench.arrays[0]
    form(array, CELLS, bench.recipe)
    array.program(Targets(CELLS, np.full(len(CELLS), 20e-6)))
    form(array, CELLS, bench.recipe)  # is not refused


def test_cells_that_the_passport_does_not_know_are_left_alone(open_twin: OpenTwin) -> None:
    """The record of an array that was used is gone: the ledger knows that it is not fresh."""
    bench = open_twin()
    array, record = bench.arrays[0], FormingRecord(bench.chip, 0)
    form(array, CELLS, bench.recipe)
    array.program(Targets(CELLS, np.full(len(CELLS), 2.4e-6)))
    record.path.unlink()
    before = pulses_of(bench)
    with pytest.raises(
        ConfigError, match=r"array 0: forming of \d+ cells asked; \d+ of them were pulsed before.*--formed"
    ):
        form(array, CELLS, bench.recipe)
    np.testing.assert_array_equal(pulses_of(bench), before)
    note_formed(array, record, CELLS, bench.recipe)
    form(array, CELLS, bench.recipe)
    np.testing.assert_array_equal(pulses_of(bench), before)


def test_a_new_passport_for_a_used_chip_is_noticed_by_its_conductances(
    open_twin: OpenTwin, tmp_path: Path
) -> None:
    used = open_twin()
    form(used.arrays[0], CELLS, used.recipe)
    used.arrays[0].program(Targets(CELLS, np.full(len(CELLS), 2.4e-6)))
    with pytest.raises(ConfigError, match=r"\d+ of them conduct already"):
        FormingRecord(Chip.create(tmp_path / "new", "x", "y", SHAPE, 1), 0).cells_to_form(
            CELLS, used.arrays[0].read(CELLS, 0.2).g_S, np.zeros(len(CELLS), int), used.recipe, again=False
        )


def test_a_record_of_another_chip_is_refused(open_twin: OpenTwin) -> None:
    mine, other = open_twin(), open_twin()
    for bench in (mine, other):
        form(bench.arrays[0], Cells.block(0, 1, 0, 4), bench.recipe)
    path = FormingRecord(mine.chip, 0).path
    path.write_bytes(FormingRecord(other.chip, 0).path.read_bytes())
    with pytest.raises(HilError, match=r"forming/array0\.npz: another file was put in its place: chip"):
        form(mine.arrays[0], CELLS, mine.recipe)
