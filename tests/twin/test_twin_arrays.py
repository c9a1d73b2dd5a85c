"""Requests over several arrays of a twin: what each array gets is what it would get alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from eapu_hil.base.threads import one_thread_a_product
from eapu_hil.bench import Bench
from eapu_hil.hal import Cells, CellStatus, Direction, ProductRequest, Targets, UnsupportedError
from eapu_hil.twin.kernels.rounds import write_rounds

OpenTwin = Callable[..., Bench]
SHAPE = (8, 4)
ON = np.array([2, 0, 0, 2, 1, 2])
CELLS = Cells([0, 0, 7, 3, 5, 0], [1, 1, 3, 2, 0, 3])  # type: ignore[arg-type]  # copied to arrays
G_S = np.array([12e-6, 20e-6, 28e-6, 35e-6, 15e-6, 9e-6])


@pytest.fixture
def bench(open_twin: OpenTwin) -> Bench:
    return open_twin("ideal", arrays=3, shape=list(SHAPE))


def _alone(bench: Bench) -> np.ndarray:
    """The cells as each array reads them by itself."""
    return np.array(
        [bench.arrays[n].read(CELLS[[i]], 0.2).g_S[0] for i, n in enumerate(ON.tolist())]  # type: ignore[index]
    )


def test_cells_of_several_arrays_are_written_and_read_side_by_side(bench: Bench) -> None:
    before = bench.ledger.snapshot().pulses
    outcome = bench.arrays.program_cells(ON, Targets(CELLS, G_S), bench.recipe)
    assert (outcome.status == CellStatus.OK).all()
    np.testing.assert_allclose(outcome.g_after_S, G_S, atol=bench.recipe.band_S)
    np.testing.assert_array_equal(bench.arrays.read_cells(ON, CELLS, 0.2).g_S, _alone(bench))
    np.testing.assert_allclose(_alone(bench), outcome.g_after_S, atol=1e-9)
    # Each pulse is counted for the array that it went to, and no other cell was touched.
    counted = bench.ledger.snapshot().pulses - before
    np.testing.assert_array_equal(counted[ON, CELLS.row, CELLS.col], outcome.pulses)
    assert counted.sum() == outcome.pulses.sum()


def test_cells_that_are_open_when_the_time_is_over_have_not_converged(bench: Bench) -> None:
    hurried = bench.recipe.model_copy(update={"time_max_s": 1e-9})
    began_s = bench.arrays[0].clock_s()
    outcome = bench.arrays.program_cells(ON, Targets(CELLS, G_S), hurried)
    assert (outcome.status == CellStatus.NOT_CONVERGED).all()
    assert (outcome.pulses <= 1).all()
    assert bench.arrays[0].clock_s() > began_s


def test_products_of_several_arrays_are_those_of_each(bench: Bench) -> None:
    bench.arrays.program_cells(ON, Targets(CELLS, G_S), bench.recipe)
    v_v = np.linspace(-0.2, 0.2, 24, dtype=np.float32).reshape(3, 8)
    columns = np.array([3, 1])
    lines = np.array([[columns, columns]])
    [found] = bench.arrays.products(
        [ProductRequest(np.array([[2, 0]]), v_v[None], Direction.FORWARD, None, lines)]
    )
    for number, current_a in zip((2, 0), found[0], strict=True):
        alone_a = bench.arrays[number].vmm(v_v, Direction.FORWARD, None, columns)
        np.testing.assert_allclose(current_a, alone_a, rtol=1e-5, atol=1e-12)
    assert np.abs(found[0, 0] - found[0, 1]).max() > 1e-7


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_currents_have_the_precision_of_their_voltages(open_twin: OpenTwin, kind: type) -> None:
    bench = open_twin("rram_180nm", arrays=1, shape=list(SHAPE))
    assert bench.arrays[0].vmm(np.full((2, 8), 0.1, kind), Direction.FORWARD).dtype == kind


def test_products_do_not_depend_on_the_number_of_threads(
    open_twin: OpenTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    v_v = np.random.default_rng(1).uniform(-0.2, 0.2, (5000, 8)).astype(np.float32)
    found = []
    for threads in (1, 2, 3):
        monkeypatch.setattr("eapu_hil.base.threads.allowed_threads", lambda threads=threads: threads)
        bench = open_twin("rram_180nm", shape=SHAPE, seed=7)
        with one_thread_a_product():
            found.append(bench.arrays[0].vmm(v_v, Direction.FORWARD))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_voltages_beyond_the_input_converters_are_refused_before_any_product(open_twin: OpenTwin) -> None:
    bench = open_twin("rram_180nm", arrays=2, shape=list(SHAPE), **{"dac.v_full_scale_v": 0.3})
    good, bad = np.full((2, 8), 0.1), np.full((2, 8), 0.4)
    clock_s = bench.arrays[0].clock_s()
    with pytest.raises(UnsupportedError, match="input converter"):
        bench.arrays.products(
            [
                ProductRequest(np.array([[number]]), v_v[None], Direction.FORWARD)
                for number, v_v in ((0, good), (1, bad))
            ]
        )
    assert bench.arrays[0].clock_s() == clock_s
    assert all(array.interlock.is_grounded for array in bench.arrays)


def test_requests_of_several_threads_do_not_disturb_each_other(open_twin: OpenTwin) -> None:
    """The compiled part keeps its scratch between requests: one kernel at a time."""
    bench = open_twin("ideal", arrays=2, shape=[64, 32])
    cells = Cells.all((64, 32))
    expected_S = [array.read(cells, 0.2).g_S for array in bench.arrays]
    wrong: list[int] = []

    def read(number: int) -> None:
        for _ in range(60):
            if not np.array_equal(bench.arrays[number].read(cells, 0.2).g_S, expected_S[number]):
                wrong.append(number)

    threads = [threading.Thread(target=read, args=(number,)) for number in (0, 1, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_request_of_another_thread_may_come_into_a_write(
    open_twin: OpenTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = open_twin("ideal", arrays=2, shape=list(SHAPE))

    def meanwhile(*request: Any) -> tuple[int, float]:
        found = write_rounds(*request)
        other = threading.Thread(target=bench.arrays[1].wait, args=(100.0,))
        other.start()
        other.join()
        return found

    monkeypatch.setattr("eapu_hil.twin.chip.write_rounds", meanwhile)
    before = bench.ledger.snapshot().pulses
    patient = bench.recipe.model_copy(update={"time_max_s": 1e6})
    outcome = bench.arrays[0].program(Targets(CELLS[[0, 2]], G_S[[0, 2]]), patient)  # type: ignore[index]
    assert (outcome.status == CellStatus.OK).all()
    assert bench.arrays[0].clock_s() > 100.0
    assert (bench.ledger.snapshot().pulses - before).sum() == outcome.pulses.sum()
