"""Products, against the conductances that reads give."""

from __future__ import annotations

import numpy as np
import pytest

from eapu_hil.hal.crossbar import Cells, Crossbar, Direction
from eapu_hil.hal.testing.under_test import WindowLevels, write


def _driven(array: Crossbar, direction: Direction) -> int:
    return array.shape[0] if direction is Direction.FORWARD else array.shape[1]


class ProductContract:
    """Products over the whole array; every cell takes part, also one that `cells` leaves out."""

    @pytest.mark.parametrize("direction", list(Direction))
    def test_they_are_those_of_the_conductances_read(
        self, array: Crossbar, cells: Cells, levels: WindowLevels, v_read_v: float, direction: Direction
    ) -> None:
        write(array, cells, levels.random(2, len(cells)))
        g_S = array.read(Cells.all(array.shape), v_read_v).g_S.reshape(array.shape)
        g_S = g_S if direction is Direction.FORWARD else g_S.T
        v_v = np.random.default_rng(3).uniform(-v_read_v, v_read_v, (20, g_S.shape[0]))
        currents_a = array.vmm(v_v, direction)
        assert currents_a.shape == (20, g_S.shape[1])
        assert currents_a.dtype == np.float64
        expected_a = v_v @ g_S
        assert np.abs(currents_a - expected_a).max() < 0.1 * np.abs(expected_a).max()
        assert np.corrcoef(currents_a.ravel(), expected_a.ravel())[0, 1] > 0.998

    def test_they_are_linear(
        self, array: Crossbar, cells: Cells, levels: WindowLevels, v_read_v: float
    ) -> None:
        write(array, cells, levels.board(cells))
        v_v = np.random.default_rng(3).uniform(-v_read_v / 2, v_read_v / 2, (30, array.shape[0]))
        once_a, twice_a = array.vmm(v_v, Direction.FORWARD), array.vmm(-2 * v_v, Direction.FORWARD)
        assert np.abs(twice_a + 2 * once_a).max() < 0.03 * np.abs(twice_a).max()

    @pytest.mark.parametrize("direction", list(Direction))
    def test_chosen_lines(
        self, array: Crossbar, cells: Cells, levels: WindowLevels, v_read_v: float, direction: Direction
    ) -> None:
        """Only the lines that are named are driven and measured, in the order they are named in."""
        write(array, cells, levels.board(cells))
        count, measured = _driven(array, direction), sum(array.shape) - _driven(array, direction)
        lines_in = np.array([count // 3, 0, count // 5])
        lines_out = np.array([measured - 1 - measured // 7, min(1, measured - 1)])
        lines_in = lines_in[np.sort(np.unique(lines_in, return_index=True)[1])]
        v_v = np.full((4, lines_in.size), v_read_v)
        some_a = array.vmm(v_v, direction, lines_in, lines_out)
        padded_v = np.zeros((4, count))
        padded_v[:, lines_in] = v_v
        assert some_a.shape == (4, 2)
        every_a = array.vmm(padded_v, direction)[:, lines_out]
        np.testing.assert_allclose(some_a, every_a, rtol=0.06)

    def test_single_precision_and_empty_batches(self, array: Crossbar, v_read_v: float) -> None:
        rows, columns = array.shape
        v_v = np.full((3, rows), v_read_v / 2, np.float32)
        assert array.vmm(v_v, Direction.FORWARD).dtype in (np.float32, np.float64)
        assert array.vmm(v_v[:0], Direction.FORWARD).shape == (0, columns)

    def test_no_voltage_no_current(
        self, array: Crossbar, cells: Cells, levels: WindowLevels, v_read_v: float
    ) -> None:
        g_S = levels.at(0.74)
        write(array, cells, g_S)
        rows = array.shape[0]
        currents_a = array.vmm(np.zeros((50, rows)), Direction.FORWARD)
        assert np.abs(currents_a.mean(axis=0)).max() < 0.01 * rows * g_S * v_read_v
