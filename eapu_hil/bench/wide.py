"""The arrays of an open bench, with requests over several of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import overload

import numpy as np
from numpy.typing import NDArray

from eapu_hil.bench import books
from eapu_hil.bench.array import BenchArray
from eapu_hil.bench.books import Part, concerned
from eapu_hil.bench.interlock import sending
from eapu_hil.bench.limits import LimitCheck
from eapu_hil.bench.product_check import ProductCheck
from eapu_hil.bench.programmed import recording
from eapu_hil.bench.requests import Numbered, own_cells, own_numbers, own_targets
from eapu_hil.hal import BenchWide, Cells, IntArray, ProductRequest, Reading, Targets, WriteOutcome
from eapu_hil.hal.recipe import Recipe
from eapu_hil.hal.several import by_array, joined, no_reading, no_writes


class BenchArrays(Sequence[BenchArray]):
    """The arrays by number, and the requests of `BenchWide`, with the same promises as those of a `BenchArray`.

    A request is checked whole before any of it is sent, and an exception grounds all arrays that it concerns. Devices
    that know no such requests are asked array by array.
    """

    def __init__(self, arrays: Sequence[BenchArray], devices: BenchWide | None = None) -> None:
        """arrays: of one shape, with the same limits. devices: those behind them, if they take such requests."""
        self._arrays = list(arrays)
        self._devices = devices
        self._names = [array.name for array in arrays]
        self._product_check = ProductCheck(arrays[0].shape, arrays[0].limits)

    def __len__(self) -> int:
        return len(self._arrays)

    @overload
    def __getitem__(self, index: int) -> BenchArray: ...

    @overload
    def __getitem__(self, index: slice) -> list[BenchArray]: ...

    def __getitem__(self, index: int | slice) -> BenchArray | list[BenchArray]:
        return self._arrays[index]

    def without_record(self) -> BenchArrays:
        """The same arrays without the record of writes; see `BenchArray.without_record`."""
        return BenchArrays([array.without_record() for array in self._arrays], self._devices)

    def at_once(self, array: IntArray) -> list[IntArray]:
        """The requests in which cells on these arrays are best written: where, among them, those of each are.

        All in one; or an array at a time, where the devices can do no more, so that its outcome is known, and can be
        recorded, before the next array is written.
        """
        if self._devices is None:
            return [here for _, here in by_array(array)]
        return [np.arange(array.size)] if array.size else []

    def read_cells(self, array: IntArray, cells: Cells, v_read_v: float) -> Reading:
        """See `BenchWide`."""
        cells = own_cells(cells)
        numbered = own_numbers(array, self._names, len(cells))
        parts = self._parts(numbered, cells)
        cells, v_read_v = self._check(numbered).read(cells, v_read_v)
        if self._devices is not None:
            ask = partial(self._devices.read_cells, numbered.array, cells, v_read_v)
            return books.read(list(parts.values()), cells, v_read_v, ask)
        with sending([part.books.interlock for part in parts.values()]):
            answers = [self._arrays[number].read(part.cells, v_read_v) for number, part in parts.items()]
        return joined(answers, [here for _, here in by_array(numbered.array)], no_reading())

    def program_cells(self, array: IntArray, targets: Targets, recipe: Recipe) -> WriteOutcome:
        """See `BenchWide`; as with `BenchArray.program`, writes are recorded in the passport."""
        targets = own_targets(targets)
        numbered = own_numbers(array, self._names, len(targets))
        parts = self._parts(numbered, targets.cells)
        targets, recipe = self._check(numbered).program(targets, recipe)
        if self._devices is not None:
            ask = partial(self._devices.program_cells, numbered.array)
            outcome = books.program(
                list(parts.values()), targets, recipe, lambda adjusted: ask(adjusted, recipe)
            )
            with recording(outcome):
                for number, part in parts.items():
                    if self._arrays[number].records_writes:
                        self._arrays[number].record(part.targets(targets), part.outcome(outcome))
            return outcome
        with sending([part.books.interlock for part in parts.values()]):
            answers = [
                self._arrays[number].program(part.targets(targets), recipe) for number, part in parts.items()
            ]
        return joined(answers, [here for _, here in by_array(numbered.array)], no_writes())

    def products(self, requests: Sequence[ProductRequest]) -> list[NDArray[np.floating]]:
        """See `BenchWide`."""
        asked = [self._product_check.several(self._names, one) for one in requests]
        for number in concerned(asked):
            self._arrays[number].interlock.refuse_when_closed()
        if self._devices is not None:
            return books.products([array.books for array in self._arrays], asked, self._devices.products)
        with sending([self._arrays[number].interlock for number in concerned(asked)]):
            return [self._one_by_one(one) for one in asked]

    def _one_by_one(self, asked: ProductRequest) -> NDArray[np.floating]:
        """Products of devices that know no requests to several arrays."""
        found = [
            self._arrays[number].vmm(
                asked.v_in_v[k], asked.direction, asked.driven(k, m), asked.measured(k, m)
            )
            for k, m, number in asked.grid()
        ]
        return np.stack(found).reshape(*asked.arrays.shape, *found[0].shape)

    def _parts(self, numbered: Numbered, cells: Cells) -> dict[int, Part]:
        """The cells on each array that is concerned, by its number. Raises LimitError where one is closed."""
        parts = {}
        for number, here in by_array(numbered.array):
            array = self._arrays[number]
            array.interlock.refuse_when_closed()
            parts[number] = Part(array.books, cells, here)
        return parts

    def _check(self, numbered: Numbered) -> LimitCheck:
        """The one of all arrays: they have the same limits."""
        return replace(self._arrays[0].interlock.check, name="the bench", several=numbered)
