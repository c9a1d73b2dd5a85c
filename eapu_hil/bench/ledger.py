"""The ledger of a chip: counts and joules of every cell, kept with the chip and not with the run.

The counters are memory-mapped files in the chip's directory (`eapu_hil.bench.counters`), so that a process that is
killed loses none of them. Pulses are counted before they are applied (`eapu_hil.hal.wear`). Energies that need an
assumption about the converters or the read time are not stored here: the ledger keeps what they are computed from
(`eapu_hil.bench.energy`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.storage import storage_errors
from eapu_hil.bench.counters import CounterFile, Layout, Record
from eapu_hil.hal import Cells, Direction, FloatArray, HilError, IntArray, Pulses, Reading, WriteOutcome

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


def _layouts(shape: tuple[int, int]) -> list[Layout]:
    return [
        Layout("pulses", _COUNT, shape),
        Layout("writes", _COUNT, shape),
        Layout("verify_reads", _COUNT, shape),
        Layout("pulse_energy_j", _REAL, shape),
        Layout("g_last_S", _REAL, shape, np.nan),
        Layout("totals", _TOTALS, (1,)),
        Layout(_LATER, _COUNT, (1,), later=True),
    ]


@dataclass(frozen=True, eq=False)
class LedgerCounts:
    """The counters of all arrays of a chip at one moment, or the difference of two moments.

    pulses, writes, verify_reads, pulse_energy_j: per cell, shape (arrays, rows, columns). A write is a
        request that gave the cell at least one pulse. The energy, J, is that spent in the cell.
    vmm_vectors: products. vmm_dac_conversions, vmm_adc_conversions: conversions that they took.
    vmm_cells: cells that took part in the products, each as often as it did.
    vmm_power_w, verify_power_w: sum over the products (verify reads) of the power in the cells; times the
        time of one product (read) this is an energy.
    pulse_line_v2: sum over the pulses of amplitude^2 + gate^2, V^2; times a line's capacitance this is the
        energy of charging the lines. Pulses of a write-verify request count with the strongest one of its
        recipe, so this is an upper bound.
    """

    pulses: IntArray
    writes: IntArray
    verify_reads: IntArray
    pulse_energy_j: FloatArray
    vmm_vectors: int
    vmm_dac_conversions: int
    vmm_adc_conversions: int
    vmm_power_w: float
    verify_power_w: float
    pulse_line_v2: float
    vmm_cells: int = 0

    def __sub__(self, before: LedgerCounts) -> LedgerCounts:
        """The counts since `before`. Raises HilError where this ledger does not go on from there."""
        mine, theirs = self.as_arrays(), before.as_arrays()
        if mine["pulses"].shape != theirs["pulses"].shape or (mine["pulses"] < theirs["pulses"]).any():
            raise HilError(
                f"the chip's ledger counts {mine['pulses'].sum()} pulses in all, where {theirs['pulses'].sum()} were "
                "counted before, and fewer of some cells: it is not the ledger that was kept then"
            )
        return LedgerCounts.from_arrays({name: mine[name] - theirs[name] for name in mine})

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """For a checkpoint; `from_arrays` takes it back."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> LedgerCounts:
        """The inverse of `as_arrays`; other keys are left alone."""
        # What was saved before `vmm_cells` was counted lacks it.
        known = {"vmm_cells": np.zeros((), np.int64), **arrays}
        values = {field.name: known[field.name] for field in fields(cls)}
        plain: dict[str, Any] = {
            name: value if value.ndim else value.item() for name, value in values.items()
        }
        return cls(**plain)


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
            for layout in _layouts(shape)
        }
        self._cells = {
            name: file.values for name, file in self.files.items() if name not in ("totals", _LATER)
        }
        self._totals, self._vmm_cells = self.files["totals"].values, self.files[_LATER].values

    def expect(self, cells: Cells, at_most: IntArray | int) -> None:
        """See `WearAccount`."""
        self._cells["pulses"][cells.row, cells.col] += at_most

    def settle(self, cells: Cells, at_most: IntArray | int, pulses: IntArray | int) -> None:
        """See `WearAccount`."""
        self._cells["pulses"][cells.row, cells.col] -= np.subtract(at_most, pulses)

    def record_pulses(self, pulses: Pulses, applied: IntArray | None = None) -> None:
        """Counts pulses. applied: how many of them each cell got, where those are counted already (`expect`).

        A cell that was never read counts with no energy.
        """
        if applied is None:
            applied = pulses.count
            self.expect(pulses.cells, applied)
        at = pulses.cells.row, pulses.cells.col
        g_S = np.nan_to_num(self._cells["g_last_S"][at], nan=0.0)
        self._cells["writes"][at] += applied > 0
        self._cells["pulse_energy_j"][at] += (
            pulses.amplitude_v**2 * np.maximum(g_S, 0.0) * pulses.width_s * applied
        )
        self._totals["pulse_line_v2"] += float(applied @ (pulses.amplitude_v**2 + pulses.gate_v**2))

    def record_reading(self, cells: Cells, reading: Reading, v_read_v: float) -> None:
        """Counts one verify read of each of `cells`; a cell may stand there more than once."""
        at = cells.row, cells.col
        np.add.at(self._cells["verify_reads"], at, 1)
        self._remember(cells, reading.g_S)
        self._totals["verify_power_w"] += _power_w(reading.g_S, v_read_v)

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
        at = cells.row, cells.col
        self.settle(cells, counted, outcome.pulses)
        self._cells["writes"][at] += outcome.pulses > 0
        self._cells["verify_reads"][at] += outcome.reads
        self._cells["pulse_energy_j"][at] += outcome.energy_j
        self._remember(cells, outcome.g_after_S)
        between_S = (outcome.g_before_S + outcome.g_after_S) / 2
        self._totals["verify_power_w"] += _power_w(between_S * outcome.reads, v_read_v)
        self._totals["pulse_line_v2"] += float(outcome.pulses.sum()) * line_v2

    def record_products(
        self, v_in_v: NDArray[np.floating], direction: Direction, lines_in: IntArray | None, lines_out: int
    ) -> None:
        """Counts one batch of products, shape (batch, lines in), that measures `lines_out` lines.

        A driven line that stays at 0 V in the whole batch is grounded and takes no conversion. Cells that were
        never read count with no power.
        """
        v2 = np.einsum("bi,bi->i", v_in_v, v_in_v)
        line_g_S = np.nansum(self._cells["g_last_S"], axis=1 if direction is Direction.FORWARD else 0)
        vectors = v_in_v.shape[0]
        self._totals["vmm_vectors"] += vectors
        self._vmm_cells[0] += vectors * v_in_v.shape[1] * lines_out
        self._totals["vmm_dac_conversions"] += vectors * int(np.count_nonzero(v2))
        self._totals["vmm_adc_conversions"] += vectors * lines_out
        self._totals["vmm_power_w"] += float(v2 @ (line_g_S if lines_in is None else line_g_S[lines_in]))

    def record_cut_short(self, cells: Cells, applied: IntArray) -> None:
        """A write-verify request ended early: `applied` pulses a cell are counted; what they cost is not known."""
        self._cells["writes"][cells.row, cells.col] += applied > 0

    def forget(self, cells: Cells) -> None:
        """The conductances of `cells` are not known any more: a request that changes them was cut short."""
        self._cells["g_last_S"][cells.row, cells.col] = np.nan

    def g_last_S(self, cells: Cells) -> FloatArray:
        """Last known conductance of each cell, S; NaN for one that was never read."""
        found: FloatArray = self._cells["g_last_S"][cells.row, cells.col]
        return found

    def pulses(self, cells: Cells) -> IntArray:
        """Pulses of each of `cells` so far."""
        found: IntArray = self._cells["pulses"][cells.row, cells.col]
        return found

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """A copy of all counters, by name; scalars have shape ()."""
        totals = {name: self._totals[name][0] for name in _TOTALS.names or ()}
        cells = {name: np.array(counter) for name, counter in self._cells.items()}
        return {**cells, **totals, "vmm_cells": self._vmm_cells[0]}

    def flush(self) -> None:
        """Returns when the counters are on the disk. Without it they survive the process, not a power cut."""
        for file in self.files.values():
            file.flush()

    def close(self) -> None:
        """Flushes and gives the files free; the ledger is of no use afterwards."""
        self.flush()
        self._cells.clear()
        del self._totals, self._vmm_cells
        for file in self.files.values():
            file.close()

    def _remember(self, cells: Cells, g_S: FloatArray) -> None:
        known = np.isfinite(g_S)
        self._cells["g_last_S"][cells.row[known], cells.col[known]] = g_S[known]


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
        names = [(f"array{index}", layout) for index in range(arrays) for layout in _layouts(shape)]
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
        parts = [array.snapshot() for array in self.arrays]
        stacked = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
        totals = {name: stacked[name].sum(axis=0) for name in (*(_TOTALS.names or ()), _LATER)}
        return LedgerCounts.from_arrays({**stacked, **totals})

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
    return float(np.nansum(np.maximum(g_S, 0.0))) * v_read_v**2
