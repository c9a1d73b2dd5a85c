"""Other devices on the same model: written by their own recipes, they do what their references say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from eapu_hil.base.packaged import packaged_names
from eapu_hil.bench import Bench, open_bench
from eapu_hil.bench.forming import form
from eapu_hil.hal import Cells, CellStatus, FloatArray, Polarity, Pulses, Targets

DEVICES = ("rram_180nm", "rram_cmo_hfox", "pcm", "fefet", "mram")
QUIET = (
    "read_noise.enabled=false",
    "faults.stuck_fraction=0",
    "adc.gain_error_sd=0",
    "adc.offset_error_sd=0",
)


def opened(preset: str, *overrides: str) -> list[str]:
    return [f"preset={preset}", "arrays=1", "shape=[48, 32]", *(f"overrides.{one}" for one in overrides)]


def written(bench: Bench, wait_s: float) -> tuple[float, FloatArray, FloatArray]:
    """Share of random targets that were reached, their errors (S) then, and after `wait_s`."""
    array = bench.arrays[0]
    cells = Cells.all(array.shape)
    form(array, cells, bench.recipe)
    recipe = bench.recipe
    targets_S = np.random.default_rng(3).uniform(recipe.g_min_S, recipe.g_max_S, len(cells))
    outcome = array.program(Targets(cells, targets_S))
    good = outcome.status == CellStatus.OK
    array.wait(wait_s)
    later_S = array.read(cells, recipe.v_read_v).g_S
    return float(good.mean()), (outcome.g_after_S - targets_S)[good], (later_S - targets_S)[good]


def test_the_devices_are_packaged() -> None:
    assert {*DEVICES, "rram_daffodil", "ideal"} == set(packaged_names("presets"))


@pytest.mark.parametrize("device", DEVICES)
def test_its_own_recipe_writes_nearly_every_cell(device: str) -> None:
    with open_bench("twin", opened(device), commission=False) as bench:
        share, error_S, _ = written(bench, 1.0)
        assert share > 0.97
        assert error_S.std() < 0.6 * bench.recipe.band_S


def test_cmo_hfox_loses_what_was_published_in_an_hour() -> None:
    """Mean -0.0890 ln t uS and sd 0.042 ln t + 0.412 uS, of any state: arXiv 2502.04524."""
    with open_bench("twin", opened("rram_cmo_hfox", *QUIET), commission=False) as bench:
        _, before_S, after_S = written(bench, 3600.0)
        change_uS = 1e6 * (after_S - before_S)
        assert change_uS.mean() == pytest.approx(-0.089 * np.log(3600), abs=0.08)
        assert change_uS.std() == pytest.approx(0.042 * np.log(3600) + 0.412, rel=0.15)


def test_pcm_drifts_by_its_power_law() -> None:
    """g ((t + 20 s) / 20 s)^-nu with nu = 0.049 above a fifth of the range."""
    with open_bench("twin", opened("pcm", *QUIET), commission=False) as bench:
        array = bench.arrays[0]
        cells = Cells.all(array.shape)
        array.program(Targets(cells, np.full(len(cells), 15e-6)))
        first_S = array.read(cells, 0.2).g_S
        began_s = array.clock_s()
        for time_s in (1e3, 1e4, 1e5):
            array.wait(began_s + time_s - array.clock_s())
            left = array.read(cells, 0.2).g_S.mean() / first_S.mean()
            assert left == pytest.approx(
                ((time_s + 20) / 20) ** -0.049, abs=0.07
            )  # a line stands for the power


def test_pcm_resets_whole() -> None:
    with open_bench("twin", opened("pcm", *QUIET), commission=False) as bench:
        array, recipe = bench.arrays[0], bench.recipe
        cells = Cells.all(array.shape)
        array.program(Targets(cells, np.full(len(cells), 20e-6)))
        ramp = recipe.reset.amplitude
        array.pulse(
            Pulses.same(cells, Polarity.RESET, ramp.start_v, recipe.reset.gate_v, recipe.reset.width_s)
        )
        assert np.percentile(array.read(cells, 0.2).g_S, 95) < 1e-6


def test_mram_has_as_many_levels_as_elements_and_one() -> None:
    with open_bench(
        "twin", opened("mram", *QUIET, "circuit.line_resistance_ohm=0"), commission=False
    ) as bench:
        written(bench, 0.0)
        array = bench.arrays[0]
        step_S = (160e-6 - 70e-6) / 16
        level = (array.read(Cells.all(array.shape), 0.2).g_S - 70e-6) / step_S
        assert np.abs(level - np.rint(level)).max() < 0.05
        assert len(np.unique(np.rint(level))) == 17


def test_elements_switch_each_on_its_own() -> None:
    """One pulse that switches an element with probability p: binomial, mean 16 p, variance 16 p (1 - p)."""
    even = ("variation.enabled=false", "circuit.line_resistance_ohm=0")
    with open_bench("twin", opened("mram", *QUIET, *even), commission=False) as bench:
        array, recipe = bench.arrays[0], bench.recipe
        cells = Cells.all(array.shape)
        gate_v = 0.5 + 160e-6 / 80e-6  # the whole window is within reach
        array.pulse(Pulses.same(cells, Polarity.SET, 0.9, gate_v, 0.5e-8))
        on = (array.read(cells, recipe.v_read_v).g_S - 70e-6) / (90e-6 / 16)
        p = 1 - np.exp(-0.5)
        assert on.mean() == pytest.approx(16 * p, rel=0.03)
        assert on.var() == pytest.approx(16 * p * (1 - p), rel=0.15)


def test_wear_of_binary_elements_counts_pulses_that_switch(open_twin: Callable[..., Bench]) -> None:
    bench = open_twin("mram", (8, 8), **{"endurance.cycles": 6.0, "endurance.log_sd": 0.0})
    array, recipe = bench.arrays[0], bench.recipe
    cells = Cells.all(array.shape)
    ends = []
    for number in range(24):
        g_S = (recipe.g_max_S, recipe.g_min_S)[number % 2]
        ends.append((array.program(Targets(cells, np.full(len(cells), g_S))).status == CellStatus.OK).mean())
    assert ends[0] > 0.8
    assert ends[-1] < 0.7  # half of the dead end at the other state
