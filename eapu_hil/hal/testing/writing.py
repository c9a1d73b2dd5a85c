"""Reads, pulses and write-verify."""

from __future__ import annotations

import numpy as np
import pytest

from eapu_hil.hal.crossbar import Cells, CellStatus, Crossbar, Polarity, Pulses, Targets
from eapu_hil.hal.testing.under_test import BenchUnderTest, WindowLevels, write


class IdentityContract:
    """The identity and shape that the array reports."""

    def test_identity(self, array: Crossbar) -> None:
        assert isinstance(array, Crossbar)
        assert array.identity.model
        assert array.identity.serial
        assert array.identity.firmware

    def test_shape(self, array: Crossbar) -> None:
        rows, columns = array.shape
        assert rows > 0
        assert columns > 0


class ReadContract:
    """Reads: which cells, in which order, how well they repeat."""

    def test_read_shapes_and_types(self, array: Crossbar, cells: Cells, v_read_v: float) -> None:
        reading = array.read(cells, v_read_v)
        assert reading.g_S.shape == reading.status.shape == (len(cells),)
        assert reading.g_S.dtype == np.float64
        assert reading.status.dtype == np.uint8
        assert np.isfinite(reading.g_S).all()

    def test_two_reads_agree(
        self, array: Crossbar, cells: Cells, levels: WindowLevels, v_read_v: float
    ) -> None:
        write(array, cells, levels.board(cells))
        first_S, second_S = (array.read(cells, v_read_v).g_S for _ in range(2))
        assert np.abs(first_S - second_S).mean() < levels.noise_S / 3
        assert np.abs(first_S - second_S).max() < 2.7 * levels.noise_S

    def test_reads_come_in_the_order_asked(
        self, array: Crossbar, cells: Cells, levels: WindowLevels, v_read_v: float
    ) -> None:
        wanted_S = levels.board(cells)
        write(array, cells, wanted_S)
        shuffled = np.random.default_rng(0).permutation(len(cells))[: max(2, len(cells) // 3)]
        read_S = array.read(cells[shuffled], v_read_v).g_S
        middle_S = levels.at(0.48)
        np.testing.assert_array_equal(read_S > middle_S, wanted_S[shuffled] > middle_S)

    def test_the_sign_of_the_read_voltage_does_not_matter(
        self, array: Crossbar, cells: Cells, levels: WindowLevels, v_read_v: float
    ) -> None:
        write(array, cells, levels.board(cells))
        difference_S = array.read(cells, v_read_v).g_S - array.read(cells, -v_read_v).g_S
        assert np.abs(difference_S).mean() < levels.noise_S / 3

    def test_a_read_of_no_cells(self, array: Crossbar, cells: Cells, v_read_v: float) -> None:
        assert array.read(cells[:0], v_read_v).g_S.shape == (0,)


class ProgramContract:
    """Write-verify."""

    def test_cells_reach_their_targets(
        self, bench: BenchUnderTest, array: Crossbar, cells: Cells, levels: WindowLevels, v_read_v: float
    ) -> None:
        n = len(cells)
        targets_S = levels.random(1, n)
        before_S = array.read(cells, v_read_v).g_S
        outcome = array.program(Targets(cells, targets_S))
        ok = outcome.status == CellStatus.OK
        assert ok.mean() >= 0.97
        assert np.abs(outcome.g_after_S - targets_S)[ok].max() <= bench.recipe.band_S
        assert np.abs(outcome.g_before_S - before_S).mean() < levels.noise_S
        assert np.abs(array.read(cells, v_read_v).g_S - targets_S).mean() < levels.noise_S
        for name, value in vars(outcome).items():
            assert value.shape == (n,), name
        assert outcome.pulses.dtype == outcome.reads.dtype == np.int64
        assert outcome.status.dtype == np.uint8
        assert (outcome.energy_j >= 0).all()
        np.testing.assert_array_equal(outcome.energy_j > 0, outcome.pulses > 0)

    def test_other_cells_stay(
        self, array: Crossbar, cells: Cells, levels: WindowLevels, v_read_v: float
    ) -> None:
        write(array, cells, levels.at(0.23))
        chosen = cells.row < np.median(cells.row)
        write(array, cells[chosen], levels.at(0.74))
        g_S = array.read(cells, v_read_v).g_S
        assert g_S[chosen].mean() == pytest.approx(levels.at(0.74), abs=levels.noise_S)
        assert g_S[~chosen].mean() == pytest.approx(levels.at(0.23), abs=levels.noise_S)

    def test_a_recipe_of_the_request(
        self, bench: BenchUnderTest, array: Crossbar, cells: Cells, levels: WindowLevels
    ) -> None:
        write(array, cells, levels.at(0.23))
        once = bench.recipe.model_copy(update={"pulses_max": 1})
        outcome = array.program(Targets(cells, np.full(len(cells), levels.at(0.87))), once)
        assert (outcome.pulses <= 1).all()
        assert set(np.unique(outcome.status)) <= {CellStatus.OK, CellStatus.NOT_CONVERGED}

    def test_a_target_out_of_reach_is_a_status(
        self, bench: BenchUnderTest, array: Crossbar, cells: Cells, levels: WindowLevels
    ) -> None:
        """Not an exception: the other cells of the request are written all the same."""
        two, recipe = cells[:2], bench.recipe
        write(array, two, levels.at(0.23))
        # The gate limits what SET reaches: a third of the way up the window here.
        low_v = recipe.set.gate_offset_v + recipe.g_max_S * 0.3 / recipe.set.gate_slope_S_per_v
        gate = recipe.set.gate.model_copy(update={"stop_v": low_v})
        weak = recipe.model_copy(update={"set": recipe.set.model_copy(update={"gate": gate})})
        outcome = array.program(Targets(two, np.array([levels.at(0.95), levels.at(0.1)])), weak)
        assert outcome.status[0] in (CellStatus.LIMIT, CellStatus.NOT_CONVERGED)
        assert outcome.status[1] == CellStatus.OK

    def test_a_program_of_no_cells(self, array: Crossbar, cells: Cells) -> None:
        assert array.program(Targets(cells[:0], np.zeros(0))).status.shape == (0,)


class PulseContract:
    """Pulses, each applied exactly once."""

    def test_set_raises_and_reset_lowers(
        self, bench: BenchUnderTest, array: Crossbar, cells: Cells, levels: WindowLevels, v_read_v: float
    ) -> None:
        write(array, cells, levels.at(0.36))
        up, down = bench.recipe.set, bench.recipe.reset
        gate_v = min(up.gate_offset_v + levels.at(0.9) / up.gate_slope_S_per_v, up.gate.stop_v)
        raising = Pulses.same(cells, Polarity.SET, up.amplitude.stop_v, gate_v, up.width_s)
        outcome = array.pulse(raising)
        assert outcome.status.shape == (len(cells),)
        assert outcome.status.dtype == np.uint8
        high_S = array.read(cells, v_read_v).g_S
        assert (high_S > levels.at(0.43)).mean() > 0.97
        array.pulse(
            Pulses.same(cells, Polarity.RESET, 0.88 * down.amplitude.stop_v, down.gate_v, down.width_s)
        )
        assert (array.read(cells, v_read_v).g_S < 0.6 * high_S).mean() > 0.97

    def test_the_count_is_per_cell(self, bench: BenchUnderTest, array: Crossbar, cells: Cells) -> None:
        n = len(cells)
        count = 1 + np.arange(n) % 5
        before = bench.ledger.snapshot()
        gentle = bench.recipe.set
        array.pulse(
            Pulses(
                cells,
                polarity=np.full(n, int(Polarity.SET)),
                amplitude_v=np.full(n, 0.6 * gentle.amplitude.start_v),
                gate_v=np.full(n, gentle.gate.start_v),
                width_s=np.full(n, gentle.width_s),
                count=count,
            )
        )
        spent = bench.ledger.snapshot().pulses - before.pulses
        np.testing.assert_array_equal(spent[0, cells.row, cells.col], count)
