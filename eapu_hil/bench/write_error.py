"""The distance of written cells from their targets: the entry `write_error` of a passport."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from eapu_hil.bench.entries import Measurement
from eapu_hil.hal import FloatArray, HilError


@dataclass(frozen=True, eq=False)
class WriteError:
    """The distance of a written cell from its target, by conductance; arrays of shape (levels,), levels rising.

    sigma_write_S: sd at the last verify reading. sigma_relax_S: sd of the change in `relax_time_s` after it.
    """

    levels_S: FloatArray
    sigma_write_S: FloatArray
    sigma_relax_S: FloatArray
    relax_time_s: float

    def sigma_S(self, g_S: ArrayLike) -> FloatArray:
        """sqrt(sigma_write^2 + sigma_relax^2) at each conductance: linear between levels, constant beyond."""
        sigma_S = np.hypot(self.sigma_write_S, self.sigma_relax_S)
        found: FloatArray = np.interp(np.asarray(g_S), self.levels_S, sigma_S)
        return found

    @classmethod
    def of(cls, entry: Measurement, path: Path) -> WriteError:
        """From an entry; path: its file. Raises HilError when it is damaged."""
        names = ("levels_S", "sigma_write_S", "sigma_relax_S")
        try:
            levels_S, write_S, relax_S = (np.asarray(entry.values[name], dtype=np.float64) for name in names)
            relax_time_s = float(entry.values["relax_time_s"])
        except (KeyError, TypeError, ValueError) as error:
            raise HilError(f"{path}: damaged: {error!r}") from error
        same = levels_S.shape == write_S.shape == relax_S.shape and levels_S.size > 0
        if not same or not np.isfinite([levels_S, write_S, relax_S]).all() or (np.diff(levels_S) <= 0).any():
            raise HilError(f"{path}: damaged: {', '.join(names)} must be finite, levels_S rising")
        return cls(levels_S, write_S, relax_S, relax_time_s)
