"""What every array does, whatever stands behind it: the one suite for all backends, through the interlock."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from eapu_drivers.simulated.board.linerecord import LineRecord

from eapu_hil.bench import Bench
from eapu_hil.bench.array import BenchArray
from eapu_hil.hal import (
    Cells,
    CellStatus,
    Crossbar,
    Direction,
    FloatArray,
    LimitError,
    Polarity,
    Pulses,
    Targets,
)
from eapu_hil.hal.recipe import Recipe

V_READ_V = 0.2
NOISE_S = 1.5e-6  # what readings of one cell a moment apart may differ by


@pytest.fixture
def array(bench: Bench) -> BenchArray:
    return bench.arrays[0]


@pytest.fixture
def cells() -> Cells:
    return Cells.all((16, 8))


def checkerboard_s(shape: tuple[int, int]) -> FloatArray:
    row, col = np.indices(shape)
    board: FloatArray = np.where((row + col) % 2, 30e-6, 8e-6)
    return board


class TestIdentity:
    def test_it_says_what_it_is(self, array: Crossbar) -> None:
        assert isinstance(array, Crossbar)
        assert array.identity.model
        assert array.identity.serial
        assert array.identity.firmware

    def test_shape_and_limits(self, bench: Bench, array: Crossbar) -> None:
        assert array.shape == (16, 8)
        assert array.limits == bench.config.limits.as_limits()


class TestRead:
    def test_shape_and_types(self, array: Crossbar, cells: Cells) -> None:
        reading = array.read(cells, V_READ_V)
        assert reading.g_s.shape == reading.status.shape == (128,)
        assert (reading.g_s.dtype, reading.status.dtype) == (np.float64, np.uint8)
        assert np.isfinite(reading.g_s).all()

    def test_two_reads_agree(self, array: Crossbar, cells: Cells) -> None:
        array.program(Targets(cells, checkerboard_s(array.shape).ravel()))
        first_s, second_s = (array.read(cells, V_READ_V).g_s for _ in range(2))
        assert np.abs(first_s - second_s).mean() < 0.5e-6
        assert np.abs(first_s - second_s).max() < 4e-6

    def test_in_the_order_asked(self, array: Crossbar, cells: Cells) -> None:
        wanted_s = checkerboard_s(array.shape).ravel()
        array.program(Targets(cells, wanted_s))
        shuffled = np.random.default_rng(0).permutation(128)[:50]
        read_s = array.read(cells[shuffled], V_READ_V).g_s
        np.testing.assert_array_equal(read_s > 20e-6, wanted_s[shuffled] > 20e-6)

    def test_the_sign_of_the_voltage_does_not_matter(self, array: Crossbar, cells: Cells) -> None:
        array.program(Targets(cells, checkerboard_s(array.shape).ravel()))
        difference_s = array.read(cells, V_READ_V).g_s - array.read(cells, -V_READ_V).g_s
        assert np.abs(difference_s).mean() < 0.5e-6

    def test_no_cells(self, array: Crossbar, cells: Cells) -> None:
        assert array.read(cells[:0], V_READ_V).g_s.shape == (0,)


class TestProgram:
    def test_cells_reach_their_targets(self, bench: Bench, array: Crossbar, cells: Cells) -> None:
        targets_s = np.random.default_rng(1).uniform(2e-6, 38e-6, 128)
        before_s = array.read(cells, V_READ_V).g_s
        outcome = array.program(Targets(cells, targets_s))
        ok = outcome.status == CellStatus.OK
        assert ok.mean() >= 0.97
        assert np.abs(outcome.g_after_s - targets_s)[ok].max() <= bench.recipe.band_s
        assert np.abs(outcome.g_before_s - before_s).mean() < NOISE_S
        assert np.abs(array.read(cells, V_READ_V).g_s - targets_s).mean() < NOISE_S
        for name, value in vars(outcome).items():
            assert value.shape == (128,), name
        assert outcome.pulses.dtype == outcome.reads.dtype == np.int64
        assert outcome.status.dtype == np.uint8
        assert (outcome.energy_j >= 0).all()
        np.testing.assert_array_equal(outcome.energy_j > 0, outcome.pulses > 0)

    def test_other_cells_stay(self, array: Crossbar, cells: Cells) -> None:
        array.program(Targets(cells, np.full(128, 10e-6)))
        half = Cells.block(0, 8, 0, 8)
        array.program(Targets(half, np.full(64, 30e-6)))
        g_s = array.read(cells, V_READ_V).g_s.reshape(array.shape)
        assert g_s[:8].mean() == pytest.approx(30e-6, abs=NOISE_S)
        assert g_s[8:].mean() == pytest.approx(10e-6, abs=NOISE_S)

    def test_a_recipe_of_its_own(self, bench: Bench, array: Crossbar, cells: Cells) -> None:
        array.program(Targets(cells, np.full(128, 10e-6)))
        once = bench.recipe.model_copy(update={"pulses_max": 1})
        outcome = array.program(Targets(cells, np.full(128, 35e-6)), once)
        assert (outcome.pulses <= 1).all()
        assert set(np.unique(outcome.status)) <= {CellStatus.OK, CellStatus.NOT_CONVERGED}

    def test_a_target_out_of_reach_is_a_status(self, bench: Bench, array: Crossbar) -> None:
        """Not an exception: the other cells of the request are written all the same."""
        cells = Cells(np.array([0, 1]), np.array([0, 0]))
        array.program(Targets(cells, np.full(2, 10e-6)))
        weak = bench.recipe.model_copy(
            update={
                "set": bench.recipe.set.model_copy(
                    update={"gate": bench.recipe.set.gate.model_copy(update={"stop_v": 1.0})}
                )
            }
        )
        outcome = array.program(Targets(cells, np.array([38e-6, 5e-6])), weak)
        assert outcome.status[0] in (CellStatus.LIMIT, CellStatus.NOT_CONVERGED)
        assert outcome.status[1] == CellStatus.OK

    def test_no_cells(self, array: Crossbar, cells: Cells) -> None:
        assert array.program(Targets(cells[:0], np.zeros(0))).status.shape == (0,)


class TestPulse:
    def test_set_raises_and_reset_lowers(self, bench: Bench, array: Crossbar, cells: Cells) -> None:
        array.program(Targets(cells, np.full(128, 15e-6)))
        outcome = array.pulse(Pulses.same(cells, Polarity.SET, 2.5, 1.6, bench.recipe.set.width_s))
        assert outcome.status.shape == (128,)
        assert outcome.status.dtype == np.uint8
        high_s = array.read(cells, V_READ_V).g_s
        assert (high_s > 18e-6).mean() > 0.97
        array.pulse(Pulses.same(cells, Polarity.RESET, 2.2, 4.0, bench.recipe.set.width_s))
        assert (array.read(cells, V_READ_V).g_s < 0.6 * high_s).mean() > 0.97

    def test_count_is_per_cell(self, bench: Bench, array: Crossbar, cells: Cells) -> None:
        count = 1 + np.arange(128) % 5
        before = bench.ledger.snapshot()
        array.pulse(
            Pulses(
                cells,
                polarity=np.full(128, int(Polarity.SET)),
                amplitude_v=np.full(128, 1.2),
                gate_v=np.full(128, 1.0),
                width_s=np.full(128, bench.recipe.set.width_s),
                count=count,
            )
        )
        spent = bench.ledger.snapshot() - before
        np.testing.assert_array_equal(spent.pulses[0].ravel(), count)


class TestExactlyOnce:
    def test_what_the_host_counts_is_what_the_lines_saw(
        self, bench: Bench, array: Crossbar, cells: Cells
    ) -> None:
        if bench.config.backend != "controller":
            pytest.skip("only a controller has a front end that counts by itself")
        directory = bench.chip.directory
        before = LineRecord.read(directory).pulses
        targets_s = np.random.default_rng(4).uniform(2e-6, 38e-6, 128)
        asked = int(array.program(Targets(cells, targets_s)).pulses.sum())
        assert LineRecord.read(directory).pulses - before == asked > 128
        array.pulse(Pulses.same(cells, Polarity.SET, 1.2, 1.0, bench.recipe.set.width_s, count=3))
        assert LineRecord.read(directory).pulses - before == asked + 3 * 128


class TestProducts:
    @pytest.mark.parametrize("direction", list(Direction))
    def test_they_are_those_of_the_conductances_read(
        self, array: Crossbar, cells: Cells, direction: Direction
    ) -> None:
        array.program(Targets(cells, np.random.default_rng(2).uniform(2e-6, 38e-6, 128)))
        g_s = array.read(cells, V_READ_V).g_s.reshape(array.shape)
        g_s = g_s if direction is Direction.FORWARD else g_s.T
        v_v = np.random.default_rng(3).uniform(-V_READ_V, V_READ_V, (20, g_s.shape[0]))
        currents_a = array.vmm(v_v, direction)
        assert currents_a.shape == (20, g_s.shape[1])
        assert currents_a.dtype == np.float64
        expected_a = v_v @ g_s
        assert np.abs(currents_a - expected_a).max() < 0.1 * np.abs(expected_a).max()
        assert np.corrcoef(currents_a.ravel(), expected_a.ravel())[0, 1] > 0.998

    def test_they_are_linear(self, array: Crossbar, cells: Cells) -> None:
        array.program(Targets(cells, checkerboard_s(array.shape).ravel()))
        v_v = np.random.default_rng(3).uniform(-0.1, 0.1, (30, 16))
        once_a, twice_a = array.vmm(v_v, Direction.FORWARD), array.vmm(-2 * v_v, Direction.FORWARD)
        assert np.abs(twice_a + 2 * once_a).max() < 0.03 * np.abs(twice_a).max()

    @pytest.mark.parametrize("direction", list(Direction))
    def test_chosen_lines(self, array: Crossbar, cells: Cells, direction: Direction) -> None:
        array.program(Targets(cells, checkerboard_s(array.shape).ravel()))
        lines_in, lines_out = np.array([5, 0, 3]), np.array([6, 1])
        count = array.shape[0] if direction is Direction.FORWARD else array.shape[1]
        v_v = np.full((4, 3), V_READ_V)
        some_a = array.vmm(v_v, direction, lines_in, lines_out)
        padded_v = np.zeros((4, count))
        padded_v[:, lines_in] = v_v
        assert some_a.shape == (4, 2)
        every_a = array.vmm(padded_v, direction)[:, lines_out]
        np.testing.assert_allclose(some_a, every_a, rtol=0.06)

    def test_single_precision_and_empty_batches(self, array: Crossbar) -> None:
        v_v = np.full((3, 16), 0.1, np.float32)
        assert array.vmm(v_v, Direction.FORWARD).dtype == np.float64
        assert array.vmm(v_v[:0], Direction.FORWARD).shape == (0, 8)

    def test_no_voltage_no_current(self, array: Crossbar, cells: Cells) -> None:
        array.program(Targets(cells, np.full(128, 30e-6)))
        currents_a = array.vmm(np.zeros((50, 16)), Direction.FORWARD)
        assert np.abs(currents_a.mean(axis=0)).max() < 0.01 * 16 * 30e-6 * V_READ_V


def requests(recipe: Recipe) -> dict[str, Callable[[Crossbar], object]]:
    """Requests beyond the limits, by what is wrong with them."""
    inside, outside = Cells.block(0, 2, 0, 2), Cells(np.array([16]), np.array([0]))
    twice = Cells(np.array([3, 3]), np.array([1, 1]))
    too_strong = recipe.model_copy(
        update={
            "reset": recipe.reset.model_copy(
                update={"amplitude": recipe.reset.amplitude.model_copy(update={"stop_v": 3.6})}
            )
        }
    )
    set_, width_s = Polarity.SET, recipe.set.width_s
    return {
        "pulse amplitude": lambda a: a.pulse(Pulses.same(inside, set_, 3.6, 1.0, width_s)),
        "pulse gate": lambda a: a.pulse(Pulses.same(inside, set_, 2.0, 5.1, width_s)),
        "pulse width": lambda a: a.pulse(Pulses.same(inside, set_, 2.0, 1.0, 2 * a.limits.width_max_s)),
        "pulse count": lambda a: a.pulse(Pulses.same(inside, set_, 2.0, 1.0, width_s, count=101)),
        "pulse outside": lambda a: a.pulse(Pulses.same(outside, set_, 2.0, 1.0, width_s)),
        "pulse twice": lambda a: a.pulse(Pulses.same(twice, set_, 2.0, 1.0, width_s)),
        "pulse not a number": lambda a: a.pulse(Pulses.same(inside, set_, np.nan, 1.0, width_s)),
        "read voltage": lambda a: a.read(inside, 0.3),
        "read outside": lambda a: a.read(outside, V_READ_V),
        "product voltage": lambda a: a.vmm(np.full((1, 16), 0.3), Direction.FORWARD),
        "product shape": lambda a: a.vmm(np.zeros((1, 8)), Direction.FORWARD),
        "product line": lambda a: a.vmm(np.zeros((1, 1)), Direction.FORWARD, np.array([16])),
        "program recipe": lambda a: a.program(Targets(inside, np.full(4, 2e-5)), too_strong),
        "program target": lambda a: a.program(Targets(inside, np.full(4, -1e-6))),
        "program outside": lambda a: a.program(Targets(outside, np.array([2e-5]))),
        "wait": lambda a: a.wait(-1.0),
    }


NAMES = [
    *(
        f"pulse {what}"
        for what in ("amplitude", "gate", "width", "count", "outside", "twice", "not a number")
    ),
    *("read voltage", "read outside", "product voltage", "product shape", "product line"),
    *("program recipe", "program target", "program outside", "wait"),
]


class TestLimits:
    @pytest.mark.parametrize("name", NAMES)
    def test_what_is_refused_changes_nothing(
        self, bench: Bench, array: Crossbar, cells: Cells, name: str
    ) -> None:
        array.program(Targets(cells, checkerboard_s(array.shape).ravel()))
        before_s, clock_s = array.read(cells, V_READ_V).g_s, array.clock_s()
        spent = bench.ledger.snapshot()
        with pytest.raises(LimitError) as caught:
            requests(bench.recipe)[name](array)
        assert "\n" not in str(caught.value)
        assert array.clock_s() == clock_s
        more = bench.ledger.snapshot() - spent
        assert more.pulses.sum() == more.verify_reads.sum() == more.vmm_vectors == 0
        assert np.abs(array.read(cells, V_READ_V).g_s - before_s).mean() < 0.5e-6

    def test_every_request_of_the_list_is_tried(self, bench: Bench) -> None:
        assert set(NAMES) == set(requests(bench.recipe))

    def test_the_limits_themselves_are_allowed(self, array: Crossbar) -> None:
        cells = Cells.block(0, 1, 0, 1)
        array.read(cells, 0.25)
        array.vmm(np.full((1, 16), -0.25), Direction.FORWARD)
        array.pulse(Pulses.same(cells, Polarity.RESET, 3.5, 5.0, array.limits.width_max_s, count=1))


class TestGround:
    def test_at_any_time(self, array: BenchArray, cells: Cells) -> None:
        array.ground()
        array.ground()
        with pytest.raises(LimitError):
            array.read(cells, 10.0)
        array.ground()
        assert array.read(cells, V_READ_V).g_s.shape == (128,)

    def test_after_closing_it_is_all_that_is_allowed(self, own_bench: Bench, cells: Cells) -> None:
        [array] = own_bench.arrays
        array.close()
        array.ground()
        acts: list[Callable[[], object]] = [
            lambda: array.read(cells, V_READ_V),
            lambda: array.vmm(np.zeros((1, 16)), Direction.FORWARD),
            lambda: array.pulse(Pulses.same(cells, Polarity.SET, 1.0, 1.0, own_bench.recipe.set.width_s)),
            lambda: array.program(Targets(cells, np.full(128, 1e-5))),
            lambda: array.wait(0.1),
            array.clock_s,
        ]
        for act in acts:
            with pytest.raises(LimitError, match="closed"):
                act()
        array.ground()

    def test_it_keeps_what_is_stored(self, array: Crossbar, cells: Cells) -> None:
        array.program(Targets(cells, checkerboard_s(array.shape).ravel()))
        before_s = array.read(cells, V_READ_V).g_s
        array.ground()
        assert np.abs(array.read(cells, V_READ_V).g_s - before_s).mean() < 0.5e-6


class TestTime:
    def test_the_clock_never_goes_back(self, bench: Bench, array: Crossbar, cells: Cells) -> None:
        times_s = [array.clock_s()]
        for act in (
            lambda: array.read(cells, V_READ_V),
            lambda: array.vmm(np.full((5, 16), 0.1), Direction.FORWARD),
            lambda: array.pulse(Pulses.same(cells, Polarity.SET, 1.0, 1.0, bench.recipe.set.width_s)),
            lambda: array.program(Targets(cells, np.full(128, 1e-5))),
        ):
            act()
            times_s.append(array.clock_s())
        assert (np.diff(times_s) > 0).all()
        array.ground()
        assert array.clock_s() >= times_s[-1]

    def test_wait(self, array: Crossbar) -> None:
        start_s = array.clock_s()
        array.wait(0.05)
        assert array.clock_s() - start_s >= 0.05 - 1e-9  # a controller's clock counts in ns
        array.wait(0.0)
