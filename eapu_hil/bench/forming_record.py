"""The record of forming, cell by cell: at which voltage, to which conductance, when.

    forming/arrayN.npz    one map each, shape (rows, columns): state, v_form_v, g_fresh_S, g_formed_S, formed_at_s

Forming is a one-way step: a pulse for a fresh cell destroys what a formed one holds. That cells are about to be formed
is on the disk before the first pulse, so that a killed process leaves no doubt about them.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.seals import read_sealed_npz, write_sealed_npz
from eapu_hil.base.storage import storage_errors
from eapu_hil.bench.passport import Chip
from eapu_hil.bench.usage import holds_something
from eapu_hil.hal import Cells, CellStatus, ConfigError, FloatArray, IntArray
from eapu_hil.hal.recipe import Recipe

# Of `state`; begun: it was about to get forming pulses when a process was killed; failed: it got them in vain.
_UNKNOWN, _BEGUN, _FORMED, _FAILED = range(4)
_CONDUCTING_SHARE = 0.25  # of fresh cells hardly any conducts as well as the lowest state
_MAPS = ("v_form_v", "g_fresh_S", "g_formed_S", "formed_at_s")


class FormingRecord:
    """That of array `number` of a chip."""

    def __init__(self, chip: Chip, number: int) -> None:
        self._chip = chip
        self._number = number

    @property
    def path(self) -> Path:
        """Its file."""
        return self._chip.directory / "forming" / f"array{self._number}.npz"

    def cells_to_form(
        self, cells: Cells, g_S: FloatArray, pulses: IntArray, recipe: Recipe, *, again: bool
    ) -> NDArray[np.bool_]:
        """True for those of `cells` that may get forming pulses: the ones that were not formed; with `again` all.

        g_S: how they read now. pulses: of each so far. Raises ConfigError where the passport does not know cells that
        are not fresh; HilError for a damaged record.
        """
        low = g_S < recipe.form.g_formed_S
        if again:
            return low
        state = self.maps()["state"][cells.row, cells.col]
        unknown = low & (state == _UNKNOWN)
        # Simulated cells made with their passport were formed under it or never: with a record nothing is in doubt.
        made_here = self._chip.passport.fresh
        used = 0 if made_here and self.path.exists() else int((pulses[unknown] > 0).sum())
        if holds_something(
            self._chip
        ):  # a cell that was formed just before the kill may have been written since
            begun = low & (state == _BEGUN)
            unknown, used = unknown | begun, used + int((pulses[begun] > 0).sum())
        # Cells that need no forming conduct from the start: then only the ledger tells.
        conducting = 0 if made_here else int((g_S[unknown] >= recipe.g_min_S).sum())
        if used or conducting > _CONDUCTING_SHARE * unknown.sum():
            why = f"{used} of them were pulsed before" if used else f"{conducting} of them conduct already"
            raise ConfigError(
                f"{self._chip.directory}: array {self._number}: forming of {int(unknown.sum())} cells asked; {why}, "
                "and this passport does not say whether they were formed. If so: eapu-hil form BENCH --formed notes "
                "that and applies no pulse. To form them all the same: eapu-hil form BENCH --again --block "
                "R0:R1,C0:C1"
            )
        chosen: NDArray[np.bool_] = low & (state != _FORMED)
        return chosen

    def is_formed(self, cells: Cells) -> NDArray[np.bool_]:
        """True for those of `cells` that were formed. Raises HilError for a damaged record."""
        found: NDArray[np.bool_] = self.maps()["state"][cells.row, cells.col] == _FORMED
        return found

    def begin(self, cells: Cells) -> None:
        """Notes on the disk that `cells` are about to get forming pulses. Raises ConfigError, HilError."""
        maps = self.maps()
        at = cells.row, cells.col
        maps["state"][at] = np.where(maps["state"][at] == _FORMED, _FORMED, _BEGUN)
        self._write(maps)

    def finish(
        self, cells: Cells, v_form_v: FloatArray, g_fresh_S: FloatArray, g_S: FloatArray, threshold_S: float
    ) -> None:
        """Notes how `cells` ended; those that read `threshold_S` are formed. v_form_v: NaN for none. As `begin`."""
        done = g_S >= threshold_S
        maps, at = self.maps(), (cells.row[~done], cells.col[~done])
        if (maps["state"][at] == _BEGUN).any():
            maps["state"][at] = np.where(maps["state"][at] == _BEGUN, _FAILED, maps["state"][at])
            self._write(maps)
        self._note(cells[done], v_form_v[done], g_fresh_S[done], g_S[done])

    def note(self, cells: Cells, g_S: FloatArray) -> None:
        """Notes that `cells`, which read `g_S`, were formed elsewhere. As `begin`."""
        nothing = np.full(len(cells), np.nan)
        self._note(cells, nothing, nothing, g_S)

    def maps(self) -> dict[str, NDArray[Any]]:
        """The maps by name; what was formed before this file was kept comes from the entries `forming`."""
        try:
            return read_sealed_npz(self.path, "forming", self._owner())
        except FileNotFoundError:
            return self._from_entries()

    def _note(self, cells: Cells, v_form_v: FloatArray, g_fresh_S: FloatArray, g_S: FloatArray) -> None:
        maps, at = self.maps(), (cells.row, cells.col)
        new = maps["state"][at] != _FORMED
        first = np.isfinite(v_form_v) | new  # a cell that was formed before keeps what was noted then
        if not first.any():
            return
        at = cells.row[first], cells.col[first]
        now_s = np.full(int(first.sum()), time.time())
        maps["state"][at] = _FORMED
        for name, values in zip(_MAPS, (v_form_v[first], g_fresh_S[first], g_S[first], now_s), strict=True):
            maps[name][at] = values
        self._write(maps)

    def _write(self, maps: dict[str, NDArray[Any]]) -> None:
        with storage_errors(self.path):
            self.path.parent.mkdir(exist_ok=True)
            write_sealed_npz(self.path, maps, "forming", self._owner(), compressed=True)

    def _owner(self) -> dict[str, str | int]:
        return {"chip": self._chip.id, "array": self._number}

    def _from_entries(self) -> dict[str, NDArray[Any]]:
        shape = self._chip.passport.shape
        maps: dict[str, NDArray[Any]] = {name: np.full(shape, np.nan) for name in _MAPS}
        maps["state"] = np.full(shape, _UNKNOWN, np.uint8)
        for entry in self._chip.of_kinds("forming"):
            found = entry.arrays
            if entry.values.get("array") != self._number or "v_form_v" not in found:
                continue
            formed = np.isfinite(found["v_form_v"]) | (found["status"] == CellStatus.OK)
            known = formed | (maps["state"] == _FORMED)
            maps["state"] = np.where(known, _FORMED, _FAILED).astype(np.uint8)
            for name in ("v_form_v", "g_fresh_S", "g_formed_S"):
                maps[name] = np.where(np.isfinite(found["v_form_v"]), found[name], maps[name])
        return maps
