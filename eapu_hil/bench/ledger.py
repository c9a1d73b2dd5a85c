"""The ledger of a chip: counts and joules of every cell, kept with the chip and not with the run.

The counters are memory-mapped files in the chip's directory (`eapu_hil.bench.counters`), so that a process that is
killed loses none of them. Pulses are counted before they are applied (`eapu_hil.hal.wear`). Energies that need an
assumption about the converters or the read time are not stored here: the ledger keeps what they are computed from
(`eapu_hil.bench.energy`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.storage import storage_errors
from eapu_hil.bench.counters import CounterFile, Layout, Record
from eapu_hil.bench.counts import LedgerCounts
from eapu_hil.bench.driven import Driven
from eapu_hil.hal import Cells, Direction, FloatArray, IntArray, Pulses

_TOTALS = np.dtype(
    [
        ("vmm_vectors", "<i8"),
        ("vmm_dac_conversions", "<i8"),
        ("vmm_adc_conversions", "<i8"),
        ("vmm_power_w", "<f8"),
        ("verify_power_w", "<f8"),
        ("pulse_line_v2", "<f8"),
    ]
)
_COUNT, _REAL = np.dtype(np.int64), np.dtype(np.float64)
_LATER = "vmm_cells"
PER_CELL = ("pulses", "writes", "verify_reads", "pulse_energy_j", "g_last_S")


def layouts(shape: tuple[int, int]) -> list[Layout]:
    """The counters of an array of `shape` (rows, columns)."""
    return [
        *(Layout(name, _COUNT, shape) for name in PER_CELL[:3]),
        Layout("pulse_energy_j", _REAL, shape),
        Layout("g_last_S", _REAL, shape, np.nan),
        Layout("totals", _TOTALS, (1,)),
        Layout(_LATER, _COUNT, (1,), later=True),
    ]


class ArrayLedger:
    """The counters of one array, in `directory`."""

    def __init__(
        self,
        directory: Path,
        shape: tuple[int, int],
        owner: Mapping[str, str | int] | None = None,
        *,
        whole: bool = False,
    ) -> None:
        """Opens the counters, or makes them. owner, whole: see `CounterFile`.

        Raises ConfigError when one is missing, damaged, of another shape or of another array.
        """
        with storage_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
        self.files = {
            layout.name: CounterFile(directory / f"{layout.name}.npy", layout, dict(owner or {}), whole=whole)
            for layout in layouts(shape)
        }
        self.shape = shape
        self._energy_j, self._g_S = self.files["pulse_energy_j"].flat, self.files["g_last_S"].flat
        totals = self.files["totals"].values
        self._totals = {name: totals[name] for name in _TOTALS.names or ()}
        self._vmm_cells = self.files[_LATER].values
        # Conductance of each line of cells that were read, S: kept up to date, because each product asks for it.
        self._row_g_S, self._column_g_S = (np.nansum(self._g_S.reshape(shape), axis=axis) for axis in (1, 0))
        self._changed = False  # since the last flush

    def expect(self, cells: Cells, at_most: IntArray | int) -> None:
        """See `WearAccount`."""
        self.count("pulses", self._at(cells), at_most, _sum(at_most, len(cells)))

    def settle(self, cells: Cells, at_most: IntArray | int, pulses: IntArray | int) -> None:
        """See `WearAccount`."""
        too_many = np.subtract(at_most, pulses)
        if too_many.any():
            self.take_back("pulses", self._at(cells), too_many, _sum(too_many, len(cells)))

    def record_pulses(self, pulses: Pulses, applied: IntArray | None = None) -> None:
        """Counts pulses. applied: how many of them each cell got, where those are counted already (`expect`).

        A cell that was never read counts with no energy.
        """
        if applied is None:
            applied = pulses.count
            self.expect(pulses.cells, applied)
        at, wrote = self._at(pulses.cells), (applied > 0).astype(np.int64)
        self.count("writes", at, wrote, int(wrote.sum()))
        known_S = np.fmax(self._g_S[at], 0.0)
        self.add_energy(at, pulses.amplitude_v**2 * known_S * pulses.width_s * applied)
        self.add("pulse_line_v2", float(applied @ (pulses.amplitude_v**2 + pulses.gate_v**2)))

    def record_products(
        self, driven: Driven, direction: Direction, lines_in: IntArray | None, lines_out: int
    ) -> None:
        """Counts one batch of products that measures `lines_out` lines. Cells never read count with no power."""
        self._changed = True
        line_g_S = self._row_g_S if direction is Direction.FORWARD else self._column_g_S
        self._totals["vmm_vectors"][0] += driven.vectors
        self._vmm_cells[0] += driven.vectors * driven.v2.size * lines_out
        self._totals["vmm_dac_conversions"][0] += driven.conversions
        self._totals["vmm_adc_conversions"][0] += driven.vectors * lines_out
        self._totals["vmm_power_w"][0] += driven.v2 @ (line_g_S if lines_in is None else line_g_S[lines_in])

    def counted(self, name: str, at: IntArray) -> IntArray:
        """What a counter of `PER_CELL` holds of cells; they are named here and below by their places, row by row."""
        found: IntArray = self.files[name].flat[at]
        return found

    def count(self, name: str, at: IntArray, more: IntArray | int, in_all: float) -> None:
        """Adds to a counter, also for a cell that is named more than once. in_all: the sum of what is added."""
        self._changed = True
        self.files[name].count(at, more, int(in_all))

    def take_back(self, name: str, at: IntArray, counted: IntArray, in_all: float) -> None:
        """The inverse of `count`."""
        self._changed = True
        self.files[name].take_back(at, counted, int(in_all))

    def add(self, total: str, more: float) -> None:
        """Adds to one of the sums over all cells."""
        self._changed = True
        self._totals[total][0] += more

    def add_energy(self, at: IntArray, energy_j: FloatArray) -> None:
        """Adds energy of pulses in cells, which are named once."""
        self._changed = True
        self._energy_j[at] += energy_j

    def g_S(self, at: IntArray) -> FloatArray:
        """Last known conductances, S; NaN for cells that were never read."""
        found: FloatArray = self._g_S[at]
        return found

    def remember(self, at: IntArray, g_S: FloatArray | float) -> None:
        """Conductances as they were read, S, or NaN; whoever calls it calls `add_to_lines` too."""
        self._changed = True
        self._g_S[at] = g_S

    def add_to_lines(self, row: IntArray, col: IntArray, change_S: FloatArray) -> None:
        """What `remember` changed, S, also of a cell that is named more than once."""
        np.add.at(self._row_g_S, row, change_S)
        np.add.at(self._column_g_S, col, change_S)

    def g_last_S(self, cells: Cells) -> FloatArray:
        """Last known conductance of each cell, S; NaN for one that was never read."""
        found: FloatArray = self._g_S[self._at(cells)]
        return found

    def pulses(self, cells: Cells) -> IntArray:
        """Pulses of each of `cells` so far."""
        found: IntArray = self.files["pulses"].flat[self._at(cells)]
        return found

    def pulse_map(self) -> IntArray:
        """Pulses of all cells, (rows, columns): a read-only view, which goes on counting until `close`."""
        found: IntArray = self.files["pulses"].values.view()
        found.setflags(write=False)
        return found

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """A copy of all counters, by name; scalars have shape ()."""
        return {name: np.array(values) for name, values in self.counters().items()}

    def counters(self) -> dict[str, NDArray[Any]]:
        """All counters, by name, as they change; scalars, which do not, have shape ()."""
        cells = {name: self.files[name].values for name in PER_CELL}
        totals = {name: values[0] for name, values in self._totals.items()}
        return {**cells, **totals, _LATER: self._vmm_cells[0]}

    def flush(self) -> None:
        """Returns when the counters are on the disk. Without it they survive the process, not a power cut.

        What did not change since the last time is there already.
        """
        if not self._changed:
            return
        for file in self.files.values():
            file.flush()
        self._changed = False

    def close(self) -> None:
        """Flushes and gives the files free; the ledger is of no use afterwards."""
        self.flush()
        del self._energy_j, self._g_S, self._totals, self._vmm_cells
        for file in self.files.values():
            file.close()

    def _at(self, cells: Cells) -> IntArray:
        """Where `cells` are in the vectors of all cells."""
        return cells.row * self.shape[1] + cells.col


class Ledger:
    """The counters of all arrays of a chip, under `directory`/arrayN, with the record of them, ledger.json."""

    def __init__(
        self, directory: Path, arrays: int, shape: tuple[int, int], chip: str = "", *, known: bool = False
    ) -> None:
        """Opens or makes them.

        chip: its id; "" opens the ledger of any chip, and leaves its record as it is. known: the passport says that
        there is a ledger. Raises ConfigError or HilError when a file is missing, damaged, or another chip's or
        array's; a ledger of an older version is rewritten, and the log says so.
        """
        names = [(f"array{index}", layout) for index in range(arrays) for layout in layouts(shape)]
        record = Record(directory, {"arrays": arrays, "shape": list(shape)}, chip)
        found = record.read(known=known)
        if found is None:
            record.require_no_gaps(
                [(directory / part / f"{layout.name}.npy", layout) for part, layout in names]
            )
        owners: list[Mapping[str, str | int] | None] = [
            {"chip": chip, "array": index} if chip else None for index in range(arrays)
        ]
        self.arrays = [
            ArrayLedger(directory / f"array{index}", shape, owner, whole=found is not None)
            for index, owner in enumerate(owners)
        ]
        self._record = record
        record.begin([array.files for array in self.arrays])

    def snapshot(self) -> LedgerCounts:
        """All counters now. The counts of a run: `after - before`."""
        parts = [array.counters() for array in self.arrays]
        stacked = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
        totals = {name: stacked[name].sum(axis=0) for name in (*(_TOTALS.names or ()), _LATER)}
        return LedgerCounts.from_arrays({**stacked, **totals})

    def pulses(self) -> list[IntArray]:
        """Pulses of all cells so far, (rows, columns) of each array: read-only views, which go on counting."""
        return [array.pulse_map() for array in self.arrays]

    def flush(self) -> None:
        """See `ArrayLedger.flush`. No request may be under way."""
        for array in self.arrays:
            array.flush()
        self._record.write(clean=False)

    def close(self) -> None:
        """See `ArrayLedger.close`."""
        for array in self.arrays:
            array.flush()
        self._record.end()
        for array in self.arrays:
            array.close()


def _sum(counts: IntArray | int, cells: int) -> int:
    return int(counts.sum()) if isinstance(counts, np.ndarray) and counts.ndim else int(counts) * cells
