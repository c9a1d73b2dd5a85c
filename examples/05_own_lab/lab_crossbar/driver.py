"""The lab's demonstrator, backend `lab`: the keys of its bench files, and how a bench is opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydantic import Field, PositiveFloat

from eapu_hil.bench.config import BenchConfig
from eapu_hil.bench.driver import Driver
from eapu_hil.hal import Crossbar, Identity
from lab_crossbar.array import G_FLOOR_S, LabArray


class LabBench(BenchConfig):
    """What a bench file says, and one key more.

    settle_s: how long the lines settle before a reading, s.
    """

    settle_s: PositiveFloat = Field(default=1e-5, le=1.0)


@contextmanager
def open_arrays(config: LabBench, chip_dir: Path) -> Iterator[list[Crossbar]]:
    """The arrays. A real driver opens its device here, asks who it is, and closes it at the end.

    These cells keep what they hold in `chip_dir`, as a chip does by itself.
    """
    arrays = []
    for number in range(config.arrays):
        file = chip_dir / f"lab_array{number}.npy"
        g_S = np.load(file) if file.exists() else np.full(config.shape, G_FLOOR_S)
        identity = Identity("lab demonstrator", f"lab-{number}", "0.1.0", "")
        arrays.append(LabArray(g_S, identity, config.recipe, config.settle_s))
    try:
        yield list(arrays)
    finally:
        for number, array in enumerate(arrays):
            np.save(chip_dir / f"lab_array{number}.npy", array.g_S)


DRIVER = Driver(LabBench, open_arrays)
