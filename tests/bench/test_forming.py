"""Forming and exercising all cells, through the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

from eapu_hil.bench import Bench, open_bench
from eapu_hil.bench.forming import exercise, form
from eapu_hil.hal import Cells, CellStatus, Limits

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
