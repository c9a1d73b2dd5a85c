"""The offset of the reads: found before forming, and taken off readings and targets from then on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from eapu_calibration.commissioning import commission
from eapu_calibration.read_offset import measure_read_offset

from eapu_hil.bench import Bench
from eapu_hil.bench.corrections import read_offset_a
from eapu_hil.hal import Cells, CellStatus, Direction, Targets

OpenTwin = Callable[..., Bench]
SHAPE = (48, 16)
# 5 % of the range of a read: 0.8 uA, or 4 uS at 0.2 V. Products are exact, so that they tell what cells hold.
OFFSETS = {
    "adc.offset_error_sd": 0.05,
    "adc.gain_error_sd": 0.0,
    "relaxation.enabled": False,
    "circuit.line_resistance_ohm": 0.0,
}


def _held_S(bench: Bench) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Conductances (rows, columns) from products with one row at 0.2 V; offsets are those of a product with none."""
    v_v = np.vstack([0.2 * np.eye(SHAPE[0]), np.zeros((8, SHAPE[0]))])
    current_a = bench.arrays[0].vmm(v_v, Direction.FORWARD)
    return (current_a[: SHAPE[0]] - current_a[SHAPE[0] :].mean(axis=0)) / 0.2


def test_the_offset_is_what_products_do_not_see(open_twin: OpenTwin) -> None:
    bench = open_twin(SHAPE, **OFFSETS)
    array = bench.arrays[0]
    found = measure_read_offset(array, 0.2)
    assert found.value.std() == pytest.approx(0.8e-6, rel=0.5)
    seen_S = array.read(Cells.all(SHAPE), 0.2).g_S.reshape(SHAPE)
    np.testing.assert_allclose((seen_S - _held_S(bench)).mean(axis=0), found.value / 0.2, atol=0.1e-6)
    assert (found.high - found.low).max() < 0.02e-6
    again = measure_read_offset(array, 0.1)  # a current: it does not depend on the voltage of the reads
    np.testing.assert_allclose(again.value, found.value, atol=0.02e-6)


def test_a_column_that_cannot_be_read_has_none(open_twin: OpenTwin) -> None:
    bench = open_twin(SHAPE, **{**OFFSETS, "faults.stuck_fraction": 1.0, "faults.stuck_high_share": 1.0})
    assert measure_read_offset(bench.arrays[0], 0.2).value.tolist() == [0.0] * SHAPE[1]


def test_writes_end_where_they_should(open_twin: OpenTwin) -> None:
    """Without, a third of the cells would be called bad, and the others would hold 4 uS (sd) too much or too little."""
    bench = open_twin(SHAPE, **OFFSETS)
    commission(bench.arrays, bench.chip, bench.recipe, seed=0)
    good = bench.chip.bad_cells(0) == CellStatus.OK
    assert good.mean() > 0.98
    np.testing.assert_array_equal(read_offset_a(bench.chip, 0), bench.arrays[0].corrections.read_offset_a)
    cells = Cells(*np.nonzero(good))
    target_S = np.random.default_rng(0).uniform(1e-6, 40e-6, len(cells))
    outcome = bench.arrays[0].program(Targets(cells, target_S))
    done = outcome.status == CellStatus.OK
    assert done.mean() > 0.98
    assert np.abs(outcome.g_after_S - target_S)[done].max() < 1.01 * bench.recipe.band_S
    error_S = _held_S(bench)[cells.row, cells.col] - target_S
    assert error_S[done].std() < 0.8e-6
    by_column_S = [error_S[done & (cells.col == column)].mean() for column in range(SHAPE[1])]
    assert np.std(by_column_S) < 0.2e-6
