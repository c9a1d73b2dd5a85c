"""The crossbar's wires against a nodal solve that knows nothing of rows, blocks or reciprocity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.linalg import splu

from eapu_hil.hal import FloatArray, IntArray
from eapu_hil.twin.circuit import TOLERANCE, LineNetwork
from eapu_hil.twin.elimination import Elimination
from eapu_hil.twin.kernels.rows import drive_row

SHAPES = [(1, 1), (1, 6), (7, 1), (2, 2), (9, 5), (4, 11), (24, 16)]
# of the largest conductance: entries after writes, between two eliminations
FOLLOWED = 3e-4
SEGMENTS_OHM = [(1.0, 1.0), (2.5, 40.0), (0.0, 30.0), (30.0, 0.0), (3e3, 1e3)]


def nodal_currents(
    g_S: FloatArray, row_ohm: float, col_ohm: float, v_row_v: FloatArray, v_col_v: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Currents into the rows' ends and out of the columns' ends, from Kirchhoff's law at every node."""
    m, n = g_S.shape
    row_end, col_end = np.arange(m), m + np.arange(n)
    inner = m + n + np.arange(m * n).reshape(m, n)
    # a line without resistance is one node: its end
    row_node = inner if row_ohm > 0 else np.broadcast_to(row_end[:, None], (m, n))
    col_node = inner + m * n if col_ohm > 0 else np.broadcast_to(col_end, (m, n))
    resistors: list[tuple[IntArray, IntArray, FloatArray | float]] = [(row_node, col_node, g_S)]
    if row_ohm > 0:
        resistors.append((row_end, row_node[:, 0], 1 / row_ohm))
        resistors.append((row_node[:, :-1], row_node[:, 1:], 1 / row_ohm))
    if col_ohm > 0:
        resistors.append((col_node[-1], col_end, 1 / col_ohm))
        resistors.append((col_node[:-1], col_node[1:], 1 / col_ohm))
    a = np.concatenate([one.ravel() for one, _, _ in resistors])
    b = np.concatenate([other.ravel() for _, other, _ in resistors])
    y = np.concatenate([np.broadcast_to(value, one.shape).ravel() for one, _, value in resistors])
    used, index = np.unique(np.concatenate([row_end, col_end, a, b]), return_inverse=True)
    a, b = np.split(index[m + n :], 2)
    laplacian = coo_array(
        (np.concatenate([y, y, -y, -y]), (np.concatenate([a, b, a, b]), np.concatenate([a, b, b, a]))),
        shape=(used.size, used.size),
    ).tocsc()
    ends = m + n
    v = np.concatenate([v_row_v, v_col_v])
    current = laplacian[:ends, :ends] @ v
    if used.size > ends:
        solve = splu(laplacian[ends:, ends:]).solve
        current -= laplacian[:ends, ends:] @ solve(laplacian[ends:, :ends] @ v)
    return current[:m], -current[m:]


def nodal_transfer(g_S: FloatArray, row_ohm: float, col_ohm: float) -> FloatArray:
    m, n = g_S.shape
    grounded = np.zeros(n)
    return np.array([nodal_currents(g_S, row_ohm, col_ohm, one, grounded)[1] for one in np.eye(m)])


def some_array(shape: tuple[int, int], seed: int = 0) -> FloatArray:
    """Conductances up to 100 uS, a tenth of the cells open."""
    rng = np.random.default_rng([seed, *shape])
    return rng.uniform(1e-6, 1e-4, shape) * (rng.random(shape) > 0.1)


def assert_same(actual: FloatArray, expected: FloatArray, scale: float = 0.0) -> None:
    atol = 1e-10 * max(scale, float(np.abs(expected).max()))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("segments_ohm", SEGMENTS_OHM)
@pytest.mark.parametrize("shape", SHAPES)
def test_transfer_is_the_nodal_solution(shape: tuple[int, int], segments_ohm: tuple[float, float]) -> None:
    g_S = some_array(shape)
    assert_same(LineNetwork(shape, *segments_ohm).transfer(g_S), nodal_transfer(g_S, *segments_ohm))


def test_a_full_size_array() -> None:
    rng = np.random.default_rng(1)
    g_S = rng.uniform(2e-6, 4e-5, (128, 64))
    v_row_v = rng.uniform(-0.2, 0.2, 128)
    _, expected = nodal_currents(g_S, 1.0, 1.0, v_row_v, np.zeros(64))
    assert_same(v_row_v @ LineNetwork((128, 64), 1.0, 1.0).transfer(g_S), expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_driven_from_the_columns_it_is_the_transpose(shape: tuple[int, int]) -> None:
    g_S = some_array(shape)
    v_col_v = np.random.default_rng(2).uniform(-0.2, 0.2, shape[1])
    i_row, _ = nodal_currents(g_S, 5.0, 80.0, np.zeros(shape[0]), v_col_v)
    assert_same(v_col_v @ LineNetwork(shape, 5.0, 80.0).transfer(g_S).T, -i_row)


def test_without_resistance_it_is_the_conductance_bit_for_bit() -> None:
    network = LineNetwork((9, 5), 0.0, 0.0)
    for seed in range(2):
        g_S = some_array((9, 5), seed)
        np.testing.assert_array_equal(network.transfer(g_S), g_S)
        np.testing.assert_array_equal(network.attenuation(g_S), np.ones((9, 5)))


def test_an_array_of_open_cells_carries_no_current() -> None:
    network = LineNetwork((4, 3), 2.0, 2.0)
    np.testing.assert_array_equal(network.transfer(np.zeros((4, 3))), np.zeros((4, 3)))
    g_S = np.zeros((4, 3))
    g_S[1, 2] = 1e-4
    # the only path: three segments of the row, the cell, three segments of the column
    assert network.transfer(g_S)[1, 2] == pytest.approx(1 / (1e4 + 6 * 2.0), rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 24), st.integers(1, 24)),  # of few cells, and of more
    segments_ohm=st.tuples(st.sampled_from([0.0, 1.0, 200.0]), st.sampled_from([0.0, 1.0, 200.0])),
    batches=st.lists(st.integers(0, 12), min_size=1, max_size=8),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_sequence_of_writes_gives_what_a_fresh_start_gives(
    shape: tuple[int, int], segments_ohm: tuple[float, float], batches: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    g_S = some_array(shape, seed)
    network = LineNetwork(shape, *segments_ohm)
    network.transfer(g_S)
    for count in batches:
        written = rng.integers(g_S.size, size=count)
        g_S.flat[written] = rng.uniform(0, 1e-4, count) * (rng.random(count) > 0.2)
        fresh = LineNetwork(shape, *segments_ohm).transfer(g_S)
        np.testing.assert_allclose(network.transfer(g_S), fresh, rtol=0, atol=FOLLOWED * 1e-4)
    expected = nodal_transfer(g_S, *segments_ohm)
    np.testing.assert_allclose(network.transfer(g_S), expected, rtol=0, atol=FOLLOWED * 1e-4)


def column_error(actual: FloatArray, expected: FloatArray) -> float:
    """Largest over the columns: rms of the error over rms of the column."""
    missed, whole = np.square(actual - expected).sum(axis=0), np.square(expected).sum(axis=0)
    return float(np.sqrt(missed / whole).max())


@pytest.mark.parametrize("shape", [(40, 24), (24, 40)])
def test_writes_are_followed_and_many_are_a_new_elimination(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    g_S = rng.uniform(2e-6, 4e-5, shape)
    network = LineNetwork(shape, 2.0, 2.0)
    network.transfer(g_S)
    steps = 0
    while network.eliminations == 1:
        steps += 1
        written = rng.choice(g_S.size, 5, replace=False)
        g_S.flat[written] = rng.uniform(2e-6, 4e-5, 5)
        transfer_S = network.update(written, g_S.flat[written])
        assert column_error(transfer_S, LineNetwork(shape, 2.0, 2.0).transfer(g_S)) < TOLERANCE
    assert 3 <= steps <= 1000
    g_S *= 4.0
    assert_same(network.transfer(g_S), nodal_transfer(g_S, 2.0, 2.0))
    assert network.eliminations == 3


@pytest.mark.parametrize(("segment_ohm", "entry_S"), [(0.35, 0.0043e-6), (1.0, 0.01e-6)])
def test_a_full_size_array_follows_writes_and_relaxation(segment_ohm: float, entry_S: float) -> None:
    """White noise of a product is some 4e-3 of each cell; the closed form is off by a fiftieth of it at most."""
    rng = np.random.default_rng(5)
    shape = (128, 64)
    g_S = rng.uniform(1e-6, 4e-5, shape)
    network = LineNetwork(shape, segment_ohm, segment_ohm)
    network.transfer(g_S)
    for step in range(60):
        written = rng.choice(g_S.size, int(rng.integers(8, 41)), replace=False)
        g_S.flat[written] = rng.uniform(1e-6, 4e-5, written.size)
        if step % 10 == 9:
            written = np.arange(g_S.size)
            g_S = np.maximum(g_S + rng.normal(-0.1e-6, 0.5e-6, shape), 1e-7)
        transfer_S = network.update(written, g_S.flat[written])
        if step % 10 in (8, 9):
            exact_S = LineNetwork(shape, segment_ohm, segment_ohm).transfer(g_S)
            assert column_error(transfer_S, exact_S) < 1.5 * TOLERANCE
            assert np.abs(transfer_S - exact_S).max() < entry_S
    assert network.eliminations <= 12


def test_the_limit_is_tightened_where_the_closed_form_is_not_good_enough() -> None:
    """Wires that take most of the voltage: what one written cell does to other lines counts."""
    rng = np.random.default_rng(6)
    shape = (24, 16)
    g_S = rng.uniform(2e-5, 1e-4, shape)
    network = LineNetwork(shape, 100.0, 100.0)
    network.transfer(g_S)
    errors = []
    for _ in range(40):
        written = rng.choice(g_S.size, 2, replace=False)
        g_S.flat[written] *= rng.uniform(0.98, 1.02, 2)
        errors.append(column_error(network.transfer(g_S), LineNetwork(shape, 100.0, 100.0).transfer(g_S)))
    assert max(errors[10:]) < 3 * TOLERANCE


def test_an_update_is_what_transfer_finds_by_itself() -> None:
    rng = np.random.default_rng(7)
    g_S = rng.uniform(2e-6, 4e-5, (30, 20))
    told, seeing = LineNetwork((30, 20), 1.0, 3.0), LineNetwork((30, 20), 1.0, 3.0)
    told.transfer(g_S)
    seeing.transfer(g_S)
    for _ in range(100):
        written = np.sort(rng.choice(g_S.size, 9, replace=False))
        g_S.flat[written] = rng.uniform(2e-6, 4e-5, 9)
        np.testing.assert_array_equal(told.update(written, g_S.flat[written]), seeing.transfer(g_S))
        np.testing.assert_array_equal(told.attenuation(g_S), seeing.attenuation(g_S))


def test_an_elimination_in_pieces_is_that_at_once() -> None:
    g_S = some_array((9, 14))
    pieces = Elimination(g_S, 3.0, 8.0)
    done = []
    while pieces.done < 1.0:
        pieces.advance(0.0)
        done.append(pieces.done)
    assert len(done) > 20
    assert done == sorted(done)
    at_once = Elimination(g_S, 3.0, 8.0)
    at_once.advance()
    np.testing.assert_array_equal(pieces.transfer_S, at_once.transfer_S)


@pytest.mark.parametrize(
    ("shape", "segment_ohm", "share"), [((150, 140), 1.0, 1e-7), ((140, 150), 10.0, 3e-6)]
)
def test_single_precision_of_wide_blocks_does_not_show(
    shape: tuple[int, int], segment_ohm: float, share: float
) -> None:
    """White noise of such a product is some 3e-4 of its largest currents."""
    g_S = np.random.default_rng(8).uniform(1e-6, 4e-5, shape)
    v_row_v = np.random.default_rng(9).uniform(-0.2, 0.2, (2, shape[0]))
    transfer_S = LineNetwork(shape, segment_ohm, segment_ohm).transfer(g_S)
    for one in v_row_v:
        _, expected = nodal_currents(g_S, segment_ohm, segment_ohm, one, np.zeros(shape[1]))
        np.testing.assert_allclose(one @ transfer_S, expected, rtol=0, atol=share * np.abs(expected).max())


def test_writing_the_same_cells_again_and_back() -> None:
    g_S = some_array((12, 8))
    network = LineNetwork((12, 8), 25.0, 25.0)
    original = network.transfer(g_S).copy()
    block = g_S[3:5, 2:4].copy()
    for factor in (2.0, 0.0, 0.5):
        g_S[3:5, 2:4] = factor * block
        expected = nodal_transfer(g_S, 25.0, 25.0)
        np.testing.assert_allclose(network.transfer(g_S), expected, rtol=0, atol=FOLLOWED * expected.max())
    g_S[3:5, 2:4] = block
    np.testing.assert_allclose(network.transfer(g_S), original, rtol=0, atol=FOLLOWED * original.max())


@pytest.mark.parametrize("segment_ohm", [0.0, 5.0])
def test_results_have_a_version_and_belong_to_who_asked(segment_ohm: float) -> None:
    g_S = some_array((6, 4))
    network = LineNetwork((6, 4), segment_ohm, segment_ohm)
    transfer_S, share = network.transfer(g_S), network.attenuation(g_S)
    version, copies = network.version, (transfer_S.copy(), share.copy())
    np.testing.assert_array_equal(network.transfer(g_S.copy()), transfer_S)
    network.update(np.empty(0, np.int64), np.empty(0))
    assert network.version == version
    g_S[2, 2] += 5e-5  # in place: has to be noticed
    expected = nodal_transfer(g_S, segment_ohm, segment_ohm)
    np.testing.assert_allclose(network.transfer(g_S), expected, rtol=0, atol=FOLLOWED * expected.max())
    assert network.version > version
    network.transfer(g_S)[0, 0] = network.attenuation(g_S)[0, 0] = np.nan
    np.testing.assert_allclose(network.transfer(g_S), expected, rtol=0, atol=FOLLOWED * expected.max())
    for one, copy in zip((transfer_S, share), copies, strict=True):
        np.testing.assert_array_equal(one, copy)


def test_changes_of_a_circuit_that_knows_no_cells_are_refused() -> None:
    with pytest.raises(RuntimeError, match="told of all its cells"):
        LineNetwork((6, 4), 1.0, 1.0).update(np.array([3]), np.array([1e-6]))


@pytest.mark.parametrize("segments_ohm", SEGMENTS_OHM)
@pytest.mark.parametrize("shape", [(1, 1), (6, 4), (3, 7)])
def test_attenuation_is_the_derivative(shape: tuple[int, int], segments_ohm: tuple[float, float]) -> None:
    g_S = some_array(shape) + 1e-5
    expected = np.empty(shape)
    step_S = 1e-9
    for cell in np.ndindex(shape):
        values = []
        for sign in (1, -1):
            moved = g_S.copy()
            moved[cell] += sign * step_S
            values.append(nodal_transfer(moved, *segments_ohm)[cell])
        expected[cell] = (values[0] - values[1]) / (2 * step_S)
    attenuation = LineNetwork(shape, *segments_ohm).attenuation(g_S)
    # the lines of other rows and columns count as held at 0 V, which matters where wires rule
    np.testing.assert_allclose(
        attenuation, expected, rtol=1e-5, atol=0.02 if max(segments_ohm) > 100 else 1e-6
    )
    assert (attenuation > 0).all()
    assert (attenuation < 1 + 1e-12).all()


@pytest.mark.parametrize("segments_ohm", [*SEGMENTS_OHM, (0.0, 0.0)])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_row_driven_alone_is_the_nodal_solution_with_the_other_rows_off(
    shape: tuple[int, int], segments_ohm: tuple[float, float]
) -> None:
    g_S = some_array(shape)
    row_ohm, col_ohm = segments_ohm
    for row in range(shape[0]):
        alone = np.zeros(shape)
        alone[row] = g_S[row]
        value = g_S[row].copy()
        drive_row(value, row_ohm, col_ohm * (shape[0] - row), np.empty(shape[1]))
        assert_same(value, nodal_transfer(alone, *segments_ohm)[row])


def test_badcrossbar_agrees() -> None:
    badcrossbar = pytest.importorskip(
        "badcrossbar", reason="badcrossbar is not installed (it builds pycairo, which needs cairo's headers)"
    )
    g_S = some_array((7, 5)) + 1e-6
    solution = badcrossbar.compute(np.eye(7), 1 / g_S, r_i_word_line=3.0, r_i_bit_line=20.0)
    assert_same(LineNetwork((7, 5), 3.0, 20.0).transfer(g_S), solution.currents.output)


@pytest.mark.parametrize("bad", [-1e-6, np.nan, np.inf])
def test_impossible_conductances_are_refused(bad: float) -> None:
    g_S = some_array((3, 2))
    g_S[1, 1] = bad
    with pytest.raises(ValueError, match="finite and not negative"):
        LineNetwork((3, 2), 1.0, 1.0).transfer(g_S)


def test_wrong_shapes_and_impossible_wires_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the array has \(3, 2\)"):
        LineNetwork((3, 2), 1.0, 1.0).transfer(np.zeros((2, 3)))
    for shape, row_ohm in (((3, 0), 1.0), ((3, 2), -1.0), ((3, 2), np.nan)):
        with pytest.raises(ValueError, match="no circuit"):
            LineNetwork(shape, row_ohm, 1.0)


def test_a_wire_that_lets_nothing_through_is_an_error_and_not_a_wrong_number() -> None:
    network = LineNetwork((64, 64), 1e12, 1.0)
    for _ in range(2):
        with pytest.raises(ValueError, match="line resistance too large"):
            network.transfer(np.full((64, 64), 1e-4))
