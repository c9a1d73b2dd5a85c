"""The arrays of a twin bench, asked together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import Cells, IntArray, ProductRequest, Reading, Targets, WriteOutcome
from eapu_hil.hal.recipe import Recipe
from eapu_hil.hal.several import by_array, joined, no_reading, no_writes
from eapu_hil.twin.crossbar import TwinCrossbar


class TwinArrays(Sequence[TwinCrossbar]):
    """The arrays by number, as `BenchWide`: one after the other, each as a `TwinCrossbar` does it."""

    def __init__(self, arrays: Sequence[TwinCrossbar]) -> None:
        self._arrays = arrays

    def __len__(self) -> int:
        return len(self._arrays)

    @overload
    def __getitem__(self, index: int) -> TwinCrossbar: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[TwinCrossbar]: ...

    def __getitem__(self, index: int | slice) -> TwinCrossbar | Sequence[TwinCrossbar]:
        return self._arrays[index]

    def read_cells(self, array: IntArray, cells: Cells, v_read_v: float) -> Reading:
        """See `BenchWide`."""
        parts = by_array(array)
        answers = [self._arrays[number].read(cells[here], v_read_v) for number, here in parts]
        return joined(answers, [here for _, here in parts], no_reading())

    def program_cells(self, array: IntArray, targets: Targets, recipe: Recipe) -> WriteOutcome:
        """See `BenchWide`."""
        parts = by_array(array)
        answers = [
            self._arrays[number].program(Targets(targets.cells[here], targets.g_target_S[here]), recipe)
            for number, here in parts
        ]
        return joined(answers, [here for _, here in parts], no_writes())

    def products(self, requests: Sequence[ProductRequest]) -> list[NDArray[np.floating]]:
        """See `BenchWide`."""
        return [
            self._arrays[one.array].vmm(one.v_in_v, one.direction, one.lines_in, one.lines_out)
            for one in requests
        ]
