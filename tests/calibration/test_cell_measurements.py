"""I-V, open-loop pulses, write-verify and line resistance, on twins whose law is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from eapu_calibration.iv import IvSettings, measure_iv
from eapu_calibration.line_resistance import LineResistanceSettings, measure_line_resistance
from eapu_calibration.linearity import LinearitySettings, measure_linearity
from eapu_calibration.measurement import Result
from eapu_calibration.pulse_response import PulseResponseSettings, measure_pulse_response
from eapu_calibration.write_verify import WriteVerifySettings, measure_write_verify

from eapu_hil.bench import Bench
from eapu_hil.bench.forming import form
from eapu_hil.hal import Cells, HilError, LimitError, Reading

OpenTwin = Callable[..., Bench]
QUIET = {
    "faults.stuck_fraction": 0.0,
    "rtn.enabled": False,
    "adc.offset_error_sd": 0.0,
    "relaxation.enabled": False,
}
IV = IvSettings(cells=300, levels=3, read_parts=[0.5, 0.75, 1.0, 1.25], reads=4, step_v=0.1)
RESPONSE = PulseResponseSettings(cells=300, pulses=20)
WIRES = LineResistanceSettings(v_in_v=0.2, level=0.25, repeats=4)


def run(measure: Callable[..., Result], bench: Bench, settings: Any, array: Any = None) -> Result:
    told: list[float] = []
    cells = Cells.all(bench.arrays[0].shape)
    form(bench.arrays[0], cells, bench.recipe)
    rng = np.random.default_rng(1)
    chosen = cells[rng.permutation(len(cells))[: getattr(settings, "cells", len(cells))]]
    found = measure(array or bench.arrays[0], chosen, bench.recipe, settings, rng, told.append)
    assert told[-1] == pytest.approx(1.0)
    assert sorted(told) == told
    return found


class Bent:
    """An array whose cells conduct more at higher voltage: G (1 + k V^2)."""

    def __init__(self, array: Any, k_per_v2: float) -> None:
        self._array, self._k = array, k_per_v2

    def __getattr__(self, name: str) -> Any:
        return getattr(self._array, name)

    def read(self, cells: Cells, v_read_v: float) -> Reading:
        reading: Reading = self._array.read(cells, v_read_v)
        return Reading(reading.g_S * (1 + self._k * v_read_v**2), reading.status)


@pytest.mark.parametrize("k_per_v2", [0.0, 0.8])
def test_the_bend_of_a_reading_is_found(open_twin: OpenTwin, k_per_v2: float) -> None:
    bench = open_twin((32, 24), **QUIET)
    values = run(measure_iv, bench, IV, Bent(bench.arrays[0], k_per_v2)).values
    for level in values["nonlinearity_per_v2"][1:]:  # the lowest conducts too little to tell
        assert level["low"] - 0.05 < k_per_v2 < level["high"] + 0.05
        assert level["high"] - level["low"] < 0.3
    for level in values["disturbed_S"]:
        assert abs(level["value"]) < 0.1e-6


def test_switching_voltages_are_those_of_the_cells(open_twin: OpenTwin) -> None:
    """Half of the cells have crossed half of the window near the preset's v_half_v of 1.6 V, within one step below."""
    values = run(measure_iv, open_twin((32, 24), **QUIET), IV).values
    for name in ("set", "reset"):
        assert 1.2 < values[name]["switched_v"]["value"] < 1.6
        assert values[name]["switched_sd_v"] == pytest.approx(0.08, rel=0.5)
        assert values[name]["compliance"][0]["value"] == 0.0
    assert values["set"]["g_S"]["value"][-1] > 40e-6
    assert values["reset"]["g_S"]["value"][-1] < 1e-6


def test_cells_that_do_not_switch_have_no_voltage(open_twin: OpenTwin) -> None:
    bench = open_twin((32, 24), **QUIET)

    class Deaf(Bent):
        def pulse(self, pulses: Any) -> Any:
            return self._array.pulse(type(pulses).same(pulses.cells, 1, 0.1, 0.1, 1e-7))

    values = run(measure_iv, bench, IV, Deaf(bench.arrays[0], 0.0)).values
    assert values["set"]["switched"] == 0
    assert values["set"]["switched_v"] is None


def test_a_read_beyond_the_limits_is_refused(open_twin: OpenTwin) -> None:
    beyond = IV.model_copy(update={"read_parts": [1.0, 1.5, 2.0, 3.0]})
    with pytest.raises(LimitError):
        run(measure_iv, open_twin((32, 24), **QUIET), beyond)


def test_pulses_go_up_and_down_and_saturate(open_twin: OpenTwin) -> None:
    values = run(measure_pulse_response, open_twin((32, 24), **QUIET), RESPONSE).values
    up, down = (np.asarray(values[name]["g_S"]["value"]) for name in ("up", "down"))
    assert up.size == 21
    assert (np.diff(up) > 0).mean() > 0.8
    assert np.diff(up)[0] > 2 * np.diff(up)[-1]  # a SET goes a part of the way that is left
    assert (np.diff(down) < 0).all()
    steps = [step for step in values["up"]["step_S"] if step is not None]
    assert steps[0]["value"] > steps[-1]["value"] > 0  # state dependence
    assert all(step["low"] <= step["value"] <= step["high"] for step in steps)
    assert values["asymmetry"] > 0


def test_write_verify_from_both_ends(open_twin: OpenTwin) -> None:
    bench = open_twin((40, 32), **{**QUIET, "faults.stuck_fraction": 0.05})
    found = run(measure_write_verify, bench, WriteVerifySettings(cells=1000, levels=5))
    for name in ("up", "down"):
        one = found.values[name]
        share = np.mean([level["value"] for level in one["ok"]])
        assert 0.92 < share < 0.97  # the stuck ones
        assert one["statuses"]["STUCK"] + one["statuses"].get("LIMIT", 0) > 20
        assert one["statuses"]["OK"] == (found.arrays[f"{name}_status"] == 0).sum()
        for level in one["error_sd_S"]:
            assert 0.2e-6 < level["value"] < bench.recipe.band_S
        assert all(
            p99 >= pulses["value"] for p99, pulses in zip(one["pulses_p99"], one["pulses"], strict=True)
        )
    assert found.values["up"]["pulses"][0]["value"] < 1  # it is there already
    assert found.values["down"]["pulses"][0]["value"] > 3


LINEARITY = LinearitySettings(v_in_v=0.2, steps=17, zeros=200, repeats=2)


def test_offsets_and_noise_of_the_lines_are_found(open_twin: OpenTwin) -> None:
    """Offset errors of 1 % and noise of 0.1 % of the smallest range, 4 uA, at 0 V."""
    errors = {"adc.offset_error_sd": 0.01, "adc.noise_relative": 1e-3, "read_noise.enabled": False}
    values = run(measure_linearity, open_twin((48, 40), **{**QUIET, **errors}), LINEARITY).values
    for name, lines in (("forward", 40), ("transposed", 48)):
        one = values[name]
        assert np.std(one["offset_a"]["value"]) == pytest.approx(0.01 * 4e-6, rel=0.35)
        assert np.median(one["noise_sd_a"]["value"]) == pytest.approx(1e-3 * 4e-6, rel=0.1)
        low, high = (np.asarray(one["noise_sd_a"][end]) for end in ("low", "high"))
        assert ((low < 4e-9 * 1.05) & (high > 4e-9 * 0.95)).mean() > 0.85
        assert len(one["bend"]) == lines


def test_a_coarse_input_converter_bends_the_ramps(open_twin: OpenTwin) -> None:
    """Rounding to 5 bits over +-0.25 V is off by up to half of 17 mV, 2 % of the 0.4 V that a ramp spans."""
    fine = {**QUIET, "read_noise.enabled": False, "adc.bits": None, "adc.noise_relative": 0.0}
    for bits, low, high in ((None, 0.0, 1e-6), (5, 0.01, 0.03)):
        values = run(measure_linearity, open_twin((48, 40), **{**fine, "dac.bits": bits}), LINEARITY).values
        for name in ("forward", "transposed"):
            for bend in ("bend", "driven_bend"):
                assert low <= np.median(values[name][bend]) < high, (bits, name, bend)


@pytest.mark.parametrize("ohm", [0.0, 0.35, 2.0])
def test_the_wires_are_found(open_twin: OpenTwin, ohm: float) -> None:
    bench = open_twin((96, 24), **{**QUIET, "circuit.line_resistance_ohm": ohm, "adc.gain_error_sd": 0.05})
    values = run(measure_line_resistance, bench, WIRES).values
    found = values["ohm"]
    assert found["value"] == pytest.approx(ohm, abs=0.02 + 0.03 * ohm)
    assert found["high"] - found["low"] < 0.1 + 0.1 * ohm
    assert len(values["falloff"]) == 96
    assert values["falloff"][-1] == 1.0
    if ohm > 1:
        assert values["falloff"][0] < 0.95


def test_columns_with_unreadable_cells_say_nothing_of_the_wires(open_twin: OpenTwin) -> None:
    stuck = {**QUIET, "faults.stuck_fraction": 0.2, "faults.stuck_high_share": 1.0}
    with pytest.raises(
        HilError, match=r"\d columns have only cells that can be written and read; 8 are needed"
    ):
        run(measure_line_resistance, open_twin((64, 24), **stuck), WIRES)
