"""What numpy makes of unusual values never decides what a cell gets: each is refused, or means what it says."""

from __future__ import annotations

import decimal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eapu_hil.bench.array import BenchArray
from eapu_hil.bench.corrections import Corrections
from eapu_hil.bench.interlock import Interlock
from eapu_hil.bench.ledger import ArrayLedger
from eapu_hil.bench.limits import LimitCheck
from eapu_hil.bench.product_check import ProductCheck
from eapu_hil.hal import Cells, Direction, LimitError, Limits, Polarity, Pulses, Targets
from eapu_hil.hal.recipe import Recipe

CELL = Cells([2], [3])
LIMITS = Limits(3.5, 5.0, 2e-3, 1e-3, 100)
CHECK = LimitCheck("array 0", (6, 4), LIMITS)
PRODUCTS = ProductCheck((6, 4), LIMITS)

# of one value each, as numpy and Python know them: no number, or one that numpy bends to another
NO_NUMBERS = [
    True,
    np.True_,
    "1",
    b"1",
    None,
    1 + 0j,
    np.complex64(1),
    decimal.Decimal(1),
    np.datetime64("2026-01-01"),
    np.timedelta64(1),
    {},
]
NO_WHOLE = [-0.9, 2.9999, np.nan, np.inf, -np.inf, 1e300, np.float16(0.5), np.uint64(2**64 - 1), 10**30]


@pytest.fixture
def guarded(make_crossbar: Callable[..., Any], recipe: Recipe, tmp_path: Path) -> tuple[Any, BenchArray]:
    device = make_crossbar()
    interlock = Interlock(device, LIMITS, "array 0")
    ledger = ArrayLedger(tmp_path / "ledger", device.shape)
    return device, BenchArray(device, interlock, recipe, ledger, Corrections.none(device.shape))


def pulses(**changes: Any) -> Pulses:
    values = {"cells": CELL, "polarity": 1, "amplitude_v": 2.0, "gate_v": 1.0, "width_s": 1e-6, "count": 1}
    return Pulses(**{**values, **changes})


@pytest.mark.parametrize("value", [*NO_NUMBERS, *NO_WHOLE], ids=repr)
@pytest.mark.parametrize(
    "wrap", [lambda x: x, lambda x: [x], lambda x: np.array([x])], ids=["one", "list", "array"]
)
def test_a_position_is_a_whole_number(value: Any, wrap: Callable[[Any], Any]) -> None:
    with pytest.raises(LimitError, match="asked; allowed are"):
        Cells(wrap(value), [0])
    with pytest.raises(LimitError, match="asked; allowed are"):
        Cells([0], wrap(value))
    for key in ("count", "polarity"):
        with pytest.raises(LimitError, match=f"{key}: .* asked; allowed are"):
            pulses(**{key: wrap(value)})


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_a_voltage_is_a_real_number(value: Any, guarded: tuple[Any, BenchArray]) -> None:
    device, array = guarded
    for key in ("amplitude_v", "gate_v", "width_s"):
        with pytest.raises(LimitError, match=f"{key}: .* asked; allowed are"):
            pulses(**{key: [value]})
    with pytest.raises(LimitError, match=r"g_target_S: .* asked; allowed are"):
        Targets(CELL, [value])  # type: ignore[arg-type]
    for request in (lambda: array.read(CELL, value), lambda: array.wait(value)):
        with pytest.raises(LimitError, match="asked; allowed are"):
            request()
    with pytest.raises(LimitError, match=r"v_in_v: .* asked; allowed are"):
        array.vmm([value] * 6, Direction.FORWARD)  # type: ignore[arg-type]
    assert device.sent == []


@pytest.mark.parametrize(
    "wrong", [[True, 1], np.array([True, False]), [2.5, 1], np.ma.array([1, 2], mask=[0, 1])], ids=repr
)
def test_masks_and_mixed_lists_are_no_cells_and_no_lines(wrong: Any, guarded: tuple[Any, BenchArray]) -> None:
    device, array = guarded
    with pytest.raises(LimitError, match="row: "):
        Cells(wrong, [0, 1])
    for lines in ((wrong, None), (None, wrong)):
        with pytest.raises(LimitError, match="lines_"):
            array.vmm(np.zeros((1, 2 if lines[0] is wrong else 6)), Direction.FORWARD, *lines)
    assert device.sent == []


@pytest.mark.parametrize(
    "v_in_v",
    [
        np.ma.array(np.full((1, 6), 50.0), mask=True),
        [np.ma.array(np.full(6, 0.1), mask=True)],
        np.full((1, 6), 0.1 + 50j),
        np.full((1, 6), 0.1, object),
        np.full((1, 6), "0.1"),
        np.ones((1, 6), bool),
        np.full((1, 6), np.timedelta64(0)),
        [[0.1] * 6, [0.1] * 5],
    ],
    ids=repr,
)
def test_a_product_takes_real_numbers_only(v_in_v: Any, guarded: tuple[Any, BenchArray]) -> None:
    device, array = guarded
    with pytest.raises(LimitError, match=r"v_in_v: .* asked; allowed are"):
        array.vmm(v_in_v, Direction.FORWARD)
    assert device.sent == []


@pytest.mark.parametrize("wrong", [np.ma.masked, [np.ma.masked, 1]])
def test_what_is_masked_is_no_number(wrong: Any) -> None:
    with pytest.raises(LimitError, match="row: a masked array asked"):
        Cells(wrong, [0])


def test_a_product_has_lines_in_one_row_and_a_direction(guarded: tuple[Any, BenchArray]) -> None:
    device, array = guarded
    with pytest.raises(LimitError, match=r"lines_in of shape \(2, 1\) asked; allowed is \(lines,\)"):
        array.vmm(np.zeros((1, 2)), Direction.FORWARD, np.array([[0], [1]]))
    with pytest.raises(LimitError, match=r"direction 'forward' asked; allowed are Direction\.FORWARD"):
        array.vmm(np.zeros((1, 6)), "forward")  # type: ignore[arg-type]
    assert device.sent == []


def test_float16_that_rounds_to_the_limit_is_still_beyond_it() -> None:
    check = ProductCheck((6, 4), Limits(3.5, 5.0, 2e-3, 1e-3, 100, v_read_max_v=0.3))
    beyond_v = np.full((1, 6), 0.3, np.float16)
    assert float(beyond_v[0, 0]) > 0.3
    with pytest.raises(LimitError, match=r"at most 0\.3 V"):
        check.one("array 0", beyond_v, Direction.FORWARD, None, None)


def test_float32_that_is_the_limit_in_its_own_precision_is_allowed() -> None:
    check = ProductCheck((6, 4), Limits(3.5, 5.0, 2e-3, 1e-3, 100, v_read_max_v=0.3))
    at_v = np.full((1, 6), 0.3, np.float32)
    assert float(at_v[0, 0]) > 0.3
    assert check.one("array 0", at_v, Direction.FORWARD, None, None).v_in_v.dtype == np.float32
    with pytest.raises(LimitError, match=r"at most 0\.3 V"):
        check.one("array 0", np.nextafter(at_v, np.float32(1)), Direction.FORWARD, None, None)


def test_lines_that_were_checked_once_are_known_by_what_they_are() -> None:
    check, v_v, lines = ProductCheck((6, 4), LIMITS), np.zeros((1, 2)), np.array([3, 0])
    first = check.one("array 0", v_v, Direction.FORWARD, lines, lines)
    again = check.one("array 0", v_v, Direction.FORWARD, lines, lines)
    lines[:] = 4, 4
    for asked in (first, again):
        for kept in (asked.lines_in, asked.lines_out):
            assert kept is not None
            assert kept.tolist() == [[[3, 0]]]
            with pytest.raises(ValueError, match="read-only"):
                kept[:] = 1
    with pytest.raises(LimitError, match="driving a line twice"):
        check.one("array 0", v_v, Direction.FORWARD, lines, None)
    lines[:] = 5, 4  # rows of this array, and no columns
    check.one("array 0", v_v, Direction.FORWARD, lines, None)
    with pytest.raises(LimitError, match="measuring line 5 asked; allowed are 0 to 3"):
        check.one("array 0", v_v, Direction.FORWARD, lines, lines)
    with pytest.raises(LimitError, match="driving line 5 asked; allowed are 0 to 3"):
        check.one("array 0", v_v, Direction.TRANSPOSED, lines, None)


@pytest.mark.parametrize(
    "kind", [np.int8, np.uint8, np.uint16, np.uint64, np.float16, np.float32, np.float64]
)
def test_whole_numbers_of_every_type_mean_the_same(kind: type) -> None:
    cells = Cells(np.array([5, 0], kind), np.array([3, 1], kind))
    assert (cells.row.dtype, cells.row.tolist(), cells.col.tolist()) == (np.int64, [5, 0], [3, 1])
    asked = PRODUCTS.one(
        "array 0", np.zeros((1, 2)), Direction.FORWARD, np.array([5, 0], kind), np.array([3], kind)
    )
    assert asked.lines_in is not None
    assert (asked.lines_in.dtype, asked.lines_in.tolist()) == (np.int64, [[[5, 0]]])
    assert len(Cells([], [])) == 0


@given(st.lists(st.one_of(st.integers(-3, 9), st.floats(-2, 8), st.booleans()), min_size=1, max_size=4))
def test_cells_are_what_was_given_or_refused(rows: list[Any]) -> None:
    given_whole = all(type(row) is not bool and row == int(row) for row in rows)
    if given_whole:
        assert Cells(rows, np.zeros(len(rows))).row.tolist() == rows  # type: ignore[arg-type]
    else:
        with pytest.raises(LimitError):
            Cells(rows, np.zeros(len(rows)))  # type: ignore[arg-type]


@given(
    st.lists(st.floats(-1, 1, width=16), min_size=6, max_size=6),
    st.sampled_from([np.float16, np.float32, np.float64, np.longdouble]),
)
def test_a_product_is_sent_inside_the_limit_or_not_at_all(values: list[float], kind: type) -> None:
    v_in_v = np.array([values], kind)
    if np.abs(v_in_v).max() <= 0.5:
        assert np.array_equal(
            PRODUCTS.one("array 0", v_in_v, Direction.FORWARD, None, None).v_in_v[0], v_in_v
        )
    else:
        with pytest.raises(LimitError):
            PRODUCTS.one("array 0", v_in_v, Direction.FORWARD, None, None)


class Shifty(np.ndarray[Any, Any]):
    """An array that says that it is harmless."""

    def max(self, *_: Any, **__: Any) -> float:  # type: ignore[override]
        return 0.0

    min = max

    def __abs__(self) -> Any:
        return np.zeros(self.shape)

    def any(self, *_: Any, **__: Any) -> bool:  # type: ignore[override]
        return False


class TwoFaced(Cells):
    """Cells that are others when they are asked again."""

    asked = 0

    def __len__(self) -> int:
        return 1

    def __getattribute__(self, name: str) -> Any:
        if name == "row":
            TwoFaced.asked += 1
            return np.array([2 if TwoFaced.asked < 4 else 99])
        return super().__getattribute__(name)


def test_a_class_of_ones_own_cannot_lie_to_the_check(guarded: tuple[Any, BenchArray]) -> None:
    device, array = guarded
    with pytest.raises(LimitError, match=r"50\.0 V on line 0"):
        array.vmm(np.full((1, 6), 50.0).view(Shifty), Direction.FORWARD)
    with pytest.raises(LimitError, match=r"50\.0 V"):
        array.pulse(pulses(amplitude_v=np.array([50.0]).view(Shifty)))
    cells = TwoFaced([2], [3])
    TwoFaced.asked = 0
    array.read(cells, 0.1)
    ((_, (sent, _)),) = device.sent
    assert (type(sent), sent.row.tolist()) == (Cells, [2])
    assert type(sent.row) is np.ndarray


def test_what_is_sent_is_what_was_checked_whatever_a_thread_does_to_the_callers_arrays(
    make_crossbar: Any, recipe: Recipe, tmp_path: Path
) -> None:
    """The device waits while another thread writes 99 V into everything that the caller has passed."""
    mine_v = np.full((1, 6), 0.1)
    lines_in, lines_out = np.arange(6), np.array([1])
    volts_v, row, target_S = np.full(1, 2.0), np.array([2]), np.full(1, 1e-5)

    def spoil() -> None:
        mine_v[:] = volts_v[:] = 99.0
        lines_in[:] = lines_out[:] = row[:] = 77
        target_S[:] = 1.0

    def in_between(_: str) -> None:
        thread = threading.Thread(target=spoil)
        thread.start()
        thread.join()

    device = make_crossbar(on_request=in_between)
    ledger = ArrayLedger(tmp_path / "ledger", device.shape)
    array = BenchArray(
        device, Interlock(device, LIMITS, "array 0"), recipe, ledger, Corrections.none(device.shape)
    )
    with array:
        asked = pulses(cells=Cells(row, [3]), amplitude_v=volts_v)
        targets = Targets(Cells(row, [3]), target_S)
        array.vmm(mine_v, Direction.FORWARD, lines_in, lines_out)
        array.pulse(asked)
        array.program(targets)
    sent = dict(device.sent)
    assert np.array_equal(sent["vmm"], np.full((1, 6), 0.1))
    assert (sent["pulse"].amplitude_v.tolist(), sent["pulse"].cells.row.tolist()) == ([2.0], [2])
    assert sent["program"][0].g_target_S.tolist() == [1e-5]


def test_requests_are_read_only(guarded: tuple[Any, BenchArray]) -> None:
    device, array = guarded
    array.vmm(np.full((1, 6), 0.1), Direction.FORWARD)
    array.pulse(pulses())
    array.program(Targets(CELL, [1e-5]))  # type: ignore[arg-type]
    sent = dict(device.sent)
    arrays = [
        sent["vmm"],
        sent["pulse"].amplitude_v,
        sent["pulse"].cells.row,
        sent["program"][0].g_target_S,
        CELL.row,
        Targets(CELL, 1e-5).g_target_S,  # type: ignore[arg-type]
    ]
    for one in arrays:
        with pytest.raises(ValueError, match="read-only"):
            one[...] = 99


def changed(recipe: Recipe, key: str, value: Any) -> Recipe:
    """As somebody's script does it: without validation."""
    head, _, rest = key.partition(".")
    if rest:
        value = changed(getattr(recipe, head), rest, value)  # type: ignore[assignment]
    return recipe.model_copy(update={head: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("set.gate.start_v", 30.0),
        ("set.amplitude.start_v", 30.0),
        ("reset.amplitude.start_v", 30.0),
        ("form.amplitude.start_v", 30.0),
        ("reset.amplitude.start_v", -1.0),
        ("reset.amplitude.step_v", float("nan")),
        ("set.gate_offset_v", float("nan")),
        ("set.gate_offset_v", float("inf")),
        ("set.gate_slope_S_per_v", 0.0),
        ("form.width_s", float("nan")),
        ("pulses_max", 2.5),
        ("pulses_max", True),
        ("pulses_max", -1),
        ("epochs", 1000),
        ("time_max_s", float("inf")),
        ("v_read_v", "0.2"),
        ("g_min_S", 1.0),
        ("reset", None),
        ("increment", {"set_amplitude_v": 30.0}),
    ],
)
def test_a_recipe_is_checked_whole(
    guarded: tuple[Any, BenchArray], recipe: Recipe, key: str, value: Any
) -> None:
    device, array = guarded
    with pytest.raises(LimitError, match="array 0: recipe "):
        array.program(Targets(CELL, [1e-5]), changed(recipe, key, value))  # type: ignore[arg-type]
    assert device.sent == []


@pytest.mark.parametrize(
    "key", ["set_amplitude_v", "reset_amplitude_v", "set_gate_v", "reset_gate_v", "width_s"]
)
def test_the_small_pulses_of_a_recipe_are_checked_too(
    guarded: tuple[Any, BenchArray], recipe: Recipe, key: str
) -> None:
    device, array = guarded
    with pytest.raises(LimitError, match=rf"array 0: recipe increment\.{key} of 30\.0 asked; .* \(limits\."):
        array.program(Targets(CELL, [1e-5]), changed(recipe, f"increment.{key}", 30.0))  # type: ignore[arg-type]
    assert device.sent == []


def test_the_recipe_that_is_sent_is_the_one_that_was_checked(
    make_crossbar: Any, recipe: Recipe, tmp_path: Path
) -> None:
    device = make_crossbar()
    mine = recipe.model_copy(deep=True)
    ledger = ArrayLedger(tmp_path / "ledger", device.shape)
    array = BenchArray(
        device, Interlock(device, LIMITS, "array 0"), mine, ledger, Corrections.none(device.shape)
    )
    with array:
        array.program(Targets(CELL, [1e-5]), mine)  # type: ignore[arg-type]
        mine.set.gate.__dict__["start_v"] = 30.0
        with pytest.raises(LimitError, match=r"recipe set\.gate: .*start_v"):
            array.program(Targets(CELL, [1e-5]))  # type: ignore[arg-type]
    ((_, (_, sent)),) = device.sent
    assert sent == recipe


def test_polarities_are_those_of_the_contract() -> None:
    assert pulses(polarity=Polarity.FORM).polarity.tolist() == [2]
    with pytest.raises(LimitError):
        pulses(polarity=np.array([2**64 - 1], np.uint64))
