from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eapu_hil.bench.counts import LedgerCounts
from eapu_hil.bench.energy import (
    ASSUMPTIONS,
    CORNERS,
    EnergyModel,
    digital_j,
    energy_j,
    gpu_j,
    split_j,
    writes_per_cell,
)

SHAPE = (2, 10, 50)


def counts(**changes: Any) -> LedgerCounts:
    values: dict[str, Any] = {
        "pulses": np.zeros(SHAPE, np.int64),
        "writes": np.zeros(SHAPE, np.int64),
        "verify_reads": np.zeros(SHAPE, np.int64),
        "pulse_energy_j": np.zeros(SHAPE),
        "vmm_vectors": 0,
        "vmm_dac_conversions": 0,
        "vmm_adc_conversions": 0,
        "vmm_power_w": 0.0,
        "verify_power_w": 0.0,
        "pulse_line_v2": 0.0,
    }
    return LedgerCounts(**{**values, **changes})


def test_each_count_is_multiplied_with_its_assumption() -> None:
    reads = np.zeros(SHAPE, np.int64)
    reads[0, 0, :4] = 5
    energy = np.zeros(SHAPE)
    energy[1, 2, 3] = 7e-9
    model = EnergyModel(
        adc_j=2e-12,
        dac_j=3e-12,
        tia_w=5e-6,
        line_capacitance_f=1e-12,
        product_time_s=1e-7,
        read_time_s=2e-6,
    )
    run = counts(
        verify_reads=reads,
        pulse_energy_j=energy,
        vmm_vectors=10,
        vmm_dac_conversions=100,
        vmm_adc_conversions=50,
        vmm_power_w=0.4,
        verify_power_w=0.01,
        pulse_line_v2=25.0,
    )
    found = energy_j(run, model)
    expected = {
        "pulse": 7e-9 + 25e-12,
        "verify": 2e-8,
        "vmm": 4e-8,
        "adc": (50 + 20) * 2e-12,
        "dac": (100 + 20) * 3e-12,
        "tia": (50 * 1e-7 + 20 * 2e-6) * 5e-6,
    }
    assert found == pytest.approx({**expected, "total": sum(expected.values())})
    split = split_j(run, model)
    assert split.total == pytest.approx(found["total"])
    assert split.products == pytest.approx(4e-8 + 50 * 2e-12 + 100 * 3e-12 + 50 * 1e-7 * 5e-6)


def test_corners_are_ordered_and_every_parameter_has_a_source() -> None:
    low, typical, high = (vars(EnergyModel.corner(corner)) for corner in CORNERS)
    assert typical == vars(EnergyModel())
    for name, value in typical.items():
        assert low[name] <= value <= high[name]
        assert ASSUMPTIONS[name].source


def test_digital_and_gpu_grow_with_weights_steps_and_reuse() -> None:
    model = EnergyModel(optimizer_j=90e-12, gradient_mac_j=4.6e-12)
    assert digital_j(1000, 10, 32.0, model) == pytest.approx(1000 * 10 * (90e-12 + 32 * 4.6e-12))
    # A million weights, one product each, at 20.5 pJ an operation.
    assert gpu_j(10**6, 1, 1.0, 20.5e-12) == pytest.approx(6e6 * 20.5e-12)


def test_one_read_of_50_microsiemens_at_0_2_v_for_1_us_is_2_pj() -> None:
    run = counts(verify_power_w=0.2**2 * 50e-6)
    assert energy_j(run, EnergyModel(read_time_s=1e-6))["verify"] == pytest.approx(2e-12)


def test_nothing_counted_is_nothing_spent() -> None:
    assert set(energy_j(counts(), EnergyModel()).values()) == {0.0}


def test_writes_per_cell() -> None:
    writes = np.ones(SHAPE, np.int64)
    writes[0, 0, 0] = 101
    found = writes_per_cell(counts(writes=writes))
    assert found["mean"] == pytest.approx(1.1)
    assert found["p50"] == 1.0
    assert found["max"] == 101.0
    assert 1.0 < found["p999"] < 101.0
    used = np.zeros(SHAPE, dtype=bool)
    used[0, 0, :2] = True
    assert writes_per_cell(counts(writes=writes), used)["mean"] == pytest.approx(51.0)
    assert writes_per_cell(counts(writes=writes), ~used)["max"] == 1.0
    assert writes_per_cell(counts(), np.zeros(SHAPE, dtype=bool))["max"] == 0.0
