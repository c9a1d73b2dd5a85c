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
from eapu_hil.hal import Cells, Direction, FloatArray, IntArray, Pulses, Reading, WriteOutcome

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
        self._columns = shape[1]
        self._pulses, self._writes = self.files["pulses"], self.files["writes"]
        self._verify_reads = self.files["verify_reads"]
        self._energy_j, self._g_S = self.files["pulse_energy_j"].flat, self.files["g_last_S"].flat
        totals = self.files["totals"].values
        self._totals = {name: totals[name] for name in _TOTALS.names or ()}
        self._vmm_cells = self.files[_LATER].values
        # Conductance of each line of cells that were read, S: kept up to date, because each product asks for it.
        self._row_g_S, self._column_g_S = (np.nansum(self._g_S.reshape(shape), axis=axis) for axis in (1, 0))
        self._changed = False  # since the last flush

    def expect(self, cells: Cells, at_most: IntArray | int) -> None:
        """See `WearAccount`."""
        self._changed = True
        self._pulses.count(self._at(cells), at_most)

    def settle(self, cells: Cells, at_most: IntArray | int, pulses: IntArray | int) -> None:
        """See `WearAccount`."""
        self._changed = True
        too_many = np.subtract(at_most, pulses)
        if too_many.any():
            self._pulses.take_back(self._at(cells), too_many)

    def record_pulses(self, pulses: Pulses, applied: IntArray | None = None) -> None:
        """Counts pulses. applied: how many of them each cell got, where those are counted already (`expect`).

        A cell that was never read counts with no energy.
        """
        if applied is None:
            applied = pulses.count
            self.expect(pulses.cells, applied)
        self._changed = True
        at = self._at(pulses.cells)
        self._writes.count(at, (applied > 0).astype(np.int64))
        self._energy_j[at] += (
            pulses.amplitude_v**2 * np.maximum(self._known_S(at), 0.0) * pulses.width_s * applied
        )
        self._totals["pulse_line_v2"][0] += float(applied @ (pulses.amplitude_v**2 + pulses.gate_v**2))

    def record_reading(self, cells: Cells, reading: Reading, v_read_v: float) -> None:
        """Counts one verify read of each of `cells`; a cell may stand there more than once."""
        self._changed = True
        at, reads = self._at(cells), self._verify_reads
        before = reads.flat[at]
        reads.count(at, 1)
        self._remember(cells, at, reading.g_S, reads.flat[at] - before)
        self._totals["verify_power_w"][0] += _power_w(reading.g_S, v_read_v)

    def record_writes(
        self,
        cells: Cells,
        outcome: WriteOutcome,
        v_read_v: float,
        line_v2: float,
        counted: IntArray | int = 0,
    ) -> None:
        """Counts one write-verify request. counted: how many pulses of it are counted already (`expect`).

        line_v2: amplitude^2 + gate^2 of its strongest pulse, V^2.
        """
        self.settle(cells, counted, outcome.pulses)
        at = self._at(cells)
        self._writes.count(at, (outcome.pulses > 0).astype(np.int64))
        self._verify_reads.count(at, outcome.reads)
        self._energy_j[at] += outcome.energy_j
        self._remember(cells, at, outcome.g_after_S)
        between_S = (outcome.g_before_S + outcome.g_after_S) / 2
        self._totals["verify_power_w"][0] += _power_w(between_S * outcome.reads, v_read_v)
        self._totals["pulse_line_v2"][0] += float(outcome.pulses.sum()) * line_v2

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

    def record_cut_short(self, cells: Cells, applied: IntArray) -> None:
        """A write-verify request ended early: `applied` pulses a cell are counted; what they cost is not known."""
        self._changed = True
        self._writes.count(self._at(cells), (applied > 0).astype(np.int64))

    def forget(self, cells: Cells) -> None:
        """The conductances of `cells` are not known any more: a request that changes them was cut short."""
        self._changed = True
        at = self._at(cells)
        gone_S = self._known_S(at)
        self._g_S[at] = np.nan
        self._add_to_lines(cells, -gone_S)

    def g_last_S(self, cells: Cells) -> FloatArray:
        """Last known conductance of each cell, S; NaN for one that was never read."""
        found: FloatArray = self._g_S[self._at(cells)]
        return found

    def pulses(self, cells: Cells) -> IntArray:
        """Pulses of each of `cells` so far."""
        found: IntArray = self._pulses.flat[self._at(cells)]
        return found

    def pulse_map(self) -> IntArray:
        """Pulses of all cells, (rows, columns): a read-only view, which goes on counting until `close`."""
        found: IntArray = self._pulses.values.view()
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
        return cells.row * self._columns + cells.col

    def _known_S(self, at: IntArray) -> FloatArray:
        """Last known conductances, S; 0 for cells that were never read."""
        g_S = self._g_S[at]
        g_S[np.isnan(g_S)] = 0.0
        return g_S

    def _remember(self, cells: Cells, at: IntArray, g_S: FloatArray, times: IntArray | int = 1) -> None:
        """times: how often each of `cells` stands there; its last known conductance counts, once."""
        known, before_S = np.isfinite(g_S), self._known_S(at)
        self._g_S[at[known]] = g_S[known]
        self._add_to_lines(cells, (self._known_S(at) - before_S) / times)

    def _add_to_lines(self, cells: Cells, change_S: FloatArray) -> None:
        np.add.at(self._row_g_S, cells.row, change_S)
        np.add.at(self._column_g_S, cells.col, change_S)


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


def _power_w(g_S: FloatArray, v_read_v: float) -> float:
    return float(np.fmax(g_S, 0.0).sum()) * v_read_v**2  # of NaN and 0 it takes 0
