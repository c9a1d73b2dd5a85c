"""Relaxation, read noise and products, on twins whose law is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from eapu_calibration.gate_curve import GateCurveSettings, measure_gate_curve
from eapu_calibration.measurement import Result
from eapu_calibration.product_accuracy import ProductSettings, measure_products
from eapu_calibration.read_noise import ReadNoiseSettings, measure_read_noise
from eapu_calibration.relaxation import RelaxationSettings, measure_relaxation

from eapu_hil.bench import Bench
from eapu_hil.bench.forming import form
from eapu_hil.hal import Cells, HilError

OpenTwin = Callable[..., Bench]
QUIET = {
    "read_noise.enabled": False,
    "rtn.enabled": False,
    "adc.noise_relative": 0.0,
    "adc.gain_error_sd": 0.0,
    "adc.offset_error_sd": 0.0,
    "circuit.line_resistance_ohm": 0.0,
}
# One state: Var = 4 + 1 log10 t uS^2, zero at 0.1 ms; mean -0.8 - 0.2 log10 t uS, also zero at 0.1 ms.
LAW = {
    "relaxation.g_S": [2e-6, 40e-6],
    "relaxation.variance_1s_S2": [4e-12, 4e-12],
    "relaxation.variance_per_decade_S2": [1e-12, 1e-12],
    "relaxation.mean_1s_S": [-0.8e-6, -0.8e-6],
    "relaxation.mean_per_decade_S": [-0.2e-6, -0.2e-6],
    "relaxation.up_share": [0.5, 0.5],
    "relaxation.jump_ratio": [1.0, 1.0],
}
RELAXATION = RelaxationSettings(cells=1500, levels=3, times_s=[0.1, 1.0, 100.0, 1e4], batch=150, batch_s=1.0)
GATE = GateCurveSettings(cells=500, steps=12, repeats=4)
NOISE = ReadNoiseSettings(cells=500, levels=3, reads=200, settle_s=100.0, interval_s=0.1)
PRODUCTS = ProductSettings(vectors=64, v_in_v=0.2, reads=8, settle_s=1000.0, batch=20)


def run(
    measure: Callable[..., Result], bench: Bench, settings: Any, g_min_S: float = 1e-6
) -> Mapping[str, Any]:
    """Values of a measurement on all cells of a formed array; its progress must rise to 1."""
    array = bench.arrays[0]
    cells = Cells.all(array.shape)
    form(array, cells, bench.recipe)
    recipe = bench.recipe.model_copy(update={"g_min_S": g_min_S})
    told: list[float] = []
    found = measure(array, cells, recipe, settings, np.random.default_rng(0), told.append)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)
    assert found.arrays
    return found.values


def inside(estimates: Any, truth: float) -> list[bool]:
    return [one["low"] <= truth <= one["high"] for one in estimates]


def test_the_gate_curve_is_found(open_twin: OpenTwin) -> None:
    """The preset's transistor: 40 uS/V from 0.7 V, thresholds with sd 30 mV, slopes with 5 %; noise 0.6 uS and 6 %."""
    values = run(measure_gate_curve, open_twin((32, 16), **QUIET, **{"relaxation.enabled": False}), GATE)
    assert values["slope_S_per_v"]["value"] == pytest.approx(40e-6, rel=0.03)
    assert values["threshold_v"]["value"] == pytest.approx(0.7, abs=0.03)
    assert values["slope_S_per_v"]["low"] < values["slope_S_per_v"]["value"] < values["slope_S_per_v"]["high"]
    middle = int(np.argmin(np.abs(np.asarray(values["g_S"]["value"]) - 20e-6)))
    g_S = values["g_S"]["value"][middle]
    assert values["cell_sd_S"]["value"][middle] == pytest.approx(np.hypot(1.2e-6, 0.05 * g_S), rel=0.2)
    assert values["cycle_sd_S"]["value"][middle] == pytest.approx(np.hypot(0.6e-6, 0.06 * g_S), rel=0.2)


def test_a_gate_ramp_that_misses_the_window_is_an_error(open_twin: OpenTwin) -> None:
    bench = open_twin((16, 16), **{"gate.threshold_v": 2.6})
    with pytest.raises(HilError, match="lead into the window of the recipe; 3 are needed"):
        run(measure_gate_curve, bench, GATE)


def test_the_law_of_relaxation_is_found(open_twin: OpenTwin) -> None:
    bench = open_twin((96, 48), **QUIET, **LAW, **{"relaxation.jump_decades": 0.5})
    values = run(measure_relaxation, bench, RELAXATION, 12e-6)
    assert np.min(values["cells"]) > 1500
    assert values["age_s"] == pytest.approx(RELAXATION.times_s, rel=0.05)
    assert sum(inside(values["variance_per_decade_S2"], 1e-12)) >= 2
    assert [one["value"] for one in values["variance_per_decade_S2"]] == pytest.approx([1e-12] * 3, rel=0.25)
    # The first reading comes some milliseconds after the write: by then a part of it is over.
    assert all(2e-12 < one["value"] < 4.5e-12 for one in values["variance_1s_S2"])
    assert sum(inside(values["mean_per_decade_S"], -0.2e-6)) >= 2


def test_tails_are_counted(open_twin: OpenTwin) -> None:
    gauss = run(
        measure_relaxation,
        open_twin((64, 24), **QUIET, **LAW, **{"relaxation.jump_decades": 0.0}),
        RELAXATION,
        12e-6,
    )
    heavy = run(
        measure_relaxation,
        open_twin((64, 24), **QUIET, **LAW, **{"relaxation.jump_decades": 8.0}),
        RELAXATION,
        12e-6,
    )
    assert gauss["tail_share"][0]["value"] < 0.012  # 0.27 % for a normal law
    assert heavy["tail_share"][0]["value"] > 0.04


def test_read_noise_is_not_taken_for_relaxation(open_twin: OpenTwin) -> None:
    noisy = {**QUIET, "read_noise.enabled": True, "read_noise.white_relative": 0.02, "relaxation.enabled": False,
             "read_noise.flicker_relative_per_decade": 0.0}  # fmt: skip
    values = run(measure_relaxation, open_twin((64, 24), **noisy), RELAXATION)
    for level, g_S in zip(values["sd_S"], values["levels_S"], strict=True):
        assert max(level["value"]) < 0.02 * g_S  # two readings alone would give 1.4 times that


def test_white_noise_is_found(open_twin: OpenTwin) -> None:
    white = {**QUIET, "read_noise.enabled": True, "read_noise.white_relative": 0.01, "relaxation.enabled": False,
             "read_noise.white_absolute_S": 0.0, "read_noise.flicker_relative_per_decade": 0.0,
             "adc.bits": None}  # fmt: skip
    values = run(measure_read_noise, open_twin((32, 16), **white), NOISE)
    for name in ("white_sd_S", "total_sd_S"):
        relative = [one["value"] / g_S for one, g_S in zip(values[name], values["g_mean_S"], strict=True)]
        # Cells of the low state differ by a third, so that the rms of their noise is above that of their mean.
        assert 0.01 < relative[0] < 0.0108
        assert relative[1:] == pytest.approx([0.01] * 2, rel=0.02)
    assert values["restless_share"]["value"] == 0.0
    assert abs(values["spectrum_slope"]["value"]) < 0.1


def test_flicker_and_telegraph_noise_show(open_twin: OpenTwin) -> None:
    coloured = {**QUIET, "read_noise.enabled": True, "read_noise.white_relative": 0.001, "relaxation.enabled": False,
                "read_noise.white_absolute_S": 0.0, "read_noise.flicker_relative_per_decade": 0.005}  # fmt: skip
    values = run(measure_read_noise, open_twin((32, 16), **coloured), NOISE)
    assert values["total_sd_S"][2]["value"] > 1.15 * values["white_sd_S"][2]["value"]
    assert -1.5 < values["spectrum_slope"]["value"] < -0.5
    telegraph = {**QUIET, "relaxation.enabled": False, "rtn.enabled": True, "rtn.fraction": 0.2,
                 "rtn.amplitude_relative": 0.1, "rtn.tau_min_s": 0.1, "rtn.tau_max_s": 1.0,
                 "read_noise.enabled": True}  # fmt: skip
    values = run(measure_read_noise, open_twin((32, 16), **telegraph), NOISE)
    assert 0.1 < values["restless_share"]["value"] < 0.25


def test_the_two_levels_of_telegraph_noise_are_found(open_twin: OpenTwin) -> None:
    jumps = {**QUIET, "relaxation.enabled": False, "rtn.enabled": True, "rtn.fraction": 0.2,
             "rtn.amplitude_relative": 0.1, "rtn.amplitude_log_sd": 0.0, "rtn.tau_min_s": 1.0,
             "rtn.tau_max_s": 1.001}  # fmt: skip
    values = run(measure_read_noise, open_twin((32, 16), **jumps), NOISE)
    telegraph = values["telegraph"]
    assert telegraph["amplitude_relative"]["value"] == pytest.approx(0.1, rel=0.03)
    assert telegraph["dwell_s"]["value"] == pytest.approx(1.0, rel=0.1)
    assert telegraph["dwell_s"]["low"] <= telegraph["dwell_s"]["value"] < telegraph["dwell_s"]["high"]


def test_gains_of_the_lines_are_found(open_twin: OpenTwin) -> None:
    """Reads and products go through converters of their own, each with a gain of sd 5 %: the ratio has 7 %."""
    bench = open_twin((64, 48), **{**QUIET, "adc.gain_error_sd": 0.05, "relaxation.enabled": False})
    values = run(measure_products, bench, PRODUCTS)
    assert np.std(values["forward"]["gain"]["value"]) == pytest.approx(0.05 * np.sqrt(2), rel=0.35)
    assert values["forward"]["residual_relative"] < 0.005
    assert len(values["transposed"]["gain"]["value"]) == 64


def test_perfect_products_have_gain_1(open_twin: OpenTwin) -> None:
    perfect = {**QUIET, "adc.bits": None, "dac.bits": None, "relaxation.enabled": False}
    values = run(measure_products, open_twin((32, 16), **perfect), PRODUCTS)
    for direction in ("forward", "transposed"):
        gain = values[direction]["gain"]
        assert np.max(np.abs(np.array(gain["value"]) - 1.0)) < 1e-6
        assert values[direction]["residual_relative"] < 1e-6


def test_cells_beyond_the_range_are_taken_from_the_products(open_twin: OpenTwin) -> None:
    stuck = {
        **QUIET,
        "faults.stuck_fraction": 0.02,  # every other column has one
        "faults.stuck_high_share": 1.0,
        "faults.g_stuck_high_S": 1e-3,
        "relaxation.enabled": False,
    }
    bench = open_twin((64, 48), **stuck)
    values = run(measure_products, bench, PRODUCTS)
    assert values["columns_unknown"] == []
    assert values["forward"]["gain_mean"] == pytest.approx(1.0, abs=0.01)
    assert values["transposed"]["residual_relative"] < 0.01
    stuck["faults.stuck_fraction"] = 0.5
    with pytest.raises(
        HilError, match=r"seed0-array0: \d+ of 48 columns have more cells that cannot be read than 64"
    ):
        run(measure_products, open_twin((64, 48), **stuck), PRODUCTS)


def test_too_few_cells_are_an_error_that_says_which_level(open_twin: OpenTwin) -> None:
    with pytest.raises(HilError, match=r"seed0-array0: level of \S+ uS: only \d+ cells .*; 20 are needed"):
        run(measure_relaxation, open_twin((8, 8), **{"faults.stuck_fraction": 0.7}), RELAXATION)
