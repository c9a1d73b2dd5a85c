"""The parts of an open bench that the suite uses, and the levels that its tests program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from eapu_hil.hal.crossbar import Cells, Crossbar, Targets
from eapu_hil.hal.recipe import Recipe
from eapu_hil.hal.vectors import FloatArray, IntArray

# Of the window: readings of one cell a moment apart may differ by this in the mean.
NOISE = 0.038


class Counts(Protocol):
    """The counts in the ledger of a bench. pulses, verify_reads: shape (arrays, rows, columns)."""

    @property
    def pulses(self) -> IntArray: ...

    @property
    def verify_reads(self) -> IntArray: ...

    @property
    def vmm_vectors(self) -> int: ...


class CountingLedger(Protocol):
    """The ledger of a bench."""

    def snapshot(self) -> Counts: ...


class BenchUnderTest(Protocol):
    """An open bench; `eapu_hil.bench.open_bench` yields one. The suite tests its first array."""

    @property
    def arrays(self) -> Sequence[Crossbar]: ...

    @property
    def recipe(self) -> Recipe: ...

    @property
    def ledger(self) -> CountingLedger: ...


class WindowLevels:
    """Conductances within a recipe's window, S."""

    def __init__(self, recipe: Recipe) -> None:
        self.window_S = recipe.g_max_S - recipe.g_min_S
        self._g_min_S = recipe.g_min_S
        self.noise_S = NOISE * self.window_S

    def at(self, share: float) -> float:
        """The conductance at this share of the window, 0 to 1."""
        return self._g_min_S + share * self.window_S

    def random(self, seed: int, count: int) -> FloatArray:
        """Uniform between 3 and 95 % of the window, shape (count,)."""
        return np.random.default_rng(seed).uniform(self.at(0.03), self.at(0.95), count)

    def board(self, cells: Cells) -> FloatArray:
        """A checkerboard of 18 and 74 % of the window, shape (cells,)."""
        board: FloatArray = np.where((cells.row + cells.col) % 2, self.at(0.74), self.at(0.18))
        return board


def write(array: Crossbar, cells: Cells, g_target_S: FloatArray | float) -> None:
    """Programs the cells; the caller reads them to see the outcome."""
    array.program(Targets(cells, np.broadcast_to(g_target_S, len(cells)).astype(np.float64)))
