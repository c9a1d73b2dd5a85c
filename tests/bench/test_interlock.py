from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eapu_hil.bench.array import BenchArray
from eapu_hil.bench.corrections import Corrections
from eapu_hil.bench.interlock import Interlock, close_all
from eapu_hil.bench.ledger import ArrayLedger
from eapu_hil.bench.limits import LimitCheck
from eapu_hil.hal import (
    Cells,
    Crossbar,
    Direction,
    HilError,
    LimitError,
    Limits,
    Polarity,
    Pulses,
    Targets,
    TransportError,
)
from eapu_hil.hal.recipe import Recipe

CELL = Cells(np.array([2]), np.array([3]))


@pytest.fixture
def guarded(
    make_crossbar: Callable[..., Any], limits: Limits, recipe: Recipe, tmp_path: Path
) -> Callable[..., tuple[Any, BenchArray]]:
    """Makes a fake crossbar and its interlock."""
    made: list[BenchArray] = []

    def make(on_request: Callable[[str], None] = lambda _: None) -> tuple[Any, BenchArray]:
        inner = make_crossbar(on_request=on_request)
        ledger = ArrayLedger(tmp_path / f"ledger{len(made)}", inner.shape)
        interlock = Interlock(inner, limits, f"array {len(made)}")
        made.append(BenchArray(inner, interlock, recipe, ledger, Corrections.none(inner.shape)))
        return inner, made[-1]

    return make


def pulses(**changes: Any) -> Pulses:
    values: dict[str, Any] = {
        "cells": CELL,
        "polarity": Polarity.SET,
        "amplitude_v": 2.0,
        "gate_v": 1.0,
        "width_s": 1e-6,
        "count": 1,
    }
    return Pulses(**{**values, **changes})


def test_is_a_crossbar_and_passes_requests_on(guarded: Any) -> None:
    inner, array = guarded()
    assert isinstance(array, Crossbar)
    array.read(CELL, 0.2)
    array.pulse(pulses())
    array.program(Targets(CELL, np.array([1e-5])))
    array.wait(2.5)
    v_in_v = np.full((3, 2), 0.1)
    currents_a = array.vmm(v_in_v, Direction.FORWARD, np.array([0, 1]), np.array([3]))
    assert [name for name, _ in inner.sent] == ["read", "pulse", "program", "wait", "vmm"]
    assert currents_a == pytest.approx(np.full((3, 1), 2 * 0.1 * 20e-6))
    assert array.clock_s() == 2.5
    assert array.limits == inner.limits
    assert array.identity.serial == "serial-1"
    array.close()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"amplitude_v": 3.6},
            "an amplitude of 3.6 V asked; allowed is above 0 and at most 3.5 V (limits.v_max_v)",
        ),
        ({"amplitude_v": np.nan}, "an amplitude of nan V"),
        ({"amplitude_v": np.inf}, "an amplitude of inf V"),
        ({"amplitude_v": -1.0}, "an amplitude of -1.0 V"),
        ({"gate_v": 5.0001}, "a gate of 5.0001 V asked; allowed is 0 V to 5.0 V (limits.v_gate_max_v)"),
        ({"gate_v": -0.1}, "a gate of -0.1 V"),
        ({"gate_v": np.nan}, "a gate of nan V"),
        (
            {"width_s": 2e-3},
            "a width of 0.002 s asked; allowed is above 0 and at most 0.001 s (limits.width_max_s)",
        ),
        ({"width_s": 0.0}, "a width of 0.0 s"),
        ({"count": 101}, "a count of 101 pulses asked; allowed is above 0 and at most 100 pulses"),
        ({"count": 0}, "a count of 0 pulses"),
        ({"polarity": 0}, "polarity 0 asked; allowed are RESET -1, SET 1, FORM 2"),
    ],
)
def test_refuses_a_pulse_beyond_the_limits(guarded: Any, changes: dict[str, Any], said: str) -> None:
    inner, array = guarded()
    with pytest.raises(LimitError) as refused:
        array.pulse(pulses(**changes))
    assert str(refused.value).startswith("array 0, cell (2, 3): ")
    assert said in str(refused.value)
    assert inner.sent == []
    array.close()


def test_one_bad_cell_refuses_the_whole_request(guarded: Any) -> None:
    inner, array = guarded()
    amplitude_v = np.full(24, 2.0)
    amplitude_v[[5, 9, 11]] = 4.0
    with pytest.raises(LimitError, match=r"cell \(1, 1\): .* \(and 2 more cells\)"):
        array.pulse(pulses(cells=Cells.all((6, 4)), amplitude_v=amplitude_v))
    assert inner.sent == []
    array.close()


@pytest.mark.parametrize("position", [(-1, 0), (0, -1), (6, 0), (0, 4)])
def test_refuses_cells_outside(guarded: Any, position: tuple[int, int]) -> None:
    inner, array = guarded()
    cells = Cells(np.array([position[0]]), np.array([position[1]]))
    for request in (
        lambda: array.read(cells, 0.2),
        lambda: array.pulse(pulses(cells=cells)),
        lambda: array.program(Targets(cells, np.array([1e-5]))),
    ):
        with pytest.raises(LimitError, match=r"outside the array; allowed are 6 rows and 4 columns"):
            request()
    assert inner.sent == []
    array.close()


def test_refuses_a_cell_twice_in_a_write_but_not_in_a_read(guarded: Any) -> None:
    inner, array = guarded()
    twice = Cells(np.array([1, 2, 1]), np.array([0, 0, 0]))
    array.read(twice, 0.2)
    for request in (
        lambda: array.pulse(pulses(cells=twice)),
        lambda: array.program(Targets(twice, np.full(3, 1e-5))),
    ):
        with pytest.raises(LimitError, match=r"cell \(1, 0\): asked twice"):
            request()
    assert [name for name, _ in inner.sent] == ["read"]
    array.close()


def test_refuses_a_pulse_whose_current_is_predicted_too_high(guarded: Any) -> None:
    inner, array = guarded()
    inner.g_S[2, 3] = 1.1e-3
    array.pulse(pulses())  # never read: nothing is known of its current
    array.read(CELL, 0.2)
    with pytest.raises(LimitError, match=r"0\.0022 A at its last reading of 0\.0011 S; .*limits\.i_max_a"):
        array.pulse(pulses())
    array.pulse(pulses(amplitude_v=1.8))
    array.close()


@pytest.mark.parametrize("g_S", [0.0, -1e-6, np.nan, np.inf, 1.0])
def test_refuses_impossible_targets(guarded: Any, g_S: float) -> None:
    inner, array = guarded()
    with pytest.raises(LimitError, match=r"array 0, cell \(2, 3\)"):
        array.program(Targets(CELL, np.array([g_S])))
    assert inner.sent == []
    array.close()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("v_read_v", 0.6),
        ("v_in_max_v", 0.6),
        ("set.amplitude.stop_v", 3.6),
        ("reset.amplitude.stop_v", 3.6),
        ("form.amplitude.stop_v", 3.6),
        ("set.gate.stop_v", 5.1),
        ("reset.gate_v", 5.1),
        ("form.gate_v", 5.1),
        ("set.width_s", 2e-3),
        ("reset.width_s", 2e-3),
        ("form.width_s", 2e-3),
        ("epochs", 2),
    ],
)
def test_refuses_a_recipe_that_could_leave_the_limits(
    guarded: Any, recipe: Recipe, key: str, value: float
) -> None:
    content = recipe.model_dump()
    *parents, last = key.split(".")
    place = content
    for parent in parents:
        place = place[parent]
    place[last] = value
    inner, array = guarded()
    targets = Targets(CELL, np.array([1e-5]))
    with pytest.raises(LimitError, match=r"array 0: recipe .* asked; allowed is at most .* \(limits\."):
        array.program(targets, Recipe.model_validate(content))
    assert inner.sent == []
    array.program(targets, recipe)
    array.close()


def test_the_recipe_of_the_bench_is_checked_when_none_is_named(
    make_crossbar: Any, recipe: Recipe, tmp_path: Path
) -> None:
    inner = make_crossbar()
    limits = Limits(2.0, 5.0, 2e-3, 1e-3, 100)
    ledger = ArrayLedger(tmp_path, inner.shape)
    array = BenchArray(
        inner, Interlock(inner, limits, "array 0"), recipe, ledger, Corrections.none(inner.shape)
    )
    with array, pytest.raises(LimitError, match=r"set\.amplitude\.stop_v"):
        array.program(Targets(CELL, np.array([1e-5])))
    assert inner.sent == []


@pytest.mark.parametrize("v_read_v", [0.51, -0.51, 0.0, np.nan, np.inf])
def test_refuses_a_read_voltage(guarded: Any, v_read_v: float) -> None:
    inner, array = guarded()
    with pytest.raises(LimitError, match=r"at most 0\.5 V"):
        array.read(CELL, v_read_v)
    assert inner.sent == []
    array.close()


@pytest.mark.parametrize(
    ("v_in_v", "lines_in", "lines_out", "said"),
    [
        (np.full((2, 6), 0.6), None, None, "0.6 V on line 0 (vector 0)"),
        (np.array([[0.0] * 6, [0, 0, 0, np.nan, 0, 0]]), None, None, "nan V on line 3 (vector 1)"),
        (np.array([[0.0, -np.inf]]), [4, 5], None, "-inf V on line 5 (vector 0)"),
        (np.zeros((2, 4)), None, None, "shape (2, 4) asked; allowed is (batch, 6)"),
        (np.zeros(6), None, None, "shape (6,) asked; allowed is (batch, 6)"),
        (np.zeros((2, 6)), [0, 1], None, "shape (2, 6) asked; allowed is (batch, 2)"),
        (np.zeros((2, 2)), [0, 6], None, "driving line 6 asked; allowed are 0 to 5"),
        (np.zeros((2, 2)), [1, 1], None, "driving a line twice"),
        (np.zeros((2, 6)), None, [4], "measuring line 4 asked; allowed are 0 to 3"),
        (np.zeros((2, 6)), None, [-1], "measuring line -1 asked"),
    ],
)
def test_refuses_a_product(
    guarded: Any, v_in_v: Any, lines_in: list[int] | None, lines_out: list[int] | None, said: str
) -> None:
    inner, array = guarded()
    in_, out = (None if lines is None else np.array(lines) for lines in (lines_in, lines_out))
    with pytest.raises(LimitError) as refused:
        array.vmm(v_in_v, Direction.FORWARD, in_, out)
    assert str(refused.value).startswith("array 0: a forward product")
    assert said in str(refused.value)
    assert inner.sent == []
    array.vmm(np.zeros((2, 4)), Direction.TRANSPOSED)
    array.close()


@pytest.mark.parametrize("duration_s", [-1.0, np.nan, np.inf, 1e10])
def test_refuses_a_wait(guarded: Any, duration_s: float) -> None:
    _, array = guarded()
    with pytest.raises(LimitError, match="a wait of"):
        array.wait(duration_s)
    array.close()


@given(
    amplitude_v=st.floats(-10, 10),
    gate_v=st.floats(-10, 10),
    width_s=st.floats(-1, 1),
    count=st.integers(-5, 200),
    g_S=st.floats(0, 1e-2),
)
def test_accepts_exactly_what_is_inside(
    amplitude_v: float, gate_v: float, width_s: float, count: int, g_S: float
) -> None:
    check = LimitCheck("array 0", (6, 4), Limits(3.5, 5.0, 2e-3, 1e-3, 100))
    inside = (
        0 < amplitude_v <= 3.5
        and 0 <= gate_v <= 5
        and 0 < width_s <= 1e-3
        and 0 < count <= 100
        and amplitude_v * g_S <= 2e-3
    )
    asked = pulses(amplitude_v=amplitude_v, gate_v=gate_v, width_s=width_s, count=count)
    if inside:
        check.pulses(asked, lambda _: np.array([g_S]))
    else:
        with pytest.raises(LimitError):
            check.pulses(asked, lambda _: np.array([g_S]))


def test_everything_but_ground_is_refused_after_close(guarded: Any) -> None:
    inner, array = guarded()
    array.close()
    for request in (
        array.clock_s,
        lambda: array.wait(1.0),
        lambda: array.read(CELL, 0.2),
        lambda: array.vmm(np.zeros((1, 6)), Direction.FORWARD),
        lambda: array.pulse(pulses()),
        lambda: array.program(Targets(CELL, np.array([1e-5]))),
    ):
        with pytest.raises(LimitError, match="array 0: closed"):
            request()
    assert inner.sent == []
    array.ground()
    assert inner.grounds == 2


@pytest.mark.parametrize("raised", [TransportError("lost"), KeyboardInterrupt(), SystemExit(143)])
@pytest.mark.parametrize("name", ["read", "vmm", "pulse", "program", "wait"])
def test_an_exception_in_a_request_grounds_once_and_goes_on(
    guarded: Any, raised: BaseException, name: str
) -> None:
    def fail(request: str) -> None:
        if request == name:
            raise raised

    inner, array = guarded(fail)
    requests = {
        "read": lambda: array.read(CELL, 0.2),
        "vmm": lambda: array.vmm(np.zeros((1, 6)), Direction.FORWARD),
        "pulse": lambda: array.pulse(pulses()),
        "program": lambda: array.program(Targets(CELL, np.array([1e-5]))),
        "wait": lambda: array.wait(1.0),
    }
    with pytest.raises(type(raised)) as caught:
        requests[name]()
    assert caught.value is raised
    assert inner.grounds == 1
    array.close()
    assert inner.grounds == 1


def test_an_error_that_leaves_the_context_grounds_once(guarded: Any) -> None:
    def fail(request: str) -> None:
        if request == "read":
            raise TransportError("lost")

    inner, array = guarded(fail)
    with pytest.raises(TransportError), array:
        array.read(CELL, 0.2)
    assert inner.grounds == 1


def test_a_session_goes_on_after_an_error_and_grounds_again(guarded: Any) -> None:
    failures = iter([TransportError("lost")])

    def fail_once(request: str) -> None:
        if request == "read":
            for error in failures:
                raise error

    inner, array = guarded(fail_once)
    with pytest.raises(TransportError):
        array.read(CELL, 0.2)
    array.read(CELL, 0.2)
    array.close()
    assert inner.grounds == 2


def test_what_a_cut_write_left_is_not_known_any_more(guarded: Any) -> None:
    def fail(request: str) -> None:
        if request == "program":
            raise TransportError("lost")

    inner, array = guarded(fail)
    inner.g_S[2, 3] = 1.1e-3
    array.read(CELL, 0.2)
    with pytest.raises(TransportError):
        array.program(Targets(CELL, np.array([1e-5])))
    array.pulse(pulses())  # would be refused by the conductance read before
    array.close()


def test_leaving_the_context_grounds_once(guarded: Any) -> None:
    inner, array = guarded()
    with array:
        array.read(CELL, 0.2)
    array.close()
    assert inner.grounds == 1


def test_a_second_interrupt_does_not_stop_grounding(guarded: Any) -> None:
    impatient = iter([KeyboardInterrupt()])

    def interrupt(request: str) -> None:
        if request == "ground":
            for error in impatient:
                raise error

    pairs = [guarded(), guarded(interrupt), guarded()]
    with pytest.raises(KeyboardInterrupt) as caught:
        close_all([array.interlock for _, array in pairs])
    assert not hasattr(caught.value, "__notes__")  # every array was grounded
    assert [inner.grounds for inner, _ in pairs] == [1, 2, 1]


def broken_ground(request: str) -> None:
    if request == "ground":
        raise TransportError("no answer")


def test_a_failed_ground_is_reported_and_the_others_are_grounded(guarded: Any) -> None:
    pairs = [guarded(), guarded(broken_ground), guarded()]
    with pytest.raises(HilError, match=r"^array 1: could not be grounded: no answer$"):
        close_all([array.interlock for _, array in pairs])
    assert [inner.grounds for inner, _ in pairs] == [1, 1, 1]


def test_a_failed_ground_does_not_replace_the_error_on_its_way(guarded: Any) -> None:
    inner, array = guarded(broken_ground)
    with pytest.raises(ValueError, match="the real trouble") as caught, array:
        raise ValueError("the real trouble")
    assert caught.value.__notes__ == ["array 0: could not be grounded: no answer"]
    assert inner.grounds == 1


@pytest.mark.parametrize(("ending", "code"), [("pass", 0), ("sys.exit(5)", 5), ("1 / 0", 1)])
def test_the_end_of_the_process_grounds(ending: str, code: int) -> None:
    script = f"""
        import sys
        from eapu_hil.hal import Identity, Limits
        from eapu_hil.bench.interlock import Interlock

        class Array:
            shape, identity = (2, 2), Identity("", "", "", "")
            def ground(self):
                print("grounded")

        limits = Limits(1, 1, 1, 1, 1)
        interlock = Interlock(Array(), limits, "array 0")
        {ending}
    """
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-P", "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("grounded\n", code)
