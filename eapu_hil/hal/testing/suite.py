"""The whole suite as one class to derive from."""

from __future__ import annotations

import pytest

from eapu_hil.hal.crossbar import Cells, Crossbar
from eapu_hil.hal.testing.limits import LimitContract
from eapu_hil.hal.testing.products import ProductContract
from eapu_hil.hal.testing.time import GroundContract, TimeContract
from eapu_hil.hal.testing.under_test import BenchUnderTest, WindowLevels
from eapu_hil.hal.testing.writing import IdentityContract, ProgramContract, PulseContract, ReadContract


class CrossbarContract(
    IdentityContract,
    ReadContract,
    ProgramContract,
    PulseContract,
    ProductContract,
    LimitContract,
    GroundContract,
    TimeContract,
):
    """The checks that every array must pass. Give it a fixture `bench`, and `cells` if some cells must be left alone.

    Voltages, widths and levels are those of the bench's recipe and limits.
    """

    @pytest.fixture
    def array(self, bench: BenchUnderTest) -> Crossbar:
        """The first array of the bench."""
        return bench.arrays[0]

    @pytest.fixture
    def cells(self, array: Crossbar) -> Cells:
        """The cells that are programmed: all of the array. They have to be formed and to work."""
        return Cells.all(array.shape)

    @pytest.fixture
    def levels(self, bench: BenchUnderTest) -> WindowLevels:
        """Conductances within the window of the bench's recipe."""
        return WindowLevels(bench.recipe)

    @pytest.fixture
    def v_read_v(self, bench: BenchUnderTest) -> float:
        """The read voltage of the bench's recipe, V."""
        return bench.recipe.v_read_v
