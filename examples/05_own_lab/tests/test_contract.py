"""The contract's suite on the lab's own array."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from eapu_hil.bench import Bench, open_bench
from eapu_hil.bench.forming import form
from eapu_hil.hal import Cells
from eapu_hil.hal.testing import CrossbarContract


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    chip_dir: Path = tmp_path_factory.mktemp("chip")
    with open_bench("lab_bench", chip_dir=chip_dir) as opened:
        form(opened.arrays[0], Cells.all(opened.config.shape), opened.recipe)
        yield opened


class TestLabArray(CrossbarContract):
    """The whole suite; nothing to add."""
