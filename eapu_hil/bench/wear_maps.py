"""The wear of a chip for who only looks: nothing is opened for writing, and whoever uses the chip goes on."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from eapu_hil.base.mapped import read_mapped
from eapu_hil.bench.counters import HOLDS, old_name
from eapu_hil.bench.ledger import PER_CELL, layouts
from eapu_hil.bench.passport import Chip

Maps = dict[str, NDArray[Any]]


def wear_maps(chip: Chip) -> list[Maps]:
    """Of each array the counts of its cells by the names of the ledger, (rows, columns).

    A chip that was never used has none. Raises ConfigError for a damaged file.
    """
    folder = chip.directory / "ledger"
    found: list[Maps] = []
    for number in range(chip.passport.arrays if folder.is_dir() else 0):
        maps: Maps = {}
        for layout in layouts(chip.passport.shape):
            path = folder / f"array{number}" / f"{layout.name}.npy"
            if not path.exists() and old_name(path).exists():
                path = old_name(path)
            if layout.name in PER_CELL and path.exists():
                maps[layout.name] = read_mapped(path, layout.fresh(), HOLDS)[0]
        found.append(maps)
    return found
