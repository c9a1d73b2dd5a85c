"""Converters at the lines: steps, saturation, errors of each line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from eapu_hil.hal import FloatArray, HilError
from eapu_hil.twin.converters import InputConverter, OutputConverters
from eapu_hil.twin.kernels.noise import normal, seeded
from eapu_hil.twin.preset import Adc, Dac

RANGES_A = [1e-5, 1e-4]
ARRAY = np.array([0])


def dac(bits: int | None = 8, full_scale_v: float = 0.25) -> InputConverter:
    return InputConverter(Dac(bits=bits, v_full_scale_v=full_scale_v))


def adc(bits: int | None = 12, lines: int = 5, seed: int = 0, **errors: float) -> OutputConverters:
    law: dict[str, Any] = {"noise_relative": 0.0, "gain_error_sd": 0.0, "offset_error_sd": 0.0, **errors}
    return OutputConverters(
        Adc(bits=bits, read_full_scale_a=RANGES_A[-1], product_ranges_a=RANGES_A, **law),
        RANGES_A,
        lines,
        [np.random.default_rng(seed)],
    )


def measure(
    converters: OutputConverters, current_a: FloatArray, variance_a2: FloatArray | None = None
) -> FloatArray:
    own = None if variance_a2 is None else np.ascontiguousarray(variance_a2[None], np.float32)
    measured_a = converters.convert(current_a[None].copy(), own, ARRAY, None, seeded([1]))
    return np.asarray(measured_a[0], np.float64)


voltages = hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(-0.25, 0.25))
currents = hnp.arrays(np.float64, (3, 5), elements=st.floats(-3e-4, 3e-4))


@given(voltages, st.integers(2, 14))
def test_dac_rounds_to_the_nearest_step(v_v: FloatArray, bits: int) -> None:
    step_v = 0.25 / (2 ** (bits - 1) - 1)
    out_v = dac(bits).convert(v_v)
    assert np.abs(out_v - v_v).max() <= step_v * (0.5 + 1e-3)
    codes = out_v / step_v
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-3)
    np.testing.assert_array_equal(dac(bits).convert(-v_v), -out_v)


@given(voltages)
def test_dac_without_bits_is_exact(v_v: FloatArray) -> None:
    np.testing.assert_array_equal(dac(None).convert(v_v), v_v)


def test_dac_reaches_zero_and_both_ends() -> None:
    np.testing.assert_allclose(dac().convert(np.array([-0.25, 0.0, 0.25])), [-0.25, 0.0, 0.25], rtol=1e-6)


@pytest.mark.parametrize("v_v", [0.2502 + 0.001, -0.4])
def test_dac_refuses_what_it_cannot_reach(v_v: float) -> None:
    with pytest.raises(HilError, match=r"dac\.v_full_scale_v"):
        dac().convert(np.array([0.1, v_v]))


@given(currents, st.integers(4, 14))
def test_adc_rounds_to_the_nearest_step_of_the_range_in_use_and_saturates(
    current_a: FloatArray, bits: int
) -> None:
    measured_a = measure(adc(bits), current_a)
    range_a = RANGES_A[0] if np.abs(current_a).max() <= RANGES_A[0] else RANGES_A[1]
    expected_a = np.clip(current_a, -range_a, range_a)
    step_a = range_a / (2 ** (bits - 1) - 1)
    assert np.abs(measured_a - expected_a).max() <= step_a * (0.5 + 1e-6)
    np.testing.assert_allclose(measured_a / step_a, np.rint(measured_a / step_a), atol=1e-6)


@given(currents)
def test_adc_without_bits_is_exact_and_unbounded(current_a: FloatArray) -> None:
    converters = adc(None)
    np.testing.assert_array_equal(measure(converters, current_a), current_a)


def test_gain_and_offset_belong_to_the_line() -> None:
    lines = 400
    converters = adc(None, lines, gain_error_sd=0.02, offset_error_sd=0.003)
    zero_a = measure(converters, np.zeros((2, lines)))
    np.testing.assert_array_equal(zero_a[0], zero_a[1])
    assert zero_a.std() / RANGES_A[0] == pytest.approx(0.003, rel=0.15)
    gain = (measure(converters, np.full((1, lines), 9e-6)) - zero_a[:1]) / 9e-6
    np.testing.assert_allclose(gain, converters.gain, rtol=1e-6)
    assert gain.std() == pytest.approx(0.02, rel=0.15)
    assert gain.mean() == pytest.approx(1.0, abs=0.005)


def test_errors_are_drawn_from_the_seed() -> None:
    gains = [adc(None, gain_error_sd=0.02, seed=seed).gain for seed in (0, 0, 1)]
    np.testing.assert_array_equal(gains[0], gains[1])
    assert (gains[0] != gains[2]).all()


def test_offset_of_chosen_lines() -> None:
    converters = adc(None, 8, offset_error_sd=0.01)
    every = converters.convert(np.zeros((1, 1, 8)), None, ARRAY, None, seeded([1]))[0]
    some = converters.convert(np.zeros((1, 1, 3)), None, ARRAY, np.array([[6, 1, 3]]), seeded([1]))[0]
    np.testing.assert_array_equal(some, every[:, [6, 1, 3]])


def test_noise_of_the_converter_and_of_the_cells_add_up() -> None:
    converters = adc(None, noise_relative=0.01)
    shape = (40_000, 5)
    variance_a2 = np.broadcast_to(np.array([0.0, 1.0, 4.0, 9.0, 16.0]) * 1e-14, shape)
    noise_a = measure(converters, np.full(shape, 2e-6), variance_a2) - 2e-6
    own_a = 0.01 * RANGES_A[0]
    np.testing.assert_allclose(noise_a.std(axis=0), np.sqrt(own_a**2 + variance_a2[0]), rtol=0.02)
    alone_a = measure(converters, np.full(shape, 2e-6)) - 2e-6
    assert alone_a.std() == pytest.approx(own_a, rel=0.02)
    assert np.corrcoef(noise_a.T)[0, 1] == pytest.approx(0.0, abs=0.03)


def test_all_off_draws_nothing() -> None:
    """An ideal converter leaves the random numbers of others alone."""
    noise, untouched = seeded([3]), seeded([3])
    adc(None).convert(np.ones((1, 2, 5)), None, ARRAY, None, noise)
    assert normal(noise) == normal(untouched)
