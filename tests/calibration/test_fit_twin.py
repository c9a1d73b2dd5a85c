"""A twin is measured through the contract, and its parameters are found again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import yaml
from eapu_calibration.calibrate import calibrate
from eapu_calibration.fit_twin import Fitted, TwinFit, fit_twin
from eapu_calibration.plan import load_plan

from eapu_hil.base.loading import load_model
from eapu_hil.bench import Bench
from eapu_hil.hal import ConfigError, HilError
from eapu_hil.twin.preset import TwinPreset

OpenTwin = Callable[..., Bench]

PLAN = {
    "measurements": {
        "gate_curve": {"cells": 600, "steps": 12, "repeats": 4},
        "relaxation": {
            "cells": 800,
            "levels": 4,
            "times_s": [0.01, 0.1, 1.0, 100.0],
            "batch": 100,
            "batch_s": 1.0,
        },
        "read_noise": {
            "cells": 300,
            "levels": 3,
            "reads": 128,
            "settle_s": 1000.0,
            "interval_s": 0.1,
        },
        "product_accuracy": {"vectors": 32, "v_in_v": 0.2, "reads": 4, "settle_s": 100.0, "batch": 32},
    }
}
HIDDEN = {
    "gate.threshold_v": 0.78,
    "gate.slope_S_per_v": 46e-6,
    "variation.gate_threshold_v": 0.04,
    "variation.gate_slope_relative": 0.07,
    "write_noise.set_absolute_S": 0.9e-6,
    "write_noise.set_relative": 0.04,
    "forming.v_form_v": 2.7,
    "forming.v_form_sd_v": 0.2,
    "faults.stuck_fraction": 0.01,
    "read_noise.flicker_relative_per_decade": 0.006,
    "relaxation.jump_decades": 5.0,
    "adc.gain_error_sd": 0.02,
    "adc.offset_error_sd": 0.003,
}


@pytest.fixture(scope="module")
def base() -> TwinPreset:
    return load_model(TwinPreset, "rram_180nm", [], "presets")


def measured(bench: Bench, *names: str) -> None:
    plan = load_plan(PLAN)
    calibrate(bench, 0, plan, ["forming", *names], seed=3, progress_of=lambda _: lambda _: None)


def fitted(fit: TwinFit, key: str) -> Fitted:
    return next(one for one in fit.fitted if one.key == key)


def test_hidden_parameters_are_found(open_twin: OpenTwin, base: TwinPreset) -> None:
    bench = open_twin(**HIDDEN)
    measured(bench, *PLAN["measurements"])
    fit = fit_twin(bench.chip, 0, base, np.random.default_rng(1))
    for key, hidden in HIDDEN.items():
        estimate = fitted(fit, key).estimate
        # Twice the interval: what the wires and the telegraph noise do to a value is not in it.
        middle, reach = (estimate.low + estimate.high) / 2, estimate.high - estimate.low
        assert middle - reach < hidden < middle + reach, key
        assert float(reach) < abs(hidden), key
    # 800 cells differ by 0.05 from their own law by chance; a quarter of these meet the floor.
    assert max(fit.relaxation_ks.values()) < 0.08
    variance = np.asarray(fitted(fit, "relaxation.variance_1s_S2").estimate.value)
    low = np.asarray(fitted(fit, "relaxation.variance_1s_S2").estimate.low)
    assert np.isnan(low).tolist() == [True, False, False, False]  # the floor is in the lowest level
    middle_S = np.asarray(fitted(fit, "relaxation.g_S").estimate.value)[1:]
    law = base.relaxation
    assert variance[1:] == pytest.approx(np.interp(middle_S, law.g_S, law.variance_1s_S2), rel=0.35)

    text = fit.text("mine", "a test's chip")
    again = TwinPreset.model_validate(yaml.safe_load(text))
    assert again == fit.preset("mine", "a test's chip")
    assert again.gate.threshold_v == fit.value("gate.threshold_v") != base.gate.threshold_v
    assert "gate.threshold_v: 0.7" in text
    assert "endurance" in text.partition("# As in")[2]


def test_what_was_not_measured_stays_and_says_so(open_twin: OpenTwin, base: TwinPreset) -> None:
    bench = open_twin()
    measured(bench)
    fit = fit_twin(bench.chip, 0, base, np.random.default_rng(1))
    assert {one.key for one in fit.fitted} == {
        "forming.v_form_v",
        "forming.v_form_sd_v",
        "faults.stuck_fraction",
        "adc.offset_error_sd",
    }
    reasons = {one.keys: one.reason for one in fit.kept}
    assert reasons["relaxation.*"] == "relaxation was not measured"
    preset = fit.preset("x", "y")
    assert preset.gate == base.gate
    assert preset.relaxation == base.relaxation


def test_a_ramp_too_coarse_for_its_parameters(open_twin: OpenTwin, base: TwinPreset) -> None:
    bench = open_twin(**{"forming.v_form_sd_v": 0.0})
    measured(bench)
    fit = fit_twin(bench.chip, 0, base, np.random.default_rng(1))
    assert "forming.v_form_v" not in {one.key for one in fit.fitted}
    reason = next(one.reason for one in fit.kept if one.keys.startswith("forming.v_form_v"))
    assert "1 voltages" in reason
    assert "finer ramp" in reason


@pytest.mark.parametrize("array", [-1, 1])
def test_an_array_that_the_chip_has_not(open_twin: OpenTwin, base: TwinPreset, array: int) -> None:
    with pytest.raises(ConfigError, match=f"array {array} asked; the chip has 0 to 0"):
        fit_twin(open_twin().chip, array, base, np.random.default_rng(1))


def test_nothing_measured(open_twin: OpenTwin, base: TwinPreset) -> None:
    with pytest.raises(HilError, match="no measurement allows a fit"):
        fit_twin(open_twin().chip, 0, base, np.random.default_rng(1))
