"""The twin as a `Crossbar`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import (
    Cells,
    CellStatus,
    Direction,
    Identity,
    IntArray,
    Limits,
    PulseOutcome,
    Pulses,
    Reading,
    Targets,
    UnsupportedError,
    WearAccount,
    WriteOutcome,
)
from eapu_hil.hal.recipe import Recipe
from eapu_hil.hal.writeverify import repeat_epochs
from eapu_hil.twin.array import TwinArray
from eapu_hil.twin.cells import compliance
from eapu_hil.twin.chip import TwinChip


class TwinCrossbar:
    """One simulated array behind the contract."""

    def __init__(
        self, chip: TwinChip, number: int, limits: Limits, recipe: Recipe, identity: Identity
    ) -> None:
        """number: of the array. recipe: what program requests use that name none."""
        self._chip = chip
        self._array = TwinArray(chip, number)
        self._clock = chip.clock
        self._limits = limits
        self._recipe = recipe
        self._identity = identity
        self._account: WearAccount | None = None

    def account_to(self, account: WearAccount) -> None:
        """See `AccountsForWear`."""
        self._account = account

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
        return self._clock.now_s()

    def wait(self, duration_s: float) -> None:
        """Advances the clock by `duration_s` and lets the cells relax. Raises ValueError when negative."""
        self._clock.advance(duration_s)
        self._array.waited(duration_s)

    def ground(self) -> None:
        """Nothing is driven between requests; the twin's lines are at 0 V already."""

    def read(self, cells: Cells, v_read_v: float) -> Reading:
        """Verify read, a row at a time: its gates on, its line driven, all columns virtual grounds.

        Raises UnsupportedError for a voltage that the input converter cannot give, or that it rounds to 0 V.
        """
        g_S, saturated = self._array.read(cells.row, cells.col, self._row_v(v_read_v))
        return Reading(g_S, np.where(saturated, CellStatus.SATURATED, CellStatus.OK).astype(np.uint8))

    def vmm(
        self,
        v_in_v: NDArray[np.floating],
        direction: Direction,
        lines_in: IntArray | None = None,
        lines_out: IntArray | None = None,
    ) -> NDArray[np.floating]:
        """Products of all vectors of the batch with the array as it is now, wires and noise included."""
        v_v = self._array.dac.convert(v_in_v)
        selection = self._array.select(direction is Direction.FORWARD, lines_in, lines_out)
        current_a = self._array.products(selection, v_v)
        return current_a if v_in_v.dtype == np.float32 else current_a.astype(np.float64, copy=False)

    def pulse(self, pulses: Pulses) -> PulseOutcome:
        """Applies the pulses, cell after cell; each advances the clock."""
        index = pulses.cells.row * self.shape[1] + pulses.cells.col
        peak_a = np.zeros(index.size)
        for number in range(int(pulses.count.max(initial=0))):
            now = pulses.count > number
            if self._account is not None:
                self._account.expect(pulses.cells if now.all() else pulses.cells[now], 1)
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
        return repeat_epochs(self, targets, recipe or self._recipe, self._one_epoch)

    def _one_epoch(self, targets: Targets, recipe: Recipe) -> WriteOutcome:
        first, columns = self._array.index(*np.zeros((2, 1), np.int64))[0], self.shape[1]

        def expect(index: IntArray) -> None:
            if self._account is not None:
                self._account.expect(Cells(*np.divmod(index - first, columns)), 1)

        cells = self._array.index(targets.cells.row, targets.cells.col)
        v_row_v = self._row_v(recipe.v_read_v)
        return self._chip.write(cells, targets.g_target_S, recipe, v_row_v, self._limits.i_max_a, expect)

    def _row_v(self, v_read_v: float) -> float:
        """What the input converter makes of a read voltage."""
        v_row_v = float(self._array.dac.convert(np.array([v_read_v]))[0])
        if v_row_v == 0.0:
            raise UnsupportedError(
                f"twin: a read at {v_read_v} V asked; allowed is at least half a step of the input converter "
                "(dac.bits, dac.v_full_scale_v)"
            )
        return v_row_v
