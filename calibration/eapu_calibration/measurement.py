"""The settings and results that all measurements have in common."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from eapu_hil.hal import Cells, CellStatus, Crossbar, FloatArray, HilError, IntArray, Targets
from eapu_hil.hal.recipe import Recipe

_LOG = logging.getLogger(__name__)

Progress = Callable[[float], None]  # is told the part that is done, 0 to 1


class Settings(BaseModel):
    """The base of the settings of one measurement in a plan."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, eq=False)
class Result:
    """A result. values: plain data for YAML, units in the names. arrays: the measured data, cell by cell."""

    values: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]


class StoppedError(BaseException):
    """A measurement was stopped by a signal, its cause, after it had found something. No failure: not an Exception."""

    def __init__(self, found: Result) -> None:
        super().__init__("stopped")
        self.found = found


@dataclass(frozen=True, eq=False)
class Levels:
    """Cells spread at random over evenly spaced conductances. level: index into `g_S` of each cell, shape (n,)."""

    cells: Cells
    g_S: FloatArray
    level: IntArray

    @classmethod
    def spread(
        cls, cells: Cells, recipe: Recipe, levels: int, rng: np.random.Generator, least: int
    ) -> Levels:
        """Equally many of `cells` (to one) for each of `levels` from `g_min_S` to `g_max_S`.

        Where that were fewer than `least` for each, there are fewer levels, two at least.
        """
        if len(cells) < least * levels:
            levels = min(levels, max(2, len(cells) // (least + least // 4)))  # some of the cells may fail
            _LOG.info("%d cells are enough for %d levels", len(cells), levels)
        level = rng.permutation(np.arange(len(cells)) % levels)
        return cls(cells, np.linspace(recipe.g_min_S, recipe.g_max_S, levels), level)

    def write(self, array: Crossbar, recipe: Recipe, chosen: slice = slice(None)) -> NDArray[np.bool_]:
        """Write-verify of the chosen cells; whether each ended in its band."""
        targets = Targets(self.cells[chosen], self.g_S[self.level[chosen]])
        return np.asarray(array.program(targets, recipe).status == CellStatus.OK)

    def members(self, usable: NDArray[np.bool_], least: int, array: Crossbar) -> list[IntArray]:
        """Indices of the usable cells of each level. Raises HilError where fewer than `least` are left."""
        found = [np.flatnonzero(usable & (self.level == number)) for number in range(self.g_S.size)]
        for g_S, chosen in zip(self.g_S, found, strict=True):
            if chosen.size < least:
                raise HilError(
                    f"{array.identity.serial}: level of {1e6 * g_S:.3g} uS: only {chosen.size} cells could be "
                    f"written and read; {least} are needed. Give the measurement more cells, or fewer levels"
                )
        return found
