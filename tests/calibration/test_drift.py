"""The drift monitor, on twins whose cells relax or stay."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from eapu_calibration.drift import Drift, look

from eapu_hil.bench import Bench
from eapu_hil.bench.forming import form
from eapu_hil.hal import Cells, CellStatus, HilError, Polarity, Pulses, Targets

OpenTwin = Callable[..., Bench]


def programmed(bench: Bench, cells: Cells, g_S: float = 20e-6) -> np.ndarray:
    """Writes the cells; whether each ended in its band."""
    array = bench.arrays[0]
    form(array, cells, bench.recipe)
    targets = Targets(cells, np.full(len(cells), g_S))
    outcome = array.program(targets)
    return np.asarray(outcome.status == CellStatus.OK)


def pulses(bench: Bench) -> np.ndarray:
    return bench.ledger.arrays[0].snapshot()["pulses"]


def looked(bench: Bench, band_S: float = 1e-6) -> Drift:
    return look(bench.arrays[0], 0, bench.chip, bench.recipe.v_read_v, band_S, pulses(bench))[0]


def test_cells_that_stay_are_in(open_twin: OpenTwin) -> None:
    quiet = {"relaxation.enabled": False, "read_noise.enabled": False, "rtn.enabled": False}
    bench = open_twin((16, 12), **quiet)
    good = programmed(bench, Cells.all((16, 12)))
    bench.arrays[0].wait(1e5)
    found = looked(bench, 1.2e-6)
    assert len(found.targets) == good.sum()
    assert not found.out.any()
    assert np.isnan(found.since_s).all()
    assert len(found.refresh()) == 0


def test_since_when_and_what_to_write_again(open_twin: OpenTwin) -> None:
    bench = open_twin((32, 24))
    array = bench.arrays[0]
    programmed(bench, Cells.all((32, 24)))
    array.wait(10.0)
    first = looked(bench, 2e-6)
    assert 0.15 < first.out.mean() < 0.6  # sd about 2.5 uS, with heavy tails
    first_s = first.since_s[first.out]
    assert np.ptp(first_s) == 0.0
    array.wait(1e5)
    second = looked(bench, 2e-6)
    assert second.out.mean() > first.out.mean()
    stayed = first.out & second.out
    assert (second.since_s[stayed] == first_s[0]).all()
    assert (second.since_s[second.out & ~first.out] > first_s[0] + 1e5 - 1).all()
    assert np.isnan(second.since_s[~second.out]).all()
    kinds = [entry.kind for entry in bench.chip.history()]
    assert kinds == ["programmed", "drift", "drift"]
    refresh = second.refresh()
    assert len(refresh) == second.out.sum()
    array.program(refresh)
    third = looked(bench, 2e-6)
    assert third.out.mean() < 0.6 * second.out.mean()
    written_again = np.isin(third.targets.cells.row * 24 + third.targets.cells.col,
                            refresh.cells.row * 24 + refresh.cells.col)  # fmt: skip
    assert (third.since_s[written_again & third.out] > second.written_at_s.max() + 1e5).all()


def test_a_cell_that_was_pulsed_since_is_left_out(open_twin: OpenTwin) -> None:
    bench = open_twin((16, 12))
    good = programmed(bench, Cells.all((16, 12)))
    bench.arrays[0].pulse(Pulses.same(Cells.block(0, 2, 0, 12), Polarity.SET, 1.6, 1.4, 1e-7))
    found = looked(bench)
    assert found.overwritten == good[:24].sum()
    assert found.targets.cells.row.min() == 2
    bench.arrays[0].pulse(Pulses.same(Cells.all((16, 12)), Polarity.SET, 1.6, 1.4, 1e-7))
    with pytest.raises(HilError, match=r"array 0: all \d+ cells were pulsed again since they were written"):
        looked(bench)


def test_the_last_target_counts_and_failed_writes_have_none(open_twin: OpenTwin) -> None:
    bench = open_twin((8, 8), **{"relaxation.enabled": False})
    with pytest.raises(HilError, match="array 0: no cell has a target, because nothing was written"):
        looked(bench)
    cells = Cells.block(0, 4, 0, 8)
    programmed(bench, cells, 10e-6)
    programmed(bench, cells[:8], 30e-6)
    found = looked(bench)
    assert (found.targets.g_target_S == np.where(found.targets.cells.row == 0, 30e-6, 10e-6)).all()
    array = bench.arrays[0]
    failing = bench.recipe.model_copy(update={"pulses_max": 1})
    outcome = array.program(Targets(cells, np.full(len(cells), 39e-6)), failing)
    assert (outcome.status != CellStatus.OK).sum() > 16
    assert len(looked(bench).targets) == (outcome.status == CellStatus.OK).sum()


def test_times_of_another_clock_are_not_subtracted(open_twin: OpenTwin) -> None:
    """The clock of the host was set back between two sessions."""
    bench = open_twin((32, 24))
    programmed(bench, Cells.all((32, 24)))
    bench.arrays[0].wait(1e5)
    first = looked(bench, 2e-6)
    assert np.isfinite(first.written_at_s).all()
    bench.chip.clock = "time of day #3"
    second = looked(bench, 2e-6)
    assert second.out.sum() > 10
    assert np.isnan(second.written_at_s).all()
    assert (
        second.since_s[second.out] > first.since_s[first.out].max()
    ).all()  # since this look, as far as is known
    third = looked(bench, 2e-6)
    both = second.out & third.out
    np.testing.assert_array_equal(third.since_s[both], second.since_s[both])
