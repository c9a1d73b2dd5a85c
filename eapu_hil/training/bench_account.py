"""The data that a run records about its bench: time, counts of the ledger, conductance maps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.bench import Bench
from eapu_hil.bench.counts import LedgerCounts
from eapu_hil.bench.energy import EnergyModel, energy_j
from eapu_hil.hal import Cells, HilError
from eapu_hil.placement.layout import Layout


class BenchAccount:
    """bench: where the run is. layout: where its weights lie."""

    def __init__(self, bench: Bench, layout: Layout) -> None:
        self._bench = bench
        self._layout = layout
        self._began = self.counts()

    def clock_s(self) -> float:
        """Bench time, s."""
        return self._bench.arrays[0].clock_s()

    def counts(self) -> LedgerCounts:
        """The chip's ledger as it stands."""
        return self._bench.ledger.snapshot()

    def used(self) -> NDArray[np.bool_]:
        """Which cells hold weights or did so earlier, shape (arrays, rows, columns)."""
        return self._layout.ever_occupied((len(self._bench.arrays), *self._bench.arrays[0].shape))

    def maps(self, moment: str) -> dict[str, NDArray[Any]]:
        """For the report: `g_<moment>_S_<array>`, read now, and `pulses_<array>`, of each cell so far."""
        maps: dict[str, NDArray[Any]] = {}
        pulses = self._bench.ledger.pulses()
        for number, array in enumerate(self._bench.arrays):
            reading = array.read(Cells.all(array.shape), self._bench.recipe.v_read_v)
            maps[f"g_{moment}_S_{number}"] = reading.g_S.reshape(array.shape)
            maps[f"pulses_{number}"] = pulses[number].copy()
        return maps

    def live_counts(self) -> dict[str, Any]:
        """For who watches: energy since this session began, by the ledger, and the counters of a board's line."""
        counts = self.counts() - self._began
        link = self._bench.arrays[0].link_counts()
        counted = {"energy_j": energy_j(counts, EnergyModel())["total"]}
        return counted if link is None else {**counted, "link": vars(link)}

    def ground(self) -> None:
        """Every line of every array to 0 V. Raises HilError where that fails, once all were tried."""
        failures: list[str] = []
        for array in self._bench.arrays:
            try:
                array.ground()
            except HilError as error:
                failures.append(f"{array.name}: {error}")
        if failures:
            raise HilError("; ".join(failures))

    def flush(self) -> None:
        """Makes the ledger durable."""
        self._bench.ledger.flush()
