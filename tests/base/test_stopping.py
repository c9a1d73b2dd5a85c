"""Ctrl-C, SIGTERM and their like end what runs, also where the exception that they raise is dropped on its way."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eapu_hil.base.stopping import bench_signals, grounding_signals, held, raise_if_stopped
from eapu_hil.bench.array import BenchArray
from eapu_hil.bench.corrections import Corrections
from eapu_hil.bench.interlock import Interlock
from eapu_hil.bench.ledger import ArrayLedger
from eapu_hil.hal import Cells, HilError, Limits
from eapu_hil.hal.recipe import Recipe

CELL = Cells(np.array([0]), np.array([1]))


@pytest.fixture
def guarded(
    make_crossbar: Callable[..., Any], limits: Limits, recipe: Recipe, tmp_path: Path
) -> tuple[Any, BenchArray]:
    """A fake crossbar and its interlock."""
    inner = make_crossbar()
    ledger = ArrayLedger(tmp_path / "ledger", inner.shape)
    return inner, BenchArray(
        inner, Interlock(inner, limits, "array 0"), recipe, ledger, Corrections.none(inner.shape)
    )


def test_sigterm_leaves_through_the_context(guarded: tuple[Any, BenchArray]) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    inner, array = guarded
    array.read(CELL, 0.2)
    with pytest.raises(SystemExit) as caught, grounding_signals(), array:
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.code == 143
    assert inner.grounds == 1
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_dropped_signal_stops_the_next_request(
    guarded: tuple[Any, BenchArray], number: signal.Signals, expected: type[BaseException]
) -> None:
    inner, array = guarded

    class Careless:
        """As numpy does when it looks for an attribute: any exception means that there is none."""

        def __getattr__(self, name: str) -> None:
            signal.raise_signal(number)

    with grounding_signals():
        array.read(CELL, 0.2)
        with contextlib.suppress(expected):
            _ = Careless().anything
        before = inner.grounds
        with pytest.raises(expected):
            array.read(CELL, 0.2)
        with pytest.raises(expected):
            raise_if_stopped()
        array.ground()
        assert inner.grounds == before + 1
    array.read(CELL, 0.2)  # outside, nothing is remembered


def test_without_a_signal_nothing_is_raised() -> None:
    raise_if_stopped()
    with grounding_signals():
        raise_if_stopped()


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_an_error_on_the_way_out_does_not_hide_the_stop(
    number: signal.Signals, expected: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(expected) as caught, grounding_signals():  # noqa: PT012 - the way out is the point
        try:
            signal.raise_signal(number)
        finally:
            raise HilError("the disk is full")
    assert getattr(caught.value, "code", 143) == 143
    assert "on the way out: the disk is full" in caplog.text


def test_an_error_that_a_dropped_signal_leads_to_is_a_stop() -> None:
    with pytest.raises(SystemExit) as caught, grounding_signals():  # noqa: PT012 - what follows is the point
        with contextlib.suppress(SystemExit):  # as a call from C drops it
            signal.raise_signal(signal.SIGTERM)
        raise ValueError("there is no such attribute")
    assert caught.value.code == 143


def test_an_error_without_a_signal_stays_what_it_is() -> None:
    with pytest.raises(HilError), grounding_signals():
        raise HilError("the link is lost")


@pytest.mark.skipif(os.name != "posix", reason="signals of other systems")
class TestEverySignal:
    @pytest.mark.parametrize("signals", [grounding_signals, lambda: bench_signals(frozen_is_safe=True)])
    @pytest.mark.parametrize(
        "name", ["SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGVTALRM", "SIGXCPU", "SIGRTMIN"]
    )
    def test_whose_default_ends_the_process_leaves_through_the_context(
        self, guarded: tuple[Any, BenchArray], name: str, signals: Callable[[], Any]
    ) -> None:
        number = getattr(signal, name, None)
        if number is None:
            pytest.skip(f"no {name} here")
        before = signal.signal(number, signal.SIG_DFL)  # nohup and shells leave some of them ignored
        try:
            inner, array = guarded
            array.read(CELL, 0.2)
            with pytest.raises(SystemExit) as caught, signals(), array:
                signal.raise_signal(number)
            assert caught.value.code == 128 + number
            assert inner.grounds == 1
            assert signal.getsignal(number) == signal.SIG_DFL
        finally:
            signal.signal(number, before)

    def test_what_is_ignored_or_handled_already_stays_so(self) -> None:
        heard: list[int] = []
        before = {
            number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
        }
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: heard.append(number))
        try:
            with bench_signals(frozen_is_safe=False):
                for number in before:
                    signal.raise_signal(number)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        assert heard == [signal.SIGINT, signal.SIGTERM]

    def test_in_another_thread_nothing_happens(self) -> None:
        before = signal.getsignal(signal.SIGTERM)
        found: list[Any] = []

        def look() -> None:
            with bench_signals(frozen_is_safe=False), grounding_signals(), held():
                found.append(signal.getsignal(signal.SIGTERM))

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert found == [before]

    def test_a_program_does_not_stand_still_with_voltages_on_lines(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with bench_signals(frozen_is_safe=False):
            signal.raise_signal(signal.SIGTSTP)
            signal.raise_signal(signal.SIGTTOU)
        assert [record.getMessage().split(":")[0] for record in caplog.records] == [
            "Ctrl-Z refused",
            "SIGTTOU refused",
        ]
        with bench_signals(frozen_is_safe=True):
            assert signal.getsignal(signal.SIGTSTP) == signal.SIG_DFL


def test_what_is_held_comes_to_its_end() -> None:
    done: list[str] = []
    with grounding_signals():
        with pytest.raises(KeyboardInterrupt), held():  # noqa: PT012 - what comes after it is the point
            for _ in range(3):  # an impatient person
                signal.raise_signal(signal.SIGINT)
            done.append("to its end")
        assert done == ["to its end"]
        with pytest.raises(KeyboardInterrupt):
            raise_if_stopped()


def test_impatience_does_not_keep_lines_driven(guarded: tuple[Any, BenchArray]) -> None:
    inner, array = guarded
    ground = inner.ground

    def slow() -> None:
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
        ground()

    inner.ground = slow
    with grounding_signals():
        array.read(CELL, 0.2)
        with pytest.raises(KeyboardInterrupt), array:
            pass
    assert inner.grounds == 1
