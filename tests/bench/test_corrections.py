"""Corrections of reads and products: what the passport holds of them, and what they do to requests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eapu_hil.bench.array import BenchArray
from eapu_hil.bench.corrections import Corrections, LineGains, line_gains, read_offset_a
from eapu_hil.bench.interlock import Interlock
from eapu_hil.bench.ledger import ArrayLedger
from eapu_hil.bench.passport import Chip
from eapu_hil.hal import Cells, Direction, HilError, Limits, Targets
from eapu_hil.hal.recipe import Recipe

SHAPE = (3, 4)
NO_ARRAYS: dict[str, np.ndarray] = {}
CELL = Cells(np.array([2]), np.array([3]))
Made = tuple[Any, BenchArray, ArrayLedger]


@pytest.fixture
def chip(tmp_path: Path) -> Chip:
    return Chip.create(tmp_path / "chip", "fake", "serial-1", SHAPE, 2)


@pytest.fixture
def made(make_crossbar: Callable[..., Any], limits: Limits, recipe: Recipe, tmp_path: Path) -> Made:
    """A fake device of 6 x 4 cells, its array on a bench, and that one's ledger."""
    device = make_crossbar()
    ledger = ArrayLedger(tmp_path / "ledger", device.shape)
    interlock = Interlock(device, limits, "array 0")
    return device, BenchArray(device, interlock, recipe, ledger, Corrections.none(device.shape)), ledger


def test_the_offset_of_the_reads_is_taken_off_readings_and_added_to_targets(made: Made) -> None:
    device, array, _ = made
    plain_S = array.read(CELL, 0.2).g_S
    array.corrections.read_offset_a = np.full(array.shape[1], 1e-6)
    array.corrections.read_offset_a[CELL.col] = -0.4e-6
    np.testing.assert_allclose(array.read(CELL, 0.2).g_S, plain_S + 2e-6)
    np.testing.assert_allclose(array.read(CELL, -0.1).g_S, plain_S - 4e-6)
    outcome = array.program(Targets(CELL, np.array([1e-5])))
    ((sent, _),) = [request for name, request in device.sent if name == "program"]
    np.testing.assert_allclose(sent.g_target_S, 1e-5 - 2e-6)
    np.testing.assert_allclose(outcome.g_after_S, 1e-5)


def gains(rng: np.random.Generator) -> LineGains:
    rows, columns, rows_driven, columns_driven = (rng.uniform(0.9, 1.1, n) for n in (6, 4, 6, 4))
    return LineGains(columns, rows, rows_driven, columns_driven, rng.normal(0, 1e-6, 4))


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("some", [False, True])
def test_products_are_those_of_the_cells_as_they_read(made: Made, direction: Direction, some: bool) -> None:
    """The device's lines have gains, and the reads an offset that its products do not see."""
    device, array, _ = made
    rng = np.random.default_rng(0)
    device.g_S[...] = rng.uniform(1e-6, 40e-6, device.shape)
    found = gains(rng)
    plain = device.vmm

    def with_gains(v_v: Any, direction: Direction, lines_in: Any, lines_out: Any) -> np.ndarray:
        forward = direction is Direction.FORWARD
        driven, measured = (
            (found.rows_driven, found.columns) if forward else (found.columns_driven, found.rows)
        )
        driven = driven if lines_in is None else driven[lines_in]
        measured = measured if lines_out is None else measured[lines_out]
        return np.asarray(plain(v_v * driven, direction, lines_in, lines_out) * measured)

    device.vmm = with_gains
    array.corrections.gains = found
    reads_S = device.g_S + found.read_offset_S
    matrix_S = reads_S if direction is Direction.FORWARD else reads_S.T
    lines_in, lines_out = (np.array([2, 0, 1]), np.array([3, 1])) if some else (None, None)
    if some:
        matrix_S = matrix_S[lines_in][:, lines_out]
    v_v = rng.uniform(-0.2, 0.2, (5, matrix_S.shape[0]))
    np.testing.assert_allclose(array.vmm(v_v, direction, lines_in, lines_out), v_v @ matrix_S, rtol=1e-9)


def test_no_line_gets_more_than_was_asked_for(made: Made) -> None:
    device, array, ledger = made
    array.corrections.gains = gains(np.random.default_rng(0))
    array.vmm(np.full((2, 6), 0.5), Direction.FORWARD)
    ((_, applied_v),) = device.sent
    assert applied_v.max() == 0.5
    assert applied_v.min() < 0.46
    assert ledger.snapshot()["vmm_vectors"] == 2


def test_without_known_gains_products_are_as_measured(made: Made) -> None:
    device, array, _ = made
    v_v = np.full((2, 6), 0.1, np.float32)
    array.vmm(v_v, Direction.FORWARD)
    ((_, applied_v),) = device.sent
    assert applied_v.dtype == np.float32
    assert np.array_equal(applied_v, v_v)


def test_line_gains_are_those_of_the_array_and_the_last(chip: Chip) -> None:
    rows, columns = SHAPE
    assert line_gains(chip, 0) is None
    for array, gain in ((0, 1.1), (0, 1.2), (1, 1.3)):
        values = {"array": array}
        values |= {
            "forward": {"gain": {"value": [gain] * columns}, "driven_gain": {"value": [1.5] * rows}},
            "transposed": {"gain": {"value": [gain] * rows}, "driven_gain": {"value": [1.6] * columns}},
            "read_offset_S": {"value": [2e-7] * columns},
        }
        chip.record("product_accuracy", values, NO_ARRAYS, 0.0)
    first, second = line_gains(chip, 0), line_gains(chip, 1)
    assert first is not None
    assert second is not None
    assert first.columns.tolist() == [1.2] * columns
    assert second.rows.tolist() == [1.3] * rows
    assert first.rows_driven.tolist() == [1.5] * rows
    assert first.columns_driven.tolist() == [1.6] * columns
    assert first.read_offset_S.tolist() == [2e-7] * columns


@pytest.mark.parametrize("gain", [[1.0], None, "x", [0.0] * 64])
def test_damaged_line_gains_are_named(chip: Chip, gain: object) -> None:
    values = {"array": 0, "forward": {"gain": {"value": gain}}, "transposed": {"gain": {"value": [1.0]}}}
    chip.record("product_accuracy", values, NO_ARRAYS, 0.0)
    with pytest.raises(HilError, match=r"0001_product_accuracy\.yaml: damaged"):
        line_gains(chip, 0)


def test_the_offset_of_the_reads_is_that_of_the_array_and_the_last(chip: Chip) -> None:
    columns = SHAPE[1]
    assert read_offset_a(chip, 0).tolist() == [0.0] * columns
    for array, offset_a in ((0, 1e-7), (0, 2e-7), (1, 3e-7)):
        values = {"array": array, "read_offset_a": {"value": [offset_a] * columns}}
        chip.record("forming", values, NO_ARRAYS, 0.0)
    chip.record("forming", {"array": 0}, NO_ARRAYS, 0.0)  # by an earlier version
    assert read_offset_a(chip, 0).tolist() == [2e-7] * columns
    assert read_offset_a(chip, 1).tolist() == [3e-7] * columns


@pytest.mark.parametrize(
    "offset", [{"value": [1.0]}, {"value": "x"}, {}, [0.0] * 64, {"value": [np.nan] * 64}]
)
def test_a_damaged_offset_of_the_reads_is_named(chip: Chip, offset: object) -> None:
    chip.record("forming", {"array": 0, "read_offset_a": offset}, NO_ARRAYS, 0.0)
    with pytest.raises(HilError, match=r"0001_forming\.yaml: damaged"):
        read_offset_a(chip, 0)
