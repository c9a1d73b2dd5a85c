"""Placement of matrices on arrays, and products with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack

import numpy as np
import pytest
from eapu_calibration.calibrate import calibrate
from eapu_calibration.plan import FORMING, load_plan
from hypothesis import given
from hypothesis import strategies as st

from eapu_hil.bench import Bench, open_bench
from eapu_hil.hal import Cells, ConfigError, FloatArray, Limits, Targets
from eapu_hil.network.layers import Float32Array
from eapu_hil.placement.array_weights import ArrayWeights, HostBackward
from eapu_hil.placement.mapping import WeightTile, cell_indices, place

Layers = Mapping[str, tuple[int, int]]
OpenIdeal = Callable[..., Bench]


def good(shape: tuple[int, int], arrays: int = 1) -> list[FloatArray]:
    return [np.zeros(shape) for _ in range(arrays)]


def used_cells(
    layers: Layers, placed: Mapping[str, Sequence[WeightTile]], columns: int
) -> list[tuple[int, int]]:
    """(array, flat index) of both cells of every weight; fails if a weight has none."""
    cells: list[tuple[int, int]] = []
    for name, shape in layers.items():
        covered = np.zeros(shape, int)
        for tile in placed[name]:
            covered[tile.inputs, tile.outputs] += 1
        assert (covered == 1).all(), f"{name}: weights without a place, or with two"
        array, plus, minus = cell_indices(shape, placed[name], columns)
        for index in (plus, minus):
            cells += zip(array.ravel().tolist(), index.ravel().tolist(), strict=True)
    return cells


shapes = st.tuples(st.integers(1, 30), st.integers(1, 12))


@given(
    st.lists(shapes, min_size=1, max_size=5),
    st.tuples(st.integers(4, 20), st.integers(2, 16)),
    st.integers(0, 2**32 - 1),
)
def test_every_weight_has_two_cells_of_its_own(
    sizes: list[tuple[int, int]], shape: tuple[int, int], seed: int
) -> None:
    layers = {f"layer{number}": size for number, size in enumerate(sizes)}
    rng = np.random.default_rng(seed)
    costs = [np.where(rng.random(shape) < 0.1, rng.random(shape), 0.0) for _ in range(12)]
    try:
        placed = place(layers, costs)
    except ConfigError:
        needed = sum(2 * n_in * n_out for n_in, n_out in sizes)
        assert needed > shape[0] * shape[1]  # one array's worth of cells always fits on twelve
        return
    cells = used_cells(layers, placed, shape[1])
    assert len(set(cells)) == len(cells)
    assert all(0 <= array < 12 and 0 <= flat < shape[0] * shape[1] for array, flat in cells)
    for tiles in placed.values():
        for tile in tiles:
            assert (tile.rows < shape[0]).all()
            assert max(tile.plus.max(), tile.minus.max()) < shape[1]
            assert not np.intersect1d(tile.plus, tile.minus).size


def test_a_network_that_just_fits() -> None:
    layers = {"first": (16, 4), "second": (10, 4), "third": (6, 2)}
    cells = used_cells(layers, place(layers, good((16, 16))), 16)
    assert len(set(cells)) == 2 * (64 + 40 + 12)


def test_too_large_says_what_was_needed_and_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"first 16 x 10.*second 16 x 8.*1 array\(s\) of 16 x 16") as caught:
        place({"first": (16, 5), "second": (16, 4)}, good((16, 16)))
    assert "\n" not in str(caught.value)


def test_an_array_without_a_pair_of_columns() -> None:
    with pytest.raises(ConfigError, match="16 x 1"):
        place({"first": (4, 1)}, good((16, 1)))


def test_bad_columns_are_avoided_while_there_are_spares() -> None:
    costs = good((16, 12))
    costs[0][:, [1, 4, 5]] = 1.0
    costs[0][3, 7] = 0.5
    [tile] = place({"layer": (16, 4)}, costs)["layer"]
    columns = set(np.concatenate([tile.plus, tile.minus]).tolist())
    assert columns == {0, 2, 3, 6, 8, 9, 10, 11}


def test_bad_rows_are_avoided_while_there_are_spares() -> None:
    costs = good((16, 8))
    costs[0][[2, 9]] = 1.0
    [tile] = place({"layer": (14, 4)}, costs)["layer"]
    assert not np.intersect1d(tile.rows, [2, 9]).size


def test_tiles_over_arrays() -> None:
    layers = {"large": (40, 20)}
    placed = place(layers, good((16, 16), 9))
    assert len(placed["large"]) == 9  # 40 rows in three parts, 20 pairs of columns in three
    assert {tile.array for tile in placed["large"]} == set(range(9))
    assert max(tile.rows.size for tile in placed["large"]) == 14  # nearly equal parts
    used_cells(layers, placed, 16)


def test_a_tile_survives_json() -> None:
    [tile] = place({"layer": (14, 4)}, good((16, 8)))["layer"]
    again = WeightTile.from_plain(json.loads(json.dumps(tile.to_plain())))
    for name, value in vars(tile).items():
        np.testing.assert_array_equal(getattr(again, name), value)
    assert again.rows.dtype == np.int64


def test_small_layers_share_an_array() -> None:
    placed = place({"one": (8, 4), "two": (8, 4), "three": (16, 3)}, good((16, 16)))
    used_cells({"one": (8, 4), "two": (8, 4), "three": (16, 3)}, placed, 16)
    assert {tile.array for tiles in placed.values() for tile in tiles} == {0}


@pytest.fixture
def open_ideal(limits: Limits) -> Iterator[OpenIdeal]:
    with ExitStack() as stack:

        def make(shape: tuple[int, int], arrays: int) -> Bench:
            source = {
                "backend": "twin",
                "preset": "ideal",
                "shape": list(shape),
                "arrays": arrays,
                "limits": dict(vars(limits)),
            }
            return stack.enter_context(open_bench(source, commission=False))

        yield make


def written_weights(
    bench: Bench, shape: tuple[int, int], r_wg: float = 0.5e6
) -> tuple[ArrayWeights, FloatArray]:
    """Weights programmed cell by cell, and the matrix that the cells then hold."""
    columns = bench.arrays[0].shape[1]
    placed = place({"layer": shape}, good(bench.arrays[0].shape, len(bench.arrays)))["layer"]
    array, plus, minus = cell_indices(shape, placed, columns)
    matrix = np.zeros(shape)
    rng = np.random.default_rng(0)
    for sign, flat in ((1.0, plus), (-1.0, minus)):
        targets_S = rng.uniform(2e-6, 38e-6, shape)
        for number, crossbar in enumerate(bench.arrays):
            here = array == number
            cells = Cells(flat[here] // columns, flat[here] % columns)
            crossbar.program(Targets(cells, targets_S[here]))
            matrix[here] += sign * r_wg * crossbar.read(cells, 0.2).g_S
    return ArrayWeights(shape, bench.arrays, placed, r_wg, 0.2), matrix


@pytest.mark.parametrize(
    ("shape", "arrays"), [((12, 5), 1), ((16, 4), 1), ((33, 7), 6)], ids=["part", "whole height", "tiled"]
)
def test_products_are_those_of_the_matrix(open_ideal: OpenIdeal, shape: tuple[int, int], arrays: int) -> None:
    weights, matrix = written_weights(open_ideal((16, 10), arrays), shape)
    assert weights.shape == shape
    rng = np.random.default_rng(1)
    x: Float32Array = rng.normal(size=(6, shape[0])).astype(np.float32)
    d: Float32Array = (1e-3 * rng.normal(size=(6, shape[1]))).astype(np.float32)
    for result, expected in ((weights.forward(x), x @ matrix), (weights.backward(d), d @ matrix.T)):
        assert result.dtype == np.float32
        assert result.shape == expected.shape
        assert np.abs(result - expected).max() < 2e-6 * np.abs(expected).max()


def test_zero_inputs(open_ideal: OpenIdeal) -> None:
    weights, _ = written_weights(open_ideal((16, 10), 1), (12, 5))
    assert (weights.forward(np.zeros((2, 12), np.float32)) == 0).all()
    assert weights.forward(np.zeros((0, 12), np.float32)).shape == (0, 5)


def test_the_largest_input_gets_the_read_voltage(open_ideal: OpenIdeal) -> None:
    """Whatever the scale of the inputs, the converters use their range and never more."""
    bench = open_ideal((16, 10), 1)
    weights, matrix = written_weights(bench, (12, 5))
    before = bench.ledger.snapshot()
    x = np.zeros((1, 12), np.float32)
    x[0, 3] = -1e5
    result = weights.forward(x)
    np.testing.assert_allclose(result, x @ matrix, rtol=1e-5)
    power_w = (bench.ledger.snapshot() - before).vmm_power_w
    line_S = float(bench.arrays[0].read(Cells.block(3, 4, 0, 10), 0.2).g_S.sum())
    assert power_w == pytest.approx(0.2**2 * line_S, rel=1e-3)


def test_host_backward_uses_the_matrix_it_was_given(open_ideal: OpenIdeal) -> None:
    weights, matrix = written_weights(open_ideal((16, 10), 1), (12, 5))
    other = np.random.default_rng(2).normal(size=(12, 5)).astype(np.float32)
    host = HostBackward(weights, other)
    assert host.shape == (12, 5)
    x, d = np.ones((1, 12), np.float32), np.ones((1, 5), np.float32)
    np.testing.assert_allclose(host.forward(x), x @ matrix, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(host.backward(d), d @ other.T, rtol=1e-6)


def test_line_offsets_do_not_reach_the_sums_over_a_batch(limits: Limits) -> None:
    """A gradient adds up thousands of products, and with them an offset that no single product shows."""
    noisy = {"adc.bits": 12, "adc.offset_error_sd": 0.01, "adc.noise_relative": 5e-4}
    source = {
        "backend": "twin",
        "preset": "ideal",
        "overrides": noisy,
        "shape": (16, 16),
        "limits": vars(limits),
    }
    tile = WeightTile(0, np.arange(16), np.arange(0, 16, 2), np.arange(1, 16, 2), 0, 0)
    rng = np.random.default_rng(5)
    with open_bench(source, commission=False) as bench:
        weights = ArrayWeights((16, 8), bench.arrays, [tile], 1.0, 0.2)  # all cells alike: every weight is 0
        range_a = 4e-6  # the smallest one, in use here
        for product, inputs in ((weights.forward, 16), (weights.backward, 8)):
            values = rng.uniform(-1, 1, (4096, inputs)).astype(np.float32)
            mean_a = np.abs(product(values).mean(axis=0)) * 0.2
            assert mean_a.max() < 0.1 * 0.01 * range_a


def test_calibrated_line_gains_correct_the_products(limits: Limits) -> None:
    """Converters with errors of 5 % in gain and 1 % in offset: less than a fifth of the error of a product is left."""
    overrides = {
        "adc.bits": 12,
        "adc.read_full_scale_a": 2e-5,
        "adc.product_ranges_a": [4e-6, 2e-5, 1e-4, 5e-4],
        "adc.gain_error_sd": 0.05,
        "adc.offset_error_sd": 0.01,  # of 20 uA: 1 uS in each read of a column
        "circuit.line_resistance_ohm": 1.0,
    }
    source = {"backend": "twin", "preset": "ideal", "shape": [32, 24], "arrays": 1, "overrides": overrides,
              "limits": dict(vars(limits))}  # fmt: skip
    rng = np.random.default_rng(3)
    with open_bench(source, commission=False) as bench:
        array = bench.arrays[0]
        plan = load_plan(
            {
                "measurements": {
                    "product_accuracy": {
                        "vectors": 64,
                        "v_in_v": 0.2,
                        "reads": 8,
                        "settle_s": 0.0,
                        "batch": 64,
                    }
                }
            }
        )
        assert array.corrections.gains is None
        names = [FORMING, "product_accuracy"]
        calibrate(bench, 0, plan, names, seed=1, progress_of=lambda _: lambda _: None)
        cells = Cells.all((32, 24))
        array.program(Targets(cells, rng.uniform(1e-6, 40e-6, len(cells))))
        g_S = array.read(cells, 0.2).g_S.reshape(32, 24)
        tile = WeightTile(0, np.arange(32), np.arange(0, 24, 2), np.arange(1, 24, 2), 0, 0)
        matrix = 1e5 * (g_S[:, tile.plus] - g_S[:, tile.minus])
        x, d = (rng.uniform(-1, 1, (200, n)).astype(np.float32) for n in (32, 12))
        weights = ArrayWeights((32, 12), bench.arrays, [tile], 1e5, 0.2)
        calibrated = array.corrections.gains
        for product, given, exact, left in (
            ("forward", x, x @ matrix, 0.2),
            ("backward", d, d @ matrix.T, 0.2),
        ):
            errors = []
            for array.corrections.gains in (None, calibrated):
                errors.append(np.std(getattr(weights, product)(given) - exact))
            assert errors[1] < left * errors[0], (product, errors)
