"""Grounding, and the clock of the bench."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from eapu_hil.base.errors import LimitError
from eapu_hil.hal.crossbar import Cells, Crossbar, Direction, Polarity, Pulses, Targets
from eapu_hil.hal.testing.under_test import BenchUnderTest, WindowLevels, write


class GroundContract:
    """Grounding is always allowed and keeps what is stored."""

    def test_ground_at_any_time(self, array: Crossbar, cells: Cells, v_read_v: float) -> None:
        array.ground()
        array.ground()
        with pytest.raises(LimitError):
            array.read(cells, 2 * array.limits.v_max_v)
        array.ground()
        assert array.read(cells, v_read_v).g_S.shape == (len(cells),)

    def test_ground_keeps_what_is_stored(
        self, array: Crossbar, cells: Cells, levels: WindowLevels, v_read_v: float
    ) -> None:
        write(array, cells, levels.board(cells))
        before_S = array.read(cells, v_read_v).g_S
        array.ground()
        assert np.abs(array.read(cells, v_read_v).g_S - before_S).mean() < levels.noise_S / 3


class TimeContract:
    """The clock moves forward only, also between two requests if it is a real one."""

    def test_the_clock_never_goes_back(
        self, bench: BenchUnderTest, array: Crossbar, cells: Cells, levels: WindowLevels, v_read_v: float
    ) -> None:
        gentle = bench.recipe.set
        pulses = Pulses.same(
            cells, Polarity.SET, 0.5 * gentle.amplitude.start_v, gentle.gate.start_v, gentle.width_s
        )
        acts: list[Callable[[], object]] = [
            lambda: array.read(cells, v_read_v),
            lambda: array.vmm(np.full((5, array.shape[0]), v_read_v / 2), Direction.FORWARD),
            lambda: array.pulse(pulses),
            lambda: array.program(Targets(cells, np.full(len(cells), levels.at(0.23)))),
        ]
        times_s = [array.clock_s()]
        for act in acts:
            act()
            times_s.append(array.clock_s())
        # A real clock may be too coarse to tell two requests apart.
        assert (np.diff(times_s) >= 0).all()
        assert times_s[-1] > times_s[0]
        array.ground()
        assert array.clock_s() >= times_s[-1]

    def test_wait(self, array: Crossbar) -> None:
        start_s = array.clock_s()
        array.wait(0.05)
        assert array.clock_s() - start_s >= 0.05 - 1e-9  # a controller's clock counts in ns
        array.wait(0.0)
