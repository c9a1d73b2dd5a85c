"""The cells of a run as its writes leave them: conductance, wear, write errors, how writes ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import CellStatus

Quantity = Literal["g", "wear"]
QUANTITIES: tuple[Quantity, ...] = ("g", "wear")
_BINS = 60
_BANDS = 4.0  # the histogram of write errors goes so many half widths of the band to both sides


class CellMaps:
    """conductances of all arrays in S, NaN where nothing is known, and the pulses of this run, (arrays, rows, columns).

    changed: the number of the last change of each array. writes: requests so far that needed at least one pulse.
    """

    def __init__(self, arrays: int, shape: tuple[int, int], band_S: float) -> None:
        self.g_S = np.full((arrays, *shape), np.nan, np.float32)
        self.wear = np.zeros((arrays, *shape), np.float32)
        self.changed = [0] * arrays
        self.edges_S = np.linspace(-_BANDS * band_S, _BANDS * band_S, _BINS + 1)
        self.errors = np.zeros(_BINS, np.int64)
        self._statuses = np.zeros(256, np.int64)
        self.version = 0
        self.writes = 0

    def begin(self, snapshots: Mapping[str, NDArray[Any]]) -> None:
        """Takes the conductances that were read before the first write."""
        for number in range(len(self.g_S)):
            before = snapshots.get(f"g_before_S_{number}")
            if before is not None and before.shape == self.g_S[number].shape:
                self.g_S[number] = before
        self._touch(range(len(self.g_S)))

    def forget(self) -> None:
        """The writes begin anew."""
        for counted in (self.wear, self.errors, self._statuses):
            counted[...] = 0
        self.writes = 0

    def take(self, records: NDArray[np.void]) -> None:
        """Writes of any number, in their order. Those of cells that are not there are passed over."""
        array, row, col = (records[name].astype(np.intp) for name in ("array", "row", "col"))
        arrays, rows, columns = self.g_S.shape
        here = (array >= 0) & (array < arrays) & (row >= 0) & (row < rows) & (col >= 0) & (col < columns)
        if not here.all():
            array, row, col, records = array[here], row[here], col[here], records[here]
        cell = (array * rows + row) * columns + col
        after_S, target_S = records["after_S"], records["target_S"]
        read = np.isfinite(after_S)
        self.g_S.reshape(-1)[cell[read]] = after_S[read]  # of several writes of a cell the last one stays
        self.wear += np.bincount(cell, records["pulses"], self.wear.size).reshape(self.wear.shape)
        self.writes += int(np.count_nonzero(records["pulses"]))
        error_S = (after_S - target_S)[read]
        self.errors += np.histogram(np.clip(error_S, self.edges_S[0], self.edges_S[-1]), self.edges_S)[0]
        self._statuses += np.bincount(records["status"], minlength=256)
        self._touch(np.unique(array).tolist())

    @property
    def totals(self) -> dict[str, int]:
        """Cell writes and pulses so far, the first writing of the weights included."""
        return {"writes": self.writes, "pulses": int(self.wear.sum(dtype=np.float64))}

    def statuses(self) -> dict[str, int]:
        """Requests by the way they ended; a cell may have several statuses."""
        found = {"OK": int(self._statuses[CellStatus.OK])}
        values = np.arange(256)
        for status in CellStatus:
            if status != CellStatus.OK:
                found[str(status.name)] = int(self._statuses[(values & status) != 0].sum())
        return {name: count for name, count in found.items() if count or name == "OK"}

    def map(self, array: int, quantity: Quantity) -> bytes:
        """Little-endian float32, row by row."""
        values = self.g_S if quantity == "g" else self.wear
        return bytes(values[array].astype("<f4").tobytes())

    def _touch(self, arrays: Any) -> None:
        self.version += 1
        for number in arrays:
            self.changed[number] = self.version
