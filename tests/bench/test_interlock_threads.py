"""The interlock against other threads, and against an interrupt at any bytecode."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from eapu_hil.bench.array import BenchArray
from eapu_hil.bench.corrections import Corrections
from eapu_hil.bench.interlock import Interlock, close_all
from eapu_hil.bench.ledger import ArrayLedger
from eapu_hil.hal import Cells, HilError, LimitError, Limits, Targets
from eapu_hil.hal.recipe import Recipe

CELL = Cells(np.array([2]), np.array([3]))
TARGETS = Targets(CELL, np.array([1e-5]))
Make = Callable[..., tuple["Lines", BenchArray]]


class Lines:
    """Whether the lines of a fake crossbar are driven: requests drive them from begin to end and leave them so."""

    def __init__(self) -> None:
        self.driven = False
        self.meanwhile: Callable[[], None] = lambda: None  # in the middle of each request

    def on_request(self, name: str) -> None:
        if name == "ground":
            self.driven = False
            return
        self.driven = True
        self.meanwhile()
        self.driven = True  # the rest of the request


@pytest.fixture
def made(make_crossbar: Callable[..., Any], limits: Limits, recipe: Recipe, tmp_path: Path) -> Make:
    def make() -> tuple[Lines, BenchArray]:
        lines = Lines()
        inner = make_crossbar(on_request=lines.on_request)
        ledger = ArrayLedger(tmp_path / "ledger", inner.shape)
        interlock = Interlock(inner, limits, "array 0")
        return lines, BenchArray(inner, interlock, recipe, ledger, Corrections.none(inner.shape))

    return make


def in_another_thread(act: Callable[[], None]) -> None:
    thread = threading.Thread(target=act)
    thread.start()
    thread.join()


def test_a_ground_from_another_thread_ends_a_program_with_an_error_and_lines_at_0_v(made: Make) -> None:
    lines, array = made()
    lines.meanwhile = lambda: in_another_thread(array.ground)
    with pytest.raises(HilError, match=r"^array 0: put to 0 V in the middle of a request"):
        array.program(TARGETS)
    assert not lines.driven
    lines.meanwhile = lambda: None
    array.program(TARGETS)  # what comes later is not concerned
    assert lines.driven
    array.close()
    assert not lines.driven


def test_what_another_thread_sends_during_a_ground_is_not_taken_for_grounded(made: Make) -> None:
    lines, array = made()
    on_request = array._device._on_request  # type: ignore[attr-defined]

    def late(name: str) -> None:
        on_request(name)
        if name == "ground" and not array.interlock.is_grounded:
            in_another_thread(lambda: array.read(CELL, 0.2))

    array._device._on_request = late  # type: ignore[attr-defined]
    array.read(CELL, 0.2)
    array.ground()
    assert lines.driven
    assert not array.interlock.is_grounded
    array._device._on_request = on_request  # type: ignore[attr-defined]
    array.close()
    assert not lines.driven


def test_closing_waits_for_a_request_of_another_thread_and_grounds_after_it(made: Make) -> None:
    lines, array = made()
    begun, closing, failures = threading.Event(), threading.Event(), []
    lines.meanwhile = lambda: (begun.set(), closing.wait(60.0), None)[-1]

    def write() -> None:
        try:
            array.program(TARGETS)
        except HilError as error:
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    begun.wait(60.0)
    threading.Timer(0.1, closing.set).start()
    array.close()
    assert not lines.driven
    writer.join()
    assert not lines.driven
    assert "in the middle of a request" in str(failures[0])
    with pytest.raises(LimitError, match="closed"):
        array.read(CELL, 0.2)


def interrupted(act: Callable[[], None], at: int, within: str) -> bool:
    """Runs `act` and raises KeyboardInterrupt before opcode number `at` in files whose path holds `within`.

    Returns whether that was reached.
    """
    count = 0
    done = False

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count, done
        if within not in frame.f_code.co_filename:
            return trace
        frame.f_trace_opcodes = True
        if event == "opcode" and not done:
            if count == at:
                done = True
                raise KeyboardInterrupt
            count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    return done


@pytest.mark.parametrize("close", ["close", "close_all"])
def test_an_interrupt_at_any_bytecode_of_closing_leaves_the_lines_grounded_or_the_next_close_does(
    made: Make, close: str
) -> None:
    left = []
    for at in range(2000):
        lines, array = made()
        array.read(CELL, 0.2)
        act = array.close if close == "close" else lambda array=array: close_all([array.interlock])
        if not interrupted(act, at, "eapu_hil"):
            break
        if lines.driven:
            left.append(at)
        act()
        assert not lines.driven
        with pytest.raises(LimitError, match="closed"):
            array.read(CELL, 0.2)
    assert 20 < at < 1999
    if close == "close_all":  # a way out of its own goes round an interrupt but in its own first steps
        assert max(left, default=0) < 5


def test_an_interrupt_at_any_bytecode_of_a_request_leaves_the_lines_to_the_next_close(made: Make) -> None:
    for at in range(3000):
        lines, array = made()
        if not interrupted(lambda array=array: array.read(CELL, 0.2), at, "interlock.py"):
            break
        array.close()
        assert not lines.driven
    assert at > 20
