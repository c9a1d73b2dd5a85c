"""The lab's array. Its cells are a few lines of numpy here; in a real driver these lines talk to the device.

The clock is a real one: it goes on between two requests, as on any hardware.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import (
    Cells,
    CellStatus,
    Direction,
    FloatArray,
    Identity,
    IntArray,
    Limits,
    Polarity,
    PulseOutcome,
    Pulses,
    Reading,
    Targets,
    WriteOutcome,
)
from eapu_hil.hal.recipe import Recipe
from eapu_hil.hal.writeverify import write_verify

# What the device itself stands, whatever a bench file says.
DEVICE_LIMITS = Limits(
    v_max_v=4.0,
    v_gate_max_v=5.0,
    i_max_a=5e-3,
    width_max_s=1e-2,
    pulses_per_cell_max=10_000,
    v_read_max_v=0.5,
)
G_FLOOR_S = 0.5e-6
NOISE_S = 0.05e-6


class LabArray:
    """A `Crossbar`. g_S: what the cells hold, shape (rows, columns), S."""

    def __init__(self, g_S: FloatArray, identity: Identity, recipe: Recipe, settle_s: float) -> None:
        self.g_S = g_S
        self._identity = identity
        self._recipe = recipe
        self._settle_s = settle_s
        self._rng = np.random.default_rng(0)
        self._opened_s = time.monotonic()

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.g_S.shape
        return rows, columns

    @property
    def limits(self) -> Limits:
        return DEVICE_LIMITS

    def clock_s(self) -> float:
        """Seconds since the array was opened."""
        return time.monotonic() - self._opened_s

    def wait(self, duration_s: float) -> None:
        """Sleeps."""
        time.sleep(duration_s)

    def read(self, cells: Cells, v_read_v: float) -> Reading:  # these cells are linear
        """Lets the lines settle, then measures."""
        time.sleep(self._settle_s)
        held_S = self.g_S[cells.row, cells.col]
        noisy_S = held_S + NOISE_S * self._rng.standard_normal(len(cells))
        return Reading(noisy_S, np.full(len(cells), CellStatus.OK, np.uint8))

    def vmm(
        self,
        v_in_v: NDArray[np.floating],
        direction: Direction,
        lines_in: IntArray | None = None,
        lines_out: IntArray | None = None,
    ) -> FloatArray:
        """Ohm and Kirchhoff."""
        g_S = self.g_S if direction is Direction.FORWARD else self.g_S.T
        rows = slice(None) if lines_in is None else lines_in
        columns = slice(None) if lines_out is None else lines_out
        return np.asarray(v_in_v, np.float64) @ g_S[rows][:, columns]

    def pulse(self, pulses: Pulses) -> PulseOutcome:
        """A SET pulls a cell towards what its gate lets through, a RESET towards the floor; strong pulses by more."""
        for number in range(int(pulses.count.max(initial=0))):
            now = pulses.count > number
            row, col = pulses.cells.row[now], pulses.cells.col[now]
            raising = pulses.polarity[now] != Polarity.RESET
            line = self._recipe.set
            through_S = np.maximum(
                (pulses.gate_v[now] - line.gate_offset_v) * line.gate_slope_S_per_v, G_FLOOR_S
            )
            held_S = self.g_S[row, col]
            goal_S = np.where(raising, np.maximum(through_S, held_S), G_FLOOR_S)
            share = 1 / (1 + np.exp((1.5 - pulses.amplitude_v[now]) / 0.15))
            spread = np.exp(0.1 * self._rng.standard_normal(row.size))
            self.g_S[row, col] = held_S + np.minimum(share * spread, 1.0) * (goal_S - held_S)
        return PulseOutcome(np.full(len(pulses.cells), CellStatus.OK, np.uint8))

    def program(self, targets: Targets, recipe: Recipe | None = None) -> WriteOutcome:
        """Nothing nearer to the cells than the host can verify here."""
        return write_verify(self, targets, recipe or self._recipe)

    def ground(self) -> None:
        """Nothing is driven between requests."""
