"""The packaged recipes against the twin of their device."""

from __future__ import annotations

import numpy as np
import pytest

from eapu_hil.base.loading import load_model
from eapu_hil.bench import open_bench
from eapu_hil.bench.config import BenchConfig
from eapu_hil.bench.opening import prepare_for_training
from eapu_hil.hal import Cells, CellStatus, Polarity, Pulses, Targets
from eapu_hil.hal.recipe import Recipe


def test_the_settled_recipe_has_the_increments_of_the_same_cells() -> None:
    plain, settled = (load_model(Recipe, f"rram_180nm{end}", (), "recipes") for end in ("", "_settled"))
    assert settled.increment == plain.increment is not None


@pytest.mark.parametrize("device", ["rram_180nm", "rram_cmo_hfox", "rram_daffodil", "fefet", "mram"])
def test_an_increment_moves_the_mean_cell_by_its_step(device: str) -> None:
    """Both ways, from the middle of the window; what the cells do by themselves is taken off."""
    config = load_model(BenchConfig, "twin", {"preset": device, "arrays": 1}, "benches")
    recipe, increment = config.recipe, config.recipe.increment
    assert increment is not None
    chosen = np.random.default_rng(0).permutation(config.shape[0] * config.shape[1])[:2000]
    cells = Cells(chosen // config.shape[1], chosen % config.shape[1])
    middle_S = np.full(len(cells), (recipe.g_min_S + recipe.g_max_S) / 2)
    moved = []
    with open_bench(config) as bench:
        prepare_for_training(bench)
        array = bench.arrays[0]
        for polarity, amplitude_v, gate_v in (
            (Polarity.SET, increment.set_amplitude_v, increment.set_gate_v),
            (Polarity.RESET, increment.reset_amplitude_v, increment.reset_gate_v),
        ):
            written = array.program(Targets(cells, middle_S), recipe).status == CellStatus.OK
            before_S = array.read(cells, recipe.v_read_v).g_S
            array.pulse(Pulses.same(cells, polarity, amplitude_v, gate_v, increment.width_s))
            after_S = array.read(cells, recipe.v_read_v).g_S
            moved.append(float((after_S - before_S)[written].mean()))
    up_S, down_S = moved
    assert (up_S - down_S) / 2 == pytest.approx(increment.step_S, rel=0.25)
    assert up_S > 0 > down_S


def test_products_have_the_voltage_of_the_reads_unless_they_are_given_one() -> None:
    plain, other = (load_model(Recipe, "rram_180nm", more, "recipes") for more in ({}, {"v_in_max_v": 0.1}))
    assert plain.v_in_max_v == plain.v_read_v == other.v_read_v == 0.2
    assert other.v_in_max_v == 0.1
