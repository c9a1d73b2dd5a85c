"""The contract's suite on the lab's own array."""

from collections.abc import Iterator

import pytest

from eapu_hil.bench import Bench, open_bench
from eapu_hil.bench.forming import form
from eapu_hil.hal import Cells
from eapu_hil.hal.testing import CrossbarContract


class TestLabArray(CrossbarContract):
    @pytest.fixture(scope="class")
    def bench(self) -> Iterator[Bench]:
        with open_bench("lab_bench") as bench:
            form(bench.arrays[0], Cells.all(bench.arrays[0].shape), bench.recipe)
            yield bench
