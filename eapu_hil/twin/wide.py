"""The arrays of a twin bench, asked together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import Cells, IntArray, ProductRequest, Reading, Targets, WriteOutcome
from eapu_hil.hal.recipe import Recipe
from eapu_hil.twin.crossbar import TwinCrossbar
from eapu_hil.twin.requests import ChipRequests


class TwinArrays(Sequence[TwinCrossbar]):
    """The arrays by number, as `BenchWide`: the cells of a request are read and written side by side."""

    def __init__(self, requests: ChipRequests, arrays: Sequence[TwinCrossbar]) -> None:
        self._requests = requests
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
        return self._requests.read(self._requests.chip.index(array, cells), v_read_v)

    def program_cells(self, array: IntArray, targets: Targets, recipe: Recipe) -> WriteOutcome:
        """See `BenchWide`."""
        index = self._requests.chip.index(array, targets.cells)
        return self._requests.program(index, targets.g_target_S, recipe)

    def products(self, requests: Sequence[ProductRequest]) -> list[NDArray[np.floating]]:
        """See `BenchWide`."""
        return self._requests.products(requests)
