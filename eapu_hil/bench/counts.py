"""What a chip's ledger holds at one moment, or has counted between two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import FloatArray, HilError, IntArray


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
