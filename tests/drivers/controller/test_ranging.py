from __future__ import annotations

from collections.abc import Callable

import numpy as np
from eapu_drivers.controller.ranging import MARGIN, RangeMemory
from eapu_drivers.controller.units import Codes
from hypothesis import given
from hypothesis import strategies as st

RANGES_A = (1.6e-5, 4e-6, 1e-4, 5e-4, 2e-5)  # not in order
TOP = 2047


def batch(current_a: float, used: list[int]) -> Callable[[int], Codes]:
    """A batch whose largest current is `current_a`; notes the ranges that it was measured in."""

    def once(number: int) -> Codes:
        used.append(number)
        code = np.rint(current_a / RANGES_A[number] * TOP)
        return np.array([[0, np.clip(code, -TOP, TOP)]]).astype(np.int16)

    return once


def test_an_unknown_batch_is_measured_in_the_largest_range_and_then_in_the_one_that_fits() -> None:
    memory, used = RangeMemory(RANGES_A, TOP), list[int]()
    codes, full_scale_a = memory.measure("x", batch(1.7e-5, used))
    assert used == [3, 2]
    assert full_scale_a == 1e-4
    assert codes[0, 1] == round(1.7e-5 / 1e-4 * TOP)


def test_the_next_batch_like_it_is_measured_once() -> None:
    memory, used = RangeMemory(RANGES_A, TOP), list[int]()
    memory.measure("x", batch(-1e-5, []))
    memory.measure("x", batch(-1.1e-5, used))
    assert used == [0]
    memory.measure("y", batch(1e-5, used))
    assert used == [0, 3, 0]


def test_a_batch_that_saturates_is_measured_again_in_larger_ranges() -> None:
    memory, used = RangeMemory(RANGES_A, TOP), list[int]()
    memory.measure("x", batch(3e-6, []))
    codes, full_scale_a = memory.measure("x", batch(5e-5, used))
    assert used == [1, 0, 4, 2]
    assert full_scale_a == 1e-4
    assert abs(codes).max() < TOP


def test_what_is_too_large_for_every_range_stays_saturated() -> None:
    codes, full_scale_a = RangeMemory(RANGES_A, TOP).measure("x", batch(1.0, []))
    assert full_scale_a == 5e-4
    assert codes.max() == TOP


def test_it_comes_back_down_for_the_batch_after_the_next() -> None:
    memory, used = RangeMemory(RANGES_A, TOP), list[int]()
    memory.measure("x", batch(4e-4 / MARGIN, []))
    memory.measure("x", batch(1e-5, used))
    memory.measure("x", batch(1e-5, used))
    memory.measure("x", batch(1e-5, used))
    assert used == [3, 2, 4]


def test_zeros_do_not_make_the_next_batch_saturate() -> None:
    memory, used = RangeMemory(RANGES_A, TOP), list[int]()
    memory.measure("x", batch(1e-5, []))
    memory.measure("x", batch(0.0, used))
    memory.measure("x", batch(1e-5, used))
    assert used == [0, 0]


@given(st.lists(st.floats(-1e-3, 1e-3), min_size=1, max_size=20))
def test_nothing_saturates_that_some_range_holds(currents_a: list[float]) -> None:
    memory = RangeMemory(RANGES_A, TOP)
    for current_a in currents_a:
        used: list[int] = []
        codes, _ = memory.measure("x", batch(current_a, used))
        assert len(used) <= len(RANGES_A) + 1
        if abs(current_a) < 0.999 * max(RANGES_A):
            assert np.abs(codes).max() < TOP
