"""The twin behind the contract: products, readings, their noise, seeds, time and what survives."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eapu_hil.bench import Bench, open_bench
from eapu_hil.hal import (
    Cells,
    CellStatus,
    Crossbar,
    Direction,
    FloatArray,
    IntArray,
    LimitError,
    Polarity,
    Pulses,
    Targets,
)
from eapu_hil.twin.circuit import LineNetwork

OpenTwin = Callable[..., Bench]
SHAPE = (16, 8)
ALL_OFF: dict[str, Any] = {
    **{
        f"{section}.enabled": False
        for section in (
            "write_noise",
            "variation",
            "forming",
            "relaxation",
            "read_noise",
            "rtn",
            "endurance",
        )
    },
    "faults.stuck_fraction": 0,
    "circuit.line_resistance_ohm": 0,
    "dac.bits": None,
    "adc.bits": None,
    "adc.noise_relative": 0,
    "adc.gain_error_sd": 0,
    "adc.offset_error_sd": 0,
}


def true_g_S(chip_dir: Path, shape: tuple[int, int] = SHAPE, array: int = 0) -> FloatArray:
    """What the cells hold: the file that stands for the silicon."""
    g_S: FloatArray = np.load(chip_dir / "twin/cells/g_S.npy").reshape(-1, *shape)[array]
    return g_S


def some_targets_S(shape: tuple[int, int] = SHAPE, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).uniform(2e-6, 38e-6, shape[0] * shape[1])


def written(bench: Bench, seed: int = 0) -> Crossbar:
    array = bench.arrays[0]
    array.program(Targets(Cells.all(array.shape), some_targets_S(array.shape, seed)))
    return array


class TestExactProducts:
    @pytest.mark.parametrize("direction", list(Direction))
    @pytest.mark.parametrize("off", [{}, ALL_OFF], ids=["ideal", "everything off by name"])
    def test_all_off_is_the_exact_product(
        self, open_twin: OpenTwin, tmp_path: Path, direction: Direction, off: dict[str, Any]
    ) -> None:
        chip = tmp_path / "chip"
        array = written(open_twin("rram_180nm" if off else "ideal", SHAPE, chip_dir=chip, **off))
        g_S = true_g_S(chip)
        g_S = g_S if direction is Direction.FORWARD else g_S.T
        v_v = np.random.default_rng(1).uniform(-0.2, 0.2, (7, g_S.shape[0]))
        currents_a = array.vmm(v_v, direction)
        np.testing.assert_allclose(currents_a, v_v @ g_S, rtol=1e-13, atol=1e-20)
        assert currents_a.dtype == np.float64

    @pytest.mark.parametrize(
        ("direction", "lines_in", "lines_out"),
        [
            (Direction.FORWARD, [3, 0, 15], [7, 2]),
            (Direction.FORWARD, None, [5]),
            (Direction.TRANSPOSED, [6, 1], [9, 0, 4]),
            (Direction.TRANSPOSED, [2, 3, 4], None),
        ],
    )
    def test_chosen_lines(
        self,
        open_twin: OpenTwin,
        tmp_path: Path,
        direction: Direction,
        lines_in: list[int] | None,
        lines_out: list[int] | None,
    ) -> None:
        chip = tmp_path / "chip"
        array = written(open_twin(chip_dir=chip))
        g_S = true_g_S(chip)
        g_S = g_S if direction is Direction.FORWARD else g_S.T
        driven: IntArray = np.arange(g_S.shape[0]) if lines_in is None else np.array(lines_in)
        measured: IntArray = np.arange(g_S.shape[1]) if lines_out is None else np.array(lines_out)
        v_v = np.random.default_rng(1).uniform(-0.2, 0.2, (4, driven.size))
        currents_a = array.vmm(
            v_v,
            direction,
            None if lines_in is None else driven,
            None if lines_out is None else measured,
        )
        np.testing.assert_allclose(currents_a, v_v @ g_S[np.ix_(driven, measured)], rtol=1e-13)

    def test_line_resistance_is_in_products_and_readings(self, open_twin: OpenTwin, tmp_path: Path) -> None:
        chip, r_ohm = tmp_path / "chip", 50.0
        array = written(open_twin(chip_dir=chip, **{"circuit.line_resistance_ohm": r_ohm}))
        g_S = true_g_S(chip)
        v_v = np.random.default_rng(1).uniform(-0.2, 0.2, (4, SHAPE[0]))
        transfer_S = LineNetwork(SHAPE, r_ohm, r_ohm).transfer(g_S)
        np.testing.assert_allclose(array.vmm(v_v, Direction.FORWARD), v_v @ transfer_S, rtol=1e-9)
        v_v = v_v[:, : SHAPE[1]]
        np.testing.assert_allclose(array.vmm(v_v, Direction.TRANSPOSED), v_v @ transfer_S.T, rtol=1e-9)
        read_S = array.read(Cells.all(SHAPE), 0.2).g_S.reshape(SHAPE)
        assert (read_S < g_S).all()
        alone = np.zeros(SHAPE)
        alone[5] = g_S[5]
        expected_S = LineNetwork(SHAPE, r_ohm, r_ohm).transfer(alone)[5]
        np.testing.assert_allclose(read_S[5], expected_S, rtol=1e-9)

    def test_products_follow_the_cells(self, open_twin: OpenTwin, tmp_path: Path) -> None:
        """A product after a write shows the write: nothing stale is kept."""
        chip = tmp_path / "chip"
        array = written(open_twin(chip_dir=chip, **{"circuit.line_resistance_ohm": 5.0}))
        v_v = np.full((1, SHAPE[0]), 0.1)
        for step in range(5):
            array.vmm(v_v, Direction.FORWARD)
            array.program(Targets(Cells(np.array([step]), np.array([3])), np.array([7e-6])))
            expected_a = v_v @ LineNetwork(SHAPE, 5.0, 5.0).transfer(true_g_S(chip))
            np.testing.assert_allclose(array.vmm(v_v, Direction.FORWARD), expected_a, rtol=1e-6)


NON_IDEALITIES: dict[str, dict[str, Any]] = {
    "write_noise": {"write_noise.enabled": True},
    "variation": {"variation.enabled": True},
    "forming": {"forming.enabled": True},
    "relaxation": {"relaxation.enabled": True},
    "white noise": {"read_noise.enabled": True, "read_noise.flicker_relative_per_decade": 0},
    "flicker noise": {
        "read_noise.enabled": True,
        "read_noise.white_relative": 0,
        "read_noise.white_absolute_S": 0,
    },
    "telegraph noise": {"rtn.enabled": True, "rtn.fraction": 0.5},
    "stuck cells": {"faults.stuck_fraction": 0.2},
    "endurance": {"endurance.enabled": True, "endurance.cycles": 1.0},
    "line resistance": {"circuit.line_resistance_ohm": 5.0},
    "DAC bits": {"dac.bits": 6},
    "ADC bits": {"adc.bits": 6},
    "ADC noise": {"adc.noise_relative": 1e-3},
    "ADC gain error": {"adc.gain_error_sd": 0.02},
    "ADC offset": {"adc.offset_error_sd": 1e-3},
}


@pytest.mark.parametrize("name", NON_IDEALITIES)
def test_each_non_ideality_alone_shows(open_twin: OpenTwin, name: str) -> None:
    """Each switch does something, and nothing else is on."""

    def measured(overrides: dict[str, Any]) -> FloatArray:
        array = open_twin(**overrides).arrays[0]
        cells = Cells.all(SHAPE)
        for amplitude_v in (1.7, 1.9):
            array.pulse(Pulses.same(cells, Polarity.SET, amplitude_v, 1.3, 1e-7))
            array.pulse(Pulses.same(cells, Polarity.RESET, 1.4, 4.0, 1e-7))
        array.wait(10.0)
        v_v = np.linspace(-0.1, 0.2, SHAPE[0])[np.newaxis]
        return np.concatenate([array.vmm(v_v, Direction.FORWARD)[0], array.read(cells, 0.2).g_S * 0.2])

    difference_a = measured(NON_IDEALITIES[name]) - measured({})
    assert np.abs(difference_a).max() > 1e-9


class TestNoiseOfProducts:
    """Noise drawn at the outputs against noise drawn in each cell."""

    DRAWS = 4000

    @pytest.mark.parametrize("r_ohm", [0.0, 1.0])
    @pytest.mark.parametrize("direction", list(Direction))
    def test_agrees_with_noise_in_each_cell(
        self, open_twin: OpenTwin, tmp_path: Path, r_ohm: float, direction: Direction
    ) -> None:
        shape, chip = (10, 5), tmp_path / "chip"
        white = {
            "circuit.line_resistance_ohm": r_ohm,
            "read_noise.enabled": True,
            "read_noise.flicker_relative_per_decade": 0,
            "read_noise.white_relative": 0.05,
            "read_noise.white_absolute_S": 1e-6,
        }
        array = written(open_twin("ideal", shape, chip_dir=chip, **white))
        g_S = true_g_S(chip, shape)
        rng = np.random.default_rng(2)
        forward = direction is Direction.FORWARD
        v_v = rng.uniform(-0.2, 0.2, (1, shape[0] if forward else shape[1]))
        sd_S = np.hypot(1e-6, 0.05 * g_S)
        oracle_a = np.empty((self.DRAWS, shape[1] if forward else shape[0]))
        for draw_a in oracle_a:
            noisy_S = np.maximum(g_S + sd_S * rng.standard_normal(shape), 0.0)
            transfer_S = LineNetwork(shape, r_ohm, r_ohm).transfer(noisy_S)
            draw_a[:] = (v_v @ (transfer_S if forward else transfer_S.T))[0]
        twin_a = array.vmm(np.repeat(v_v, self.DRAWS, axis=0), direction)
        standard_error_a = oracle_a.std(axis=0) * np.sqrt(2 / self.DRAWS)
        assert np.abs(twin_a.mean(axis=0) - oracle_a.mean(axis=0)).max() < 4.5 * standard_error_a.max()
        np.testing.assert_allclose(twin_a.std(axis=0), oracle_a.std(axis=0), rtol=0.06)
        np.testing.assert_allclose(np.corrcoef(twin_a.T), np.corrcoef(oracle_a.T), atol=0.09)

    def test_slow_noise_agrees_with_the_readings(self, open_twin: OpenTwin) -> None:
        """What a read shows of flicker and telegraph noise is what a product meets at the same moment."""
        slow = {
            "read_noise.enabled": True,
            "read_noise.white_relative": 0,
            "read_noise.white_absolute_S": 0,
            "read_noise.flicker_relative_per_decade": 0.02,
            "rtn.enabled": True,
            "rtn.fraction": 0.5,
        }
        array = written(open_twin(**slow))
        v_v = np.random.default_rng(1).uniform(-0.2, 0.2, (1, SHAPE[0]))
        for _ in range(3):
            array.wait(10.0)
            read_S = array.read(Cells.all(SHAPE), 0.2).g_S.reshape(SHAPE)
            np.testing.assert_allclose(array.vmm(v_v, Direction.FORWARD), v_v @ read_S, rtol=1e-5)

    def test_attenuation_follows_the_writes(self, open_twin: OpenTwin, tmp_path: Path) -> None:
        """The share of a cell's noise that arrives is never a percent off."""
        r_ohm, batch = 100.0, 60_000
        chip = tmp_path / "chip"
        white = {
            "circuit.line_resistance_ohm": r_ohm,
            "read_noise.enabled": True,
            "read_noise.flicker_relative_per_decade": 0,
        }
        array = written(open_twin(chip_dir=chip, **white))
        v_v = np.full((batch, SHAPE[0]), 0.2)
        array.vmm(v_v[:1], Direction.FORWARD)
        rng = np.random.default_rng(3)
        for _ in range(10):  # small changes of a few cells, as in training
            cells = Cells.all(SHAPE)[rng.choice(128, 2, replace=False)]
            now_S = array.read(cells, 0.2).g_S
            array.program(Targets(cells, np.clip(now_S + rng.choice([-1e-6, 1e-6], 2), 2e-6, 38e-6)))
            array.vmm(v_v[:1], Direction.FORWARD)
        array.program(Targets(Cells.block(0, 16, 0, 3), np.full(48, 38e-6)))  # and then a large one
        measured_a = array.vmm(v_v, Direction.FORWARD)
        g_S = true_g_S(chip)
        share = LineNetwork(SHAPE, r_ohm, r_ohm).attenuation(g_S)
        expected_a = 0.2 * np.sqrt(((np.hypot(0.03e-6, 0.004 * g_S) * share) ** 2).sum(axis=0))
        assert (measured_a.std(axis=0) / expected_a).mean() == pytest.approx(1.0, abs=0.005)
        np.testing.assert_allclose(measured_a.std(axis=0), expected_a, rtol=0.015)


class TestSeeds:
    @staticmethod
    def session(bench: Bench) -> list[FloatArray]:
        first, second = bench.arrays
        cells = Cells.all(SHAPE)
        results = []
        for array in (first, second):
            array.pulse(Pulses.same(cells, Polarity.FORM, 3.2, 1.4, 1e-5))
            outcome = array.program(Targets(cells, some_targets_S()))
            results += [outcome.g_after_S, outcome.pulses.astype(float), outcome.energy_j]
            array.wait(1.0)
            results += [array.read(cells, 0.2).g_S, array.vmm(np.full((3, SHAPE[0]), 0.1), Direction.FORWARD)]
        return results

    def test_the_same_seed_gives_the_same_bits(self, open_twin: OpenTwin) -> None:
        for one, other in zip(
            *(self.session(open_twin("rram_180nm", SHAPE, 2, seed=7)) for _ in range(2)), strict=True
        ):
            np.testing.assert_array_equal(one, other)

    def test_another_seed_gives_others(self, open_twin: OpenTwin) -> None:
        one, other = (self.session(open_twin("rram_180nm", SHAPE, 2, seed=seed)) for seed in (7, 8))
        for mine, theirs in zip(one, other, strict=True):
            assert (mine != theirs).mean() > 0.3

    def test_arrays_of_one_bench_differ(self, open_twin: OpenTwin) -> None:
        results = self.session(open_twin("rram_180nm", SHAPE, 2, seed=7))
        for first, second in zip(results[:5], results[5:], strict=True):
            assert (first != second).mean() > 0.3


class TestReopening:
    def test_state_and_clock_survive(self, tmp_path: Path) -> None:
        chip = tmp_path / "chip"
        source = {
            "backend": "twin",
            "overrides": {"endurance.cycles": 30.0, "relaxation.enabled": False, "rtn.enabled": False},
            "shape": list(SHAPE),
            "limits": {
                "v_max_v": 3.5,
                "v_gate_max_v": 5.0,
                "i_max_a": 2e-3,
                "width_max_s": 1e-3,
                "pulses_per_cell_max": 1000,
            },
        }
        cells = Cells.all(SHAPE)
        half = Cells.block(0, 16, 0, 4)
        with open_bench(source, chip_dir=chip, commission=False) as bench:
            array = bench.arrays[0]
            array.pulse(Pulses.same(half, Polarity.FORM, 3.4, 1.4, 1e-5))
            for _ in range(25):  # wears out many of the formed cells
                array.pulse(Pulses.same(half, Polarity.SET, 2.5, 1.7, 1e-7))
                array.pulse(Pulses.same(half, Polarity.RESET, 2.5, 4.0, 1e-7))
            array.pulse(Pulses.same(half, Polarity.SET, 2.5, 1.2, 1e-7))
            array.wait(100.0)
            before_S, clock_s = true_g_S(chip), array.clock_s()
        del bench, array
        gc.collect()
        with open_bench(source, chip_dir=chip, commission=False) as bench:
            array = bench.arrays[0]
            assert array.clock_s() == clock_s
            np.testing.assert_array_equal(true_g_S(chip), before_S)
            read_S = array.read(cells, 0.2).g_S.reshape(SHAPE)
            held = before_S < 75e-6  # what the converter can show
            np.testing.assert_allclose(read_S[held], before_S[held], rtol=0.15, atol=0.3e-6)
            array.pulse(Pulses.same(cells, Polarity.SET, 2.5, 1.6, 1e-7))
            after_S = true_g_S(chip)
            np.testing.assert_array_equal(after_S[:, 4:], before_S[:, 4:])  # still fresh
            moved = (after_S != before_S)[:, :4]
            assert 0.1 < moved.mean() < 0.9  # the dead are still dead, the others still work

    def test_relaxation_goes_on(self, tmp_path: Path, open_twin: OpenTwin) -> None:
        chip = tmp_path / "chip"
        quiet = {"relaxation.enabled": True, "forming.enabled": False}
        source = {"backend": "twin", "preset": "ideal", "overrides": quiet, "shape": list(SHAPE)}
        limits = {**open_twin().config.limits.model_dump()}
        with open_bench({**source, "limits": limits}, chip_dir=chip, commission=False) as bench:
            array = bench.arrays[0]
            array.program(Targets(Cells.all(SHAPE), np.full(128, 20e-6)))
            array.wait(1.0)
            early_S = true_g_S(chip).copy()
        with open_bench({**source, "limits": limits}, chip_dir=chip, commission=False) as bench:
            bench.arrays[0].wait(1e5)
            spread = (true_g_S(chip) - early_S).std() * 1e6
        assert spread == pytest.approx(np.sqrt(5 * 2.07), rel=0.35)


class TestTime:
    def test_each_operation_takes_its_time(self, open_twin: OpenTwin) -> None:
        array = open_twin().arrays[0]
        start_s = array.clock_s()
        elapsed = []
        for act in (
            lambda: array.read(Cells.block(2, 5, 0, 8), 0.2),  # three rows at a time
            lambda: array.vmm(np.zeros((7, 16)), Direction.FORWARD),
            lambda: array.pulse(Pulses.same(Cells.block(0, 1, 0, 4), Polarity.SET, 1.0, 1.0, 1e-6, count=3)),
            lambda: array.wait(2.5),
        ):
            act()
            elapsed.append(array.clock_s() - start_s)
            start_s = array.clock_s()
        assert elapsed == pytest.approx([3e-6, 7e-6, 4 * 3 * 1.05e-6, 2.5], rel=1e-6)

    def test_arrays_share_one_clock(self, open_twin: OpenTwin) -> None:
        first, second = open_twin(arrays=2).arrays
        first.wait(3.0)
        assert second.clock_s() == first.clock_s() == pytest.approx(3.0)


class TestStatus:
    def test_a_reading_at_the_end_of_the_range_is_saturated(self, open_twin: OpenTwin) -> None:
        faulty = {"faults.stuck_fraction": 0.3, "faults.stuck_high_share": 1.0, "adc.bits": 12}
        array = open_twin(**faulty).arrays[0]
        reading = array.read(Cells.all(SHAPE), 0.2)
        high = reading.g_S > 50e-6
        assert 0.1 < high.mean() < 0.5
        assert (reading.status[high] == CellStatus.SATURATED).all()
        assert (reading.status[~high] == CellStatus.OK).all()
        assert reading.g_S[high] == pytest.approx(80e-6)  # 16 uA at 0.2 V, not the cell's 150 uS
        # at half the voltage the current fits
        assert array.read(Cells.all(SHAPE), 0.1).g_S[high] == pytest.approx(150e-6, rel=0.01)

    def test_a_pulse_that_reaches_the_current_limit(self, open_twin: OpenTwin) -> None:
        array = open_twin(limits={"i_max_a": 100e-6}).arrays[0]
        cells = Cells.block(0, 1, 0, 2)
        weak, strong = 1.0, 1.7  # gate voltages: 12 and 40 uS
        outcome = array.pulse(
            Pulses(
                cells,
                polarity=np.full(2, int(Polarity.SET)),
                amplitude_v=np.full(2, 3.0),
                gate_v=np.array([weak, strong]),
                width_s=np.full(2, 1e-7),
                count=np.ones(2, np.int64),
            )
        )
        assert list(outcome.status) == [CellStatus.OK, CellStatus.COMPLIANCE]

    @pytest.mark.parametrize("v_read_v", [1e-4, 0.4])
    def test_a_read_that_the_converter_cannot_make_is_refused(
        self, open_twin: OpenTwin, v_read_v: float
    ) -> None:
        array = open_twin("rram_180nm").arrays[0]
        before_s = array.clock_s()
        with pytest.raises(LimitError, match=r"dac\.v_full_scale_v"):
            array.read(Cells.all(SHAPE), v_read_v)
        assert array.clock_s() == before_s
        assert array.read(Cells.all(SHAPE), -0.2).g_S.mean() > 0.1e-6  # the sign is free

    def test_several_pulses_are_as_many_single_ones(self, open_twin: OpenTwin) -> None:
        after = []
        for counts in ([4], [1, 1, 1, 1]):
            array = open_twin().arrays[0]
            for count in counts:
                array.pulse(Pulses.same(Cells.all(SHAPE), Polarity.SET, 1.5, 1.4, 1e-7, count=count))
            after.append(array.read(Cells.all(SHAPE), 0.2).g_S)
        np.testing.assert_array_equal(after[0], after[1])
        assert after[0].min() > 5e-6
