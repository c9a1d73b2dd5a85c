"""The measured write error, on a twin whose write error is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from eapu_calibration.commissioning import commission
from eapu_calibration.write_error import LEVELS, WriteErrorTable, measure_write_error

from eapu_hil.bench import Bench
from eapu_hil.bench.forming import form
from eapu_hil.bench.opening import prepare_for_training
from eapu_hil.hal import Cells, CellStatus, HilError

OpenTwin = Callable[..., Bench]


def measured(bench: Bench, relax_time_s: float = 1.0) -> WriteErrorTable:
    array = bench.arrays[0]
    cells = Cells.all(array.shape)
    form(array, cells, bench.recipe)
    return measure_write_error(array, cells, bench.recipe, relax_time_s, np.random.default_rng(0))


def test_levels_span_the_window(open_twin: OpenTwin) -> None:
    table = measured(open_twin())
    assert table.levels_S[[0, -1]] == pytest.approx([1e-6, 40e-6])
    assert table.levels_S.shape == table.sigma_write_S.shape == table.sigma_relax_S.shape == (LEVELS,)
    assert table.cells.sum() > 0.97 * 64 * 48
    assert table.relax_time_s == 1.0


def test_relaxation_is_found(open_twin: OpenTwin) -> None:
    """sd after 1 s: sqrt(5.75) uS at 15 uS, least at the ends, and growing with the time."""
    table = measured(open_twin())
    middle = np.abs(table.levels_S - 15e-6).argmin()
    assert table.sigma_relax_S[middle] == pytest.approx(2.4e-6, rel=0.2)
    assert table.sigma_relax_S[0] < 0.7 * table.sigma_relax_S[middle]
    assert table.mean_relax_S[-3:].mean() == pytest.approx(-0.55e-6, abs=0.3e-6)
    later = measured(open_twin(), 1e4)
    assert later.sigma_relax_S[middle] > 1.3 * table.sigma_relax_S[middle]


def test_the_two_parts_are_kept_apart(open_twin: OpenTwin) -> None:
    """Without relaxation and read noise nothing is left of the second; the first is the band's."""
    quiet = {f"{name}.enabled": False for name in ("relaxation", "read_noise", "rtn")}
    bench = open_twin(**quiet, **{"adc.noise_relative": 0})
    table = measured(bench)
    assert (table.sigma_relax_S == 0).all()
    assert (table.mean_relax_S == 0).all()
    assert (table.sigma_write_S > 0.15 * bench.recipe.band_S).all()
    assert (table.sigma_write_S < 0.75 * bench.recipe.band_S).all()


def test_the_write_error_follows_the_band(open_twin: OpenTwin) -> None:
    errors_S = []
    for band_S in (0.5e-6, 3e-6):
        bench = open_twin()
        array, cells = bench.arrays[0], Cells.all((64, 48))
        form(array, cells, bench.recipe)
        recipe = bench.recipe.model_copy(update={"band_S": band_S})
        table = measure_write_error(array, cells, recipe, 1.0, np.random.default_rng(0))
        errors_S.append(table.sigma_write_S[3:].mean())
    assert errors_S[0] < 0.5 * errors_S[1]


@pytest.mark.parametrize("shape", [(8, 8), (1, 8), (1, 1)])
def test_few_cells_are_written_again_and_again(open_twin: OpenTwin, shape: tuple[int, int]) -> None:
    bench = open_twin(shape)
    form(bench.arrays[0], Cells.all(shape), bench.recipe)
    table = measure_write_error(
        bench.arrays[0], Cells.all(shape), bench.recipe, 1.0, np.random.default_rng(0)
    )
    writes = -(-80 // (shape[0] * shape[1])) * shape[0] * shape[1]
    assert 0.8 * writes < table.cells.sum() <= writes
    assert table.cells.min() >= 4


def test_a_level_that_cells_cannot_reach(open_twin: OpenTwin) -> None:
    """One line that says which level, not a table with holes."""
    bench = open_twin((16, 16), **{"gate.slope_S_per_v": 20e-6})
    form(bench.arrays[0], Cells.all((16, 16)), bench.recipe)
    with pytest.raises(HilError, match=r"level of 3\.\d+e-05 S: only \d+ of \d+ writes"):
        measure_write_error(bench.arrays[0], Cells.all((16, 16)), bench.recipe, 1.0, np.random.default_rng(0))


def test_commissioning_fills_the_passport(open_twin: OpenTwin) -> None:
    bench = open_twin((24, 16), 2, **{"faults.stuck_fraction": 0.1})
    commission(bench.arrays, bench.chip, bench.recipe, seed=0)
    for number in (0, 1):
        bad = bench.chip.bad_cells(number) != CellStatus.OK
        assert bad.mean() == pytest.approx(0.1, abs=0.06)
        g_S = bench.arrays[number].read(Cells.all((24, 16)), 0.2).g_S.reshape(24, 16)
        assert (g_S[~bad] < 45e-6).all()
    assert [entry.kind for entry in bench.chip.history()] == ["forming", "forming", "write_error"]
    sigma_S = bench.chip.write_error().sigma_S([1e-6, 15e-6, 40e-6])
    assert (sigma_S > 0.3e-6).all()
    assert (sigma_S < 5e-6).all()


def test_an_array_that_does_not_work(open_twin: OpenTwin) -> None:
    bench = open_twin((16, 16), **{"faults.stuck_fraction": 0.9})
    with pytest.raises(HilError, match=r"array 0: only \d+ of 256 cells can be written"):
        commission(bench.arrays, bench.chip, bench.recipe, seed=0)


def test_a_chip_is_measured_again_for_what_changes_its_writes_only(open_twin: OpenTwin) -> None:
    """Another voltage of products is none of that; another band is."""
    bench = open_twin()
    prepare_for_training(bench)
    products = bench.recipe.model_copy(update={"v_in_max_v": 0.1})
    prepare_for_training(dataclasses.replace(bench, recipe=products))
    assert len([entry for entry in bench.chip.history() if entry.kind == "write_error"]) == 1
    prepare_for_training(dataclasses.replace(bench, recipe=bench.recipe.model_copy(update={"band_S": 2e-6})))
    assert len([entry for entry in bench.chip.history() if entry.kind == "write_error"]) == 2
