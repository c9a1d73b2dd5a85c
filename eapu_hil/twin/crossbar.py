"""The twin as a `Crossbar`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import (
    Cells,
    Direction,
    Identity,
    IntArray,
    Limits,
    ProductRequest,
    PulseOutcome,
    Pulses,
    Reading,
    Targets,
    WearAccount,
    WriteOutcome,
)
from eapu_hil.hal.recipe import Recipe
from eapu_hil.twin.cells import compliance
from eapu_hil.twin.requests import ChipRequests


class TwinCrossbar:
    """One simulated array behind the contract."""

    def __init__(
        self, requests: ChipRequests, number: int, limits: Limits, recipe: Recipe, identity: Identity
    ) -> None:
        """number: of the array. recipe: what program requests use that name none."""
        self._requests = requests
        self._number = number
        self._array = requests.arrays[number]
        self._limits = limits
        self._recipe = recipe
        self._identity = identity

    def account_to(self, account: WearAccount) -> None:
        """See `AccountsForWear`."""
        self._requests.accounts[self._number] = account

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def shape(self) -> tuple[int, int]:
        return self._array.shape

    @property
    def limits(self) -> Limits:
        return self._limits

    def clock_s(self) -> float:
        """Simulated bench time, s."""
        return self._requests.chip.clock.now_s()

    def wait(self, duration_s: float) -> None:
        """Advances the clock by `duration_s` and lets the cells relax. Raises ValueError when negative."""
        self._requests.wait(duration_s, np.array([self._number]))

    def ground(self) -> None:
        """Nothing is driven between requests; the twin's lines are at 0 V already."""

    def read(self, cells: Cells, v_read_v: float) -> Reading:
        """See `ChipRequests.read`."""
        return self._requests.read(self._array.index(cells.row, cells.col), v_read_v)

    def vmm(
        self,
        v_in_v: NDArray[np.floating],
        direction: Direction,
        lines_in: IntArray | None = None,
        lines_out: IntArray | None = None,
    ) -> NDArray[np.floating]:
        """Products of all vectors of the batch with the array as it is now, wires and noise included."""
        lines = [None if one is None else one[None, None] for one in (lines_in, lines_out)]
        request = ProductRequest(np.array([[self._number]]), v_in_v[None], direction, *lines)
        current_a: NDArray[np.floating] = self._requests.products([request])[0][0, 0]
        return current_a

    def pulse(self, pulses: Pulses) -> PulseOutcome:
        """Applies the pulses, cell after cell; each advances the clock."""
        index = pulses.cells.row * self.shape[1] + pulses.cells.col
        peak_a = np.zeros(index.size)
        for number in range(int(pulses.count.max(initial=0))):
            now = pulses.count > number
            self._requests.expect(self._array.index(pulses.cells.row[now], pulses.cells.col[now]), 1)
            reached_a = self._array.pulse(
                index[now],
                pulses.polarity[now],
                pulses.amplitude_v[now],
                pulses.gate_v[now],
                pulses.width_s[now],
            )
            peak_a[now] = np.maximum(peak_a[now], reached_a)
        return PulseOutcome(compliance(peak_a, self._limits.i_max_a))

    def program(self, targets: Targets, recipe: Recipe | None = None) -> WriteOutcome:
        """Write-verify with `recipe` or the bench's own."""
        index = self._array.index(targets.cells.row, targets.cells.col)
        return self._requests.program(index, targets.g_target_S, recipe or self._recipe)
