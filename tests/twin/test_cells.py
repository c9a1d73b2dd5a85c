"""Physics of the cells: what a pulse does to them, and what wears them out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from eapu_hil.hal import FloatArray, Polarity
from eapu_hil.twin.cells import CellArray
from eapu_hil.twin.kernels.noise import Noise, seeded

MakeCells = Callable[..., CellArray]
STUCK_S = [150e-6, 0.3e-6]
STUCK_LOW = {"faults.g_stuck_low_S": 0.3e-6}  # below what a full RESET reaches
FRESH = {"forming.enabled": True, "forming.v_form_sd_v": 0.0}
SHORT_LIVED = {"endurance.enabled": True, "endurance.cycles": 20.0, **STUCK_LOW}
GATE_OPEN_V = 4.0
WIDTH_s = 1e-7
STRONG_V = 2.5


def pulse(
    cells: CellArray,
    polarity: Polarity,
    amplitude_v: float,
    gate_v: float = GATE_OPEN_V,
    noise: Noise | None = None,
    now_s: float = 0.0,
) -> FloatArray:
    """The same pulse to every cell; returns the peak currents."""
    n = cells.g_S.size
    return cells.pulse(
        np.arange(n),
        np.full(n, int(polarity)),
        np.full(n, amplitude_v),
        np.full(n, gate_v),
        np.full(n, WIDTH_s),
        now_s,
        noise or seeded([1]),
    )


def at(cells: CellArray, g_S: float) -> CellArray:
    cells.g_S[:] = g_S
    return cells


class TestForming:
    def test_fresh_cells_ignore_set_and_reset(self, make_cells: MakeCells) -> None:
        cells = make_cells(overrides=FRESH)
        fresh_S = cells.g_S.copy()
        assert fresh_S.max() < 2e-6
        assert np.unique(fresh_S).size == fresh_S.size  # each cell its own
        pulse(cells, Polarity.SET, STRONG_V)
        pulse(cells, Polarity.RESET, STRONG_V)
        np.testing.assert_array_equal(cells.g_S, fresh_S)

    def test_below_its_voltage_nothing_happens_above_it_forms(self, make_cells: MakeCells) -> None:
        cells = make_cells(overrides=FRESH)
        fresh_S = cells.g_S.copy()
        pulse(cells, Polarity.FORM, 2.79, 1.4)
        np.testing.assert_array_equal(cells.g_S, fresh_S)
        pulse(cells, Polarity.FORM, 2.81, 1.4)
        assert (cells.g_S > 10e-6).mean() > 0.98  # the gate of 1.4 V lets 28 uS through, with some spread
        pulse(cells, Polarity.RESET, STRONG_V)  # and from now on RESET works
        assert (cells.g_S < 2e-6).all()

    def test_the_forming_voltage_differs_from_cell_to_cell(self, make_cells: MakeCells) -> None:
        cells = make_cells(overrides={"forming.enabled": True})
        shares = []
        for amplitude_v in (2.6, 2.8, 3.0):
            pulse(cells, Polarity.FORM, amplitude_v, 1.4)
            shares.append((cells.g_S > 5e-6).mean())
        assert shares == pytest.approx([0.09, 0.5, 0.91], abs=0.08)

    def test_without_a_gate_no_cell_forms(self, make_cells: MakeCells) -> None:
        cells = make_cells(overrides=FRESH)
        fresh_S = cells.g_S.copy()
        pulse(cells, Polarity.FORM, 3.4, 0.0)
        np.testing.assert_array_equal(cells.g_S, fresh_S)

    def test_off_by_name_cells_are_formed_from_the_start(self, make_cells: MakeCells) -> None:
        cells = make_cells()
        pulse(cells, Polarity.SET, STRONG_V, 1.2)
        assert cells.g_S == pytest.approx(20e-6, rel=0.01)


class TestSet:
    def test_the_gate_limits_the_conductance_reached(self, make_cells: MakeCells) -> None:
        cells = make_cells(4)
        for gate_v, reach_S in ((0.8, 4e-6), (1.2, 20e-6), (1.7, 40e-6)):
            for _ in range(3):
                pulse(cells, Polarity.SET, STRONG_V, gate_v)
            assert cells.g_S == pytest.approx(reach_S, rel=1e-6)

    def test_a_lower_gate_never_lowers_the_conductance(self, make_cells: MakeCells) -> None:
        noisy = {"write_noise.enabled": True}
        cells = at(make_cells(overrides=noisy), 30e-6)
        pulse(cells, Polarity.SET, STRONG_V, 1.0)
        assert (cells.g_S == 30e-6).all()

    def test_the_step_depends_on_amplitude_and_state(self, make_cells: MakeCells) -> None:
        steps = {}
        for amplitude_v in (1.2, 1.5, 1.8):
            for start_S in (2e-6, 20e-6):
                cells = at(make_cells(1), start_S)
                pulse(cells, Polarity.SET, amplitude_v, 1.7)
                steps[amplitude_v, start_S] = cells.g_S[0] - start_S
        assert steps[1.2, 2e-6] < 0.1 * steps[1.8, 2e-6]
        assert steps[1.2, 2e-6] < steps[1.5, 2e-6] < steps[1.8, 2e-6]
        for amplitude_v in (1.2, 1.5, 1.8):  # the step is a share of what is left to the limit of 40 uS
            ratio = steps[amplitude_v, 2e-6] / steps[amplitude_v, 20e-6]
            assert ratio == pytest.approx(38 / 20, rel=1e-6)


class TestReset:
    def test_the_step_grows_with_the_amplitude(self, make_cells: MakeCells) -> None:
        after_S = []
        for amplitude_v in (1.0, 1.3, 1.6, 2.2):
            cells = at(make_cells(1), 30e-6)
            pulse(cells, Polarity.RESET, amplitude_v)
            after_S.append(float(cells.g_S[0]))
        assert 29e-6 < after_S[0] < 30e-6
        assert after_S[0] > after_S[1] > after_S[2] > after_S[3]
        assert after_S[3] < 1e-6

    def test_the_step_depends_on_the_state(self, make_cells: MakeCells) -> None:
        steps = []
        for start_S in (5e-6, 20e-6):
            cells = at(make_cells(1), start_S)
            pulse(cells, Polarity.RESET, 1.4)
            steps.append(start_S - cells.g_S[0])
        assert steps[1] / steps[0] == pytest.approx(19.5 / 4.5, rel=1e-6)

    def test_without_a_gate_nothing_moves_and_no_current_flows(self, make_cells: MakeCells) -> None:
        cells = at(make_cells(4), 30e-6)
        assert (pulse(cells, Polarity.RESET, STRONG_V, gate_v=0.0) == 0.0).all()
        assert (cells.g_S == 30e-6).all()

    def test_peak_current(self, make_cells: MakeCells) -> None:
        cells = at(make_cells(4), 30e-6)
        assert pulse(cells, Polarity.RESET, 2.0) == pytest.approx(60e-6)


class TestSpread:
    @staticmethod
    def reached(cells: CellArray, gate_v: float, noise: Noise) -> FloatArray:
        at(cells, 1e-6)
        pulse(cells, Polarity.SET, STRONG_V, gate_v, noise)
        return cells.g_S.copy()

    def test_cycle_to_cycle(self, make_cells: MakeCells) -> None:
        noise = seeded([2])
        quiet, noisy = make_cells(2000), make_cells(2000, {"write_noise.enabled": True})
        assert np.ptp(self.reached(quiet, 1.2, noise)) == 0.0
        first, second = self.reached(noisy, 1.2, noise), self.reached(noisy, 1.2, noise)
        expected_S = np.hypot(0.6e-6, 0.06 * 19e-6)
        assert first.std() == pytest.approx(expected_S, rel=0.1)
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.1
        assert first.mean() == pytest.approx(20e-6, rel=0.01)

    def test_reset_is_noisier_than_set(self, make_cells: MakeCells) -> None:
        cells = at(make_cells(2000, {"write_noise.enabled": True}), 30e-6)
        pulse(cells, Polarity.RESET, 1.5)
        change_S = 30e-6 - cells.g_S
        assert change_S.std() / change_S.mean() == pytest.approx(0.25, rel=0.15)

    def test_device_to_device(self, make_cells: MakeCells) -> None:
        noise = seeded([2])
        cells = make_cells(2000, {"variation.enabled": True})
        first, second = self.reached(cells, 1.2, noise), self.reached(cells, 1.2, noise)
        np.testing.assert_array_equal(first, second)  # a cell is always the same cell
        expected_S = np.hypot(0.05 * 20e-6, 0.03 * 40e-6)
        assert first.std() == pytest.approx(expected_S, rel=0.1)

    def test_the_seed_makes_the_devices(self, make_cells: MakeCells) -> None:
        noise = seeded([2])
        reached = [
            self.reached(make_cells(50, {"variation.enabled": True}, seed=seed), 1.2, noise)
            for seed in (3, 3, 4)
        ]
        np.testing.assert_array_equal(reached[0], reached[1])
        assert (reached[0] != reached[2]).all()


class TestStuckCells:
    def test_they_never_move(self, make_cells: MakeCells) -> None:
        faulty: dict[str, Any] = {
            **STUCK_LOW,
            "faults.stuck_fraction": 0.2,
            "write_noise.enabled": True,
            "relaxation.enabled": True,
            "forming.enabled": True,
            "forming.v_form_sd_v": 0.0,
        }
        cells = make_cells(2000, faulty)
        noise = seeded([3])
        start_S = cells.g_S.copy()
        for step, (polarity, gate_v) in enumerate(
            [(Polarity.FORM, 1.4), (Polarity.SET, 1.7), (Polarity.RESET, 4.0), (Polarity.SET, 1.2)]
        ):
            pulse(cells, polarity, 3.4, gate_v, noise, now_s=float(step))
            cells.relax(step + 0.5, np.random.default_rng(step), exactly=True)
        still = cells.g_S == start_S
        assert still.mean() == pytest.approx(0.2, abs=0.03)
        assert set(np.unique(cells.g_S[still])) == set(STUCK_S)
        assert (cells.g_S[still] > 100e-6).mean() == pytest.approx(0.5, abs=0.1)

    def test_off_by_name(self, make_cells: MakeCells) -> None:
        cells = make_cells(2000)
        pulse(cells, Polarity.SET, STRONG_V, 1.2)
        assert cells.g_S == pytest.approx(20e-6, rel=0.01)


class TestEndurance:
    @staticmethod
    def cycle(cells: CellArray, times: int, start: int = 0) -> None:
        for number in range(start, start + times):
            pulse(cells, Polarity.SET, STRONG_V, 1.7, now_s=float(number))
            pulse(cells, Polarity.RESET, STRONG_V, now_s=float(number))

    def test_cells_finally_die_and_stay_dead(self, make_cells: MakeCells) -> None:
        cells = make_cells(400, {**SHORT_LIVED, "relaxation.enabled": True})
        self.cycle(cells, 1)
        assert not np.isin(cells.g_S, STUCK_S).any()
        self.cycle(cells, 60, start=1)
        dead_S = cells.g_S.copy()
        assert np.isin(dead_S, STUCK_S).all()
        assert (dead_S > 100e-6).mean() == pytest.approx(0.5, abs=0.1)
        cells.relax(1e5, np.random.default_rng(4), exactly=True)  # nor does a dead cell relax
        self.cycle(cells, 2, start=200_000)
        np.testing.assert_array_equal(cells.g_S, dead_S)

    def test_lives_spread_over_the_cells(self, make_cells: MakeCells) -> None:
        cells = make_cells(400, SHORT_LIVED)
        alive = []
        for _ in range(20):
            self.cycle(cells, 1)
            alive.append((~np.isin(cells.g_S, STUCK_S)).mean())
        assert alive[2] > 0.95
        assert 0.1 < alive[9] < 0.9  # each of the two pulses of a cycle wears: half the cells see 10 cycles

    def test_weak_steps_wear_less(self, make_cells: MakeCells) -> None:
        strong, weak = make_cells(200, SHORT_LIVED), make_cells(200, SHORT_LIVED)
        weak.g_S[:] = 10e-6
        for _ in range(150):  # steps of 2 uS, fifteen times as many
            pulse(weak, Polarity.SET, STRONG_V, 0.7 + 12e-6 / 40e-6)
            weak.g_S[:] = 10e-6
        self.cycle(strong, 10)
        assert np.isin(strong.g_S, STUCK_S).mean() > 0.3
        assert not np.isin(weak.g_S, STUCK_S).any()

    def test_off_by_name(self, make_cells: MakeCells) -> None:
        cells = make_cells(50, {"endurance.cycles": 1.0, **STUCK_LOW})
        self.cycle(cells, 10)
        assert not np.isin(cells.g_S, STUCK_S).any()


def test_state_survives_reopening(make_cells: MakeCells) -> None:
    overrides = {"forming.enabled": True, "endurance.enabled": True, "endurance.cycles": 4.0, **STUCK_LOW}
    cells = make_cells(300, overrides, folder="chip")
    pulse(cells, Polarity.FORM, 2.8, 1.4)
    for _ in range(3):
        pulse(cells, Polarity.SET, STRONG_V, 1.7)
        pulse(cells, Polarity.RESET, STRONG_V)
    before_S = cells.g_S.copy()
    again = make_cells(300, overrides, folder="chip")
    np.testing.assert_array_equal(again.g_S, before_S)
    unformed = (before_S < 0.5e-6) & (before_S != 0.3e-6)
    dead = np.isin(before_S, STUCK_S)
    assert unformed.any()
    assert dead.any()
    pulse(again, Polarity.SET, STRONG_V, 1.2)
    np.testing.assert_array_equal(again.g_S[unformed | dead], before_S[unformed | dead])
    assert (again.g_S != before_S).any()


class TestSlowPulses:
    """What matters to instruments, which drive cells for milliseconds and limit the current."""

    @staticmethod
    def slow(cells: CellArray, polarity: Polarity, amplitude_v: float, **more: float) -> FloatArray:
        n = cells.g_S.size
        gate_v, width_s, limit_a = (
            more.get("gate_v", 4.0),
            more.get("width_s", 10.0),
            more.get("i_limit_a", np.inf),
        )
        values = (np.full(n, value) for value in (amplitude_v, gate_v, width_s))
        noise = seeded([1])
        return cells.pulse(np.arange(n), np.full(n, int(polarity)), *values, 0.0, noise, limit_a)

    @pytest.mark.parametrize("polarity", [Polarity.SET, Polarity.RESET])
    def test_below_the_threshold_no_time_is_long_enough(
        self, make_cells: MakeCells, polarity: Polarity
    ) -> None:
        cells = at(make_cells(overrides={"write_noise.enabled": True}), 20e-6)
        before = cells.g_S.copy()
        self.slow(cells, polarity, 0.699)
        np.testing.assert_array_equal(cells.g_S, before)
        self.slow(cells, polarity, 0.7)
        assert (cells.g_S != before).all()

    def test_a_preset_without_a_threshold_goes_by_the_exponential_alone(self, make_cells: MakeCells) -> None:
        cells = at(make_cells(overrides={"reset.v_threshold_v": 0.0}), 20e-6)
        self.slow(cells, Polarity.RESET, 0.3)
        assert (cells.g_S < 1e-6).all()

    def test_the_current_limit_ends_a_set(self, make_cells: MakeCells) -> None:
        cells = at(make_cells(), 1e-6)
        peak_a = self.slow(cells, Polarity.SET, 2.0, i_limit_a=2e-5)
        np.testing.assert_allclose(cells.g_S, 10e-6)
        np.testing.assert_allclose(peak_a, 2e-5)

    def test_a_limit_that_is_not_reached_changes_nothing(self, make_cells: MakeCells) -> None:
        cells = at(make_cells(), 1e-6)
        self.slow(cells, Polarity.SET, 2.0, gate_v=1.2, i_limit_a=1e-3)
        np.testing.assert_allclose(cells.g_S, 20e-6)

    def test_gates(self, make_cells: MakeCells) -> None:
        cells = make_cells(count=3)
        np.testing.assert_array_equal(
            cells.gate_open(np.arange(3), np.array([0.0, 0.69, 0.71])), [False, False, True]
        )
