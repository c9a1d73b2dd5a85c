"""Ctrl-C and SIGTERM end what runs, also where the exception that they raise is dropped on its way."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eapu_hil.base.stopping import grounding_signals, raise_if_stopped
from eapu_hil.bench.array import BenchArray
from eapu_hil.bench.corrections import Corrections
from eapu_hil.bench.interlock import Interlock
from eapu_hil.bench.ledger import ArrayLedger
from eapu_hil.hal import Cells, Limits
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
