"""Requests of the contract to the cells and lines of a chip: to one array, or to several at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import (
    Cells,
    CellStatus,
    Direction,
    FloatArray,
    IntArray,
    ProductRequest,
    Reading,
    Targets,
    UnsupportedError,
    WearAccount,
    WriteOutcome,
)
from eapu_hil.hal.recipe import Recipe
from eapu_hil.hal.several import by_array
from eapu_hil.hal.writeverify import repeat_epochs
from eapu_hil.twin.array import TwinArray
from eapu_hil.twin.chip import TwinChip
from eapu_hil.twin.products import ChipProducts, Grid


class ChipRequests:
    """What `crossbar.py` asks for one array, and `wide.py` for several. Cells are named as in `TwinChip`.

    arrays: by number. accounts: where the pulses of each are counted before they are sent, by number.
    """

    def __init__(self, chip: TwinChip, i_max_a: float) -> None:
        """i_max_a: a pulse whose current reaches it ends its cell's write."""
        self.chip = chip
        self._products = ChipProducts(chip)
        self.arrays = [TwinArray(chip, number, self._products) for number in range(chip.arrays)]
        self.accounts: dict[int, WearAccount] = {}
        self._i_max_a = i_max_a

    def wait(self, duration_s: float, numbers: IntArray) -> None:
        """Advances the clock and lets the cells of some arrays relax. Raises ValueError where it is negative."""
        self.chip.clock.advance(duration_s)
        self.chip.waited(numbers, duration_s)

    def read(self, index: IntArray, v_read_v: float) -> Reading:
        """Verify reads, a row at a time: its gates on, its line driven, all columns virtual grounds.

        Raises UnsupportedError for a voltage that the input converter cannot give, or that it rounds to 0 V.
        """
        g_S, saturated = self.chip.read(index, self._row_v(v_read_v))
        return Reading(g_S, np.where(saturated, CellStatus.SATURATED, CellStatus.OK).astype(np.uint8))

    def program(self, index: IntArray, g_target_S: FloatArray, recipe: Recipe) -> WriteOutcome:
        """Write-verify of cells (unique), side by side."""
        wait = partial(self.wait, numbers=np.unique(index // self.chip.count))
        # As if the arrays stood on top of each other.
        targets = Targets(Cells(*np.divmod(index, self.chip.shape[1])), g_target_S)
        return repeat_epochs(wait, targets, recipe, self._one_epoch)

    def products(self, requests: Sequence[ProductRequest]) -> list[NDArray[np.floating]]:
        """Products with the arrays as they are now, wires and noise included.

        float32 for float32 voltages, unless the converters are ideal.

        Raises UnsupportedError for a voltage that the input converters cannot give, before any product is made.
        """
        driven_v = [self.chip.dac.convert(one.v_in_v) for one in requests]
        return [self._product(one, v_v) for one, v_v in zip(requests, driven_v, strict=True)]

    def expect(self, index: IntArray, at_most: IntArray | int) -> None:
        """See `Account` of the chip."""
        for account, cells, here in self._accounts_of(index):
            account.expect(cells, at_most if isinstance(at_most, int) else at_most[here])

    def settle(self, index: IntArray, at_most: IntArray, pulses: IntArray) -> None:
        """See `Account` of the chip."""
        for account, cells, here in self._accounts_of(index):
            account.settle(cells, at_most[here], pulses[here])

    def _accounts_of(self, index: IntArray) -> Iterator[tuple[WearAccount, Cells, IntArray]]:
        """Accounts, the cells of each, and where those are in `index`."""
        array, within = np.divmod(index, self.chip.count)
        cells = Cells(*np.divmod(within, self.chip.shape[1]))
        for number, here in by_array(array):
            account = self.accounts.get(number)
            if account is not None:
                yield account, cells[here], here

    def _one_epoch(self, targets: Targets, recipe: Recipe) -> WriteOutcome:
        index = targets.cells.row * self.chip.shape[1] + targets.cells.col
        v_row_v = self._row_v(recipe.v_read_v)
        return self.chip.write(index, targets.g_target_S, recipe, v_row_v, self._i_max_a, self)

    def _product(self, one: ProductRequest, v_v: NDArray[np.floating]) -> NDArray[np.floating]:
        grid = Grid(one.arrays, one.direction is Direction.FORWARD, one.lines_in, one.lines_out)
        current_a = self._products.measured_a(grid, v_v)
        return current_a if one.v_in_v.dtype == np.float32 else current_a.astype(np.float64, copy=False)

    def _row_v(self, v_read_v: float) -> float:
        """What the input converter makes of a read voltage."""
        v_row_v = float(self.chip.dac.convert(np.array([v_read_v]))[0])
        if v_row_v == 0.0:
            raise UnsupportedError(
                f"twin: a read at {v_read_v} V asked; allowed is at least half a step of the input converter "
                "(dac.bits, dac.v_full_scale_v)"
            )
        return v_row_v
