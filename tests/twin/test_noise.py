"""Fluctuation of the cells as readings show it: white, 1/f and random telegraph noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from eapu_hil.bench import Bench
from eapu_hil.hal import Cells, FloatArray, Targets

OpenTwin = Callable[..., Bench]


def readings(bench: Bench, g_S: float, count: int, interval_s: float) -> FloatArray:
    """Writes all cells to `g_S` and reads them `count` times; (count, cells), S."""
    array = bench.arrays[0]
    cells = Cells.all(array.shape)
    array.program(Targets(cells, np.full(len(cells), g_S)))
    rows = np.empty((count, len(cells)))
    for row in rows:
        array.wait(interval_s)
        row[:] = array.read(cells, 0.2).g_S
    return rows


@pytest.mark.parametrize("g_S", [2e-6, 30e-6])
def test_white_noise(open_twin: OpenTwin, g_S: float) -> None:
    white = {"read_noise.enabled": True, "read_noise.flicker_relative_per_decade": 0.0}
    noise_S = readings(open_twin(shape=(8, 8), **white), g_S, 200, 1e-3)
    fluctuation = noise_S - noise_S.mean(axis=0)
    expected_S = np.hypot(0.03e-6, 0.004 * noise_S.mean())
    assert fluctuation.std() == pytest.approx(expected_S, rel=0.03)
    lagged = np.corrcoef(fluctuation[1:].ravel(), fluctuation[:-1].ravel())[0, 1]
    assert abs(lagged) < 0.05


def test_flicker_noise_falls_as_1_over_f(open_twin: OpenTwin) -> None:
    flicker = {
        "read_noise.enabled": True,
        "read_noise.white_relative": 0.0,
        "read_noise.white_absolute_S": 0.0,
    }
    interval_s, count = 0.05, 4096
    noise_S = readings(open_twin(shape=(8, 8), **flicker), 20e-6, count, interval_s)
    spectrum = (np.abs(np.fft.rfft(noise_S - noise_S.mean(axis=0), axis=0)) ** 2).mean(axis=1)
    frequency_hz = np.fft.rfftfreq(count, interval_s)
    inner = (frequency_hz > 0.02) & (frequency_hz < 2.0)  # two decades, away from the ends
    slope = np.polyfit(np.log10(frequency_hz[inner]), np.log10(spectrum[inner]), 1)[0]
    assert slope == pytest.approx(-1.0, abs=0.2)
    # 1 ms to 1000 s are seven processes of 0.4 % each; cells are independent, so their spread shows all of it
    assert noise_S[-1].std() / 20e-6 == pytest.approx(0.004 * np.sqrt(7), rel=0.35)


def test_telegraph_noise_has_two_levels(open_twin: OpenTwin) -> None:
    telegraph = {"rtn.enabled": True, "rtn.fraction": 0.25, "rtn.tau_max_s": 10.0}
    noise_S = readings(open_twin(shape=(16, 16), **telegraph), 20e-6, 300, 0.5)
    levels = [np.unique(cell.round(12)) for cell in noise_S.T]
    count = np.array([cell.size for cell in levels])
    assert set(count) == {1, 2}
    assert (count == 2).mean() == pytest.approx(0.25, abs=0.08)
    jump = np.array([np.ptp(cell) / cell.mean() for cell in levels if cell.size == 2])
    assert np.median(jump) == pytest.approx(0.05, rel=0.25)
    assert np.log(jump).std() == pytest.approx(0.5, abs=0.15)
    switching = np.abs(np.diff(noise_S, axis=0)).astype(bool).mean(axis=0)[count == 2]
    assert switching.max() > 0.4  # fast cells: every reading is a new draw
    assert switching.min() < 0.1  # slow ones stay


def test_telegraph_cells_are_the_same_after_reopening(open_twin: OpenTwin) -> None:
    telegraph = {"rtn.enabled": True, "rtn.fraction": 0.2, "rtn.tau_max_s": 0.1}
    moving = [
        np.ptp(readings(open_twin(shape=(16, 16), seed=seed, **telegraph), 20e-6, 30, 0.5), axis=0) > 1e-9
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(moving[0], moving[1])
    assert (moving[0] != moving[2]).any()


def test_off_by_name(open_twin: OpenTwin) -> None:
    large = {"read_noise.white_relative": 0.5, "rtn.fraction": 1.0, "rtn.amplitude_relative": 0.5}
    noise_S = readings(open_twin(shape=(8, 8), **large), 20e-6, 20, 1.0)
    assert (noise_S == noise_S[0]).all()


def test_products_fluctuate_with_the_same_noise(open_twin: OpenTwin) -> None:
    """Slow noise moves products of one moment together; white noise is drawn anew for each vector."""
    from eapu_hil.hal import Direction

    vectors_v = np.full((400, 8), 0.1)
    for name, moves_together in (("flicker_relative_per_decade", True), ("white_relative", False)):
        alone = {
            "read_noise.enabled": True,
            "read_noise.white_absolute_S": 0.0,
            "read_noise.white_relative": 0.0,
            "read_noise.flicker_relative_per_decade": 0.0,
            f"read_noise.{name}": 0.02,
        }
        array = open_twin(shape=(8, 8), **alone).arrays[0]
        array.program(Targets(Cells.all((8, 8)), np.full(64, 20e-6)))
        first_a = array.vmm(vectors_v, Direction.FORWARD)
        array.wait(100.0)
        later_a = array.vmm(vectors_v, Direction.FORWARD)
        between = np.ptp(first_a.mean(axis=0) - later_a.mean(axis=0)) / first_a.mean()
        within = first_a.std(axis=0).max() / first_a.mean()
        assert (between > 0.003, within < 1e-6) == (moves_together, moves_together)
