"""Joules of a run, from a difference of two ledger snapshots. Every assumption has a name, a range and a source."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eapu_hil.bench.counts import LedgerCounts

Corner = Literal["low", "typical", "high"]
CORNERS: tuple[Corner, ...] = ("low", "typical", "high")


@dataclass(frozen=True)
class Assumption:
    """One parameter: what an energy-minded, an honest and a bench-like design would have. unit: SI, without prefix."""

    low: float
    typical: float
    high: float
    unit: str
    source: str


_HOROWITZ = "45 nm, Horowitz, ISSCC 2014, doi 10.1109/ISSCC.2014.6757323"

ASSUMPTIONS: dict[str, Assumption] = {
    "adc_j": Assumption(
        2.7e-12,
        20e-12,
        300e-12,
        "J",
        "one conversion of a measured line, 8 bits. low: a SAR at 130 nm (NeuroSim V2.1, SarADC.cpp); typical: inside "
        "the 5-50 pJ of 150-200 nm designs made for energy; high: the median of those at 6.5-8.5 effective bits "
        "(Murmann's ADC survey 1997-2025, github.com/bmurmann/ADC-survey)",
    ),
    "dac_j": Assumption(
        0.4e-12,
        4e-12,
        40e-12,
        "J",
        "one conversion of a driven line. low: ISAAC's 1-bit driver at 32 nm, 4 mW / 1024 x 100 ns (Shafiee et al., "
        "ISCA 2016, doi 10.1109/ISCA.2016.12); typical and high are assumptions: ten and a hundred times that for "
        "several bits at 180 nm",
    ),
    "tia_w": Assumption(
        1e-6,
        10e-6,
        100e-6,
        "W",
        "amplifier of a measured line while it is measured. An assumption: currents of some uA at supplies of 1-3 V",
    ),
    "line_capacitance_f": Assumption(
        100e-15,
        180e-15,
        400e-15,
        "F",
        "one row, column or gate line, charged to V and discharged once a pulse, C V^2 from the supply (NeuroSim, "
        "Cell.cpp). An assumption: 128 cells of about 2 um pitch, 0.2 fF/um of wire and 1 fF of junction in each",
    ),
    "product_time_s": Assumption(
        1e-7,
        1e-6,
        1e-6,
        "s",
        "how long the lines are driven for one product. low: ISAAC's arrays; typical, high: the packaged twin's",
    ),
    "read_time_s": Assumption(1e-7, 1e-6, 1e-6, "s", "the same for one verify read"),
    "optimizer_j": Assumption(
        30e-12,
        90e-12,
        2.6e-9,
        "J",
        f"optimizer and rule, one weight and step. low: some ten float operations of 0.9-3.7 pJ ({_HOROWITZ}); "
        "typical: and two moments read and written in a small SRAM, 10 pJ for 64 bits (same source); high: in DRAM, "
        "640 pJ for 32 bits (same source, from memory)",
    ),
    "gradient_mac_j": Assumption(
        0.23e-12,
        4.6e-12,
        4.6e-12,
        "J",
        "one multiply-add of the outer product that makes the gradient. low: 8-bit integers (from memory); typical, "
        f"high: 32-bit floats ({_HOROWITZ})",
    ),
}


@dataclass(frozen=True)
class EnergyModel:
    """The energies by which counts are multiplied; see `ASSUMPTIONS`. Defaults are the typical values."""

    adc_j: float = ASSUMPTIONS["adc_j"].typical
    dac_j: float = ASSUMPTIONS["dac_j"].typical
    tia_w: float = ASSUMPTIONS["tia_w"].typical
    line_capacitance_f: float = ASSUMPTIONS["line_capacitance_f"].typical
    product_time_s: float = ASSUMPTIONS["product_time_s"].typical
    read_time_s: float = ASSUMPTIONS["read_time_s"].typical
    optimizer_j: float = ASSUMPTIONS["optimizer_j"].typical
    gradient_mac_j: float = ASSUMPTIONS["gradient_mac_j"].typical

    @classmethod
    def corner(cls, which: Corner) -> EnergyModel:
        """All parameters at their low, typical or high value."""
        return cls(**{field.name: getattr(ASSUMPTIONS[field.name], which) for field in fields(cls)})


@dataclass(frozen=True)
class Split:
    """Where the joules of a run go. writes: pulses and the reads that verify them. products: forward and backward."""

    writes: float
    products: float

    @property
    def total(self) -> float:
        return self.writes + self.products


def energy_j(counts: LedgerCounts, model: EnergyModel) -> dict[str, float]:
    """Energy of the counted operations, J.

    pulse: in the cells (sum of V^2 G t, each cell with its own G) and of charging the lines. verify, vmm: in the
    cells, during verify reads and products. adc, dac, tia: conversions and amplifiers of products and of verify
    reads (one each per cell read). total: their sum. The host's digital work is not in it: see `digital_j`.
    """
    reads = int(counts.verify_reads.sum())
    amplified_s = counts.vmm_adc_conversions * model.product_time_s + reads * model.read_time_s
    parts = {
        "pulse": float(counts.pulse_energy_j.sum()) + model.line_capacitance_f * counts.pulse_line_v2,
        "verify": counts.verify_power_w * model.read_time_s,
        "vmm": counts.vmm_power_w * model.product_time_s,
        "adc": (counts.vmm_adc_conversions + reads) * model.adc_j,
        "dac": (counts.vmm_dac_conversions + reads) * model.dac_j,
        "tia": amplified_s * model.tia_w,
    }
    return {**parts, "total": sum(parts.values())}


def split_j(counts: LedgerCounts, model: EnergyModel) -> Split:
    """The same joules by what they are for."""
    per_read_j = model.adc_j + model.dac_j + model.tia_w * model.read_time_s
    writes = (
        float(counts.pulse_energy_j.sum())
        + model.line_capacitance_f * counts.pulse_line_v2
        + counts.verify_power_w * model.read_time_s
        + int(counts.verify_reads.sum()) * per_read_j
    )
    return Split(writes, energy_j(counts, model)["total"] - writes)


def digital_j(weights: int, steps: int, reuse: float, model: EnergyModel) -> float:
    """Energy of optimizer and gradients on digital hardware beside the array, J, the same for every rule.

    reuse: products per weight and step; the gradient takes as many multiply-adds.
    """
    return weights * steps * (model.optimizer_j + reuse * model.gradient_mac_j)


def gpu_j(weights: int, steps: int, reuse: float, joule_per_flop: float) -> float:
    """Energy of the same training on a GPU at its peak efficiency, J: 6 operations per weight and product.

    Two for the forward product, two for each of the two backward ones. Divide by the utilisation.
    """
    return 6.0 * weights * steps * reuse * joule_per_flop


def writes_per_cell(counts: LedgerCounts, used: NDArray[np.bool_] | None = None) -> dict[str, float]:
    """Mean, median, 99.9th percentile and maximum of the writes per cell.

    used: which cells count, shape (arrays, rows, columns); all by default. Hot cells set the life of a chip,
    so the maximum matters more than the mean. All 0 when no cell is used.
    """
    return _per_cell(counts.writes, used)


def pulses_per_cell(counts: LedgerCounts, used: NDArray[np.bool_] | None = None) -> dict[str, float]:
    """The same of the pulses."""
    return _per_cell(counts.pulses, used)


def _per_cell(values: NDArray[np.int64], used: NDArray[np.bool_] | None) -> dict[str, float]:
    chosen = values.ravel() if used is None else values[used]
    if chosen.size == 0:
        return dict.fromkeys(("mean", "p50", "p999", "max"), 0.0)
    p50, p999 = np.percentile(chosen, [50, 99.9])
    return {"mean": float(chosen.mean()), "p50": float(p50), "p999": float(p999), "max": float(chosen.max())}
