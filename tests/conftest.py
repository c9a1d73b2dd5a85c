"""Shared by the tests: a crossbar that obeys at once and remembers what it was sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eapu_hil.config import load_model
from eapu_hil.hal import (
    Cells,
    Direction,
    FloatArray,
    Identity,
    IntArray,
    Limits,
    PulseOutcome,
    Pulses,
    Reading,
    Targets,
    WriteOutcome,
)
from eapu_hil.recipe import Recipe

READS, PULSES, PULSE_ENERGY_J = 3, 2, 1e-12


class FakeCrossbar:
    """Every cell reads `g_s`; write-verify always hits with `PULSES` pulses and `READS` reads.

    on_request: called with the name of each request before it is obeyed; may raise.
    """

    def __init__(
        self, shape: tuple[int, int], limits: Limits, on_request: Callable[[str], None] = lambda _: None
    ) -> None:
        self.identity = Identity("fake", "serial-1", "1.0", "")
        self.shape = shape
        self.limits = limits
        self.g_s = np.full(shape, 20e-6)
        self.sent: list[tuple[str, Any]] = []
        self.grounds = 0
        self._on_request = on_request
        self._time_s = 0.0

    def _request(self, name: str, content: Any) -> None:
        self.sent.append((name, content))
        self._on_request(name)

    def clock_s(self) -> float:
        return self._time_s

    def wait(self, duration_s: float) -> None:
        self._request("wait", duration_s)
        self._time_s += duration_s

    def read(self, cells: Cells, v_read_v: float) -> Reading:
        self._request("read", (cells, v_read_v))
        return Reading(self.g_s[cells.row, cells.col], np.zeros(len(cells), np.uint8))

    def vmm(
        self,
        v_in_v: NDArray[np.floating],
        direction: Direction,
        lines_in: IntArray | None = None,
        lines_out: IntArray | None = None,
    ) -> FloatArray:
        self._request("vmm", v_in_v)
        g_s = self.g_s if direction is Direction.FORWARD else self.g_s.T
        g_s = g_s if lines_in is None else g_s[lines_in]
        currents_a: FloatArray = v_in_v @ (g_s if lines_out is None else g_s[:, lines_out])
        return currents_a

    def pulse(self, pulses: Pulses) -> PulseOutcome:
        self._request("pulse", pulses)
        return PulseOutcome(np.zeros(len(pulses.cells), np.uint8))

    def program(self, targets: Targets, recipe: Recipe | None = None) -> WriteOutcome:
        self._request("program", (targets, recipe))
        at, n = (targets.cells.row, targets.cells.col), len(targets)
        before_s = self.g_s[at]
        self.g_s[at] = targets.g_target_s
        pulses = np.where(before_s == targets.g_target_s, 0, PULSES)
        return WriteOutcome(
            before_s,
            targets.g_target_s.copy(),
            pulses,
            np.full(n, READS),
            pulses * PULSE_ENERGY_J,
            np.zeros(n, np.uint8),
        )

    def ground(self) -> None:
        self.grounds += 1
        self._on_request("ground")


@pytest.fixture
def limits() -> Limits:
    """Those of the packaged benches."""
    return Limits(
        v_max_v=3.5,
        v_gate_max_v=5.0,
        i_max_a=2e-3,
        width_max_s=1e-3,
        pulses_per_cell_max=100,
        v_read_max_v=0.5,
    )


@pytest.fixture
def recipe() -> Recipe:
    """The packaged recipe."""
    return load_model(Recipe, "rram_180nm", [], "recipes")


@pytest.fixture
def make_crossbar(limits: Limits) -> Callable[..., FakeCrossbar]:
    """Makes a `FakeCrossbar` of 6 x 4 cells: `make_crossbar(on_request=...)`."""

    def make(
        shape: tuple[int, int] = (6, 4), on_request: Callable[[str], None] = lambda _: None
    ) -> FakeCrossbar:
        return FakeCrossbar(shape, limits, on_request)

    return make
