"""The cells of a chip under calibration, as its ledger has them: the last reading and the pulses of each.

The ledger lies in files that the calibration writes as it goes; they are read, and nothing is asked of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eapu_hil.live.cells import QUANTITIES, Quantity
from eapu_hil.live.places import Entry, UnknownError

_FILES: dict[Quantity, str] = {"g": "g_last_S.npy", "wear": "pulses.npy"}
_CELLS_MOST = 1 << 24  # of an array that can be meant


class ChipMaps:
    """version: changes with the cells. shape: rows and columns; None before anything was read."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._maps: dict[Quantity, NDArray[np.float32]] = {}
        self.array = 0
        self.version = 0

    @property
    def shape(self) -> tuple[int, int] | None:
        if not self._maps:
            return None
        rows, columns = self._maps["g"].shape
        return rows, columns

    def refresh(self, array: int) -> None:
        """Reads the maps of an array of the chip anew."""
        try:
            found = {name: self._read(array, name) for name in QUANTITIES}
        except (OSError, ValueError, EOFError, UnknownError):  # it is being made, or is none of ours
            return
        same = array == self.array and all(
            name in self._maps and np.array_equal(its, self._maps[name], equal_nan=True)
            for name, its in found.items()
        )
        if not same and found["g"].shape == found["wear"].shape:
            self._maps, self.array, self.version = found, array, self.version + 1

    def map(self, array: int, quantity: str) -> bytes:
        """Little-endian float32, row by row. Raises UnknownError."""
        for name, values in self._maps.items():
            if name == quantity and array == self.array:
                return bytes(values.astype("<f4").tobytes())
        raise UnknownError("no such map of this chip")

    def _read(self, array: int, quantity: Quantity) -> NDArray[np.float32]:
        path = self._entry.file("ledger", f"array{array}", _FILES[quantity])
        values = np.load(path, mmap_mode="r", allow_pickle=False)
        if values.ndim != 2 or not 0 < values.size <= _CELLS_MOST or values.dtype.kind not in "if":
            raise ValueError("not a counter of cells")
        return np.asarray(values, np.float32)
