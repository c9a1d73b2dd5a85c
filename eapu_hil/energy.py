"""Joules and wear of a run, from a difference of two ledger snapshots. Every assumption has a name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eapu_hil.ledger import LedgerCounts


@dataclass(frozen=True)
class EnergyModel:
    """What the counts are multiplied with. Defaults: an honest 180 nm bench, not the best published one.

    adc_j: one conversion of a measured line, 8 bits. Published 150-200 nm converters of 6.5-8.5 effective
        bits take 4.6 pJ (best tenth) to 300 pJ (median) (Murmann's ADC survey 1997-2025,
        github.com/bmurmann/ADC-survey); 20 pJ lies in the 5-50 pJ that a design made for energy reaches.
    dac_j: one conversion of a driven line. An assumption: ISAAC's 1-bit driver at 32 nm takes
        4 mW / 1024 x 100 ns = 0.4 pJ (Shafiee et al., ISCA 2016, doi 10.1109/ISCA.2016.12); several bits at
        180 nm are put at ten times that.
    line_capacitance_f: of one row, column or gate line with its junctions; charged to V and discharged once a
        pulse, C V^2 from the supply (NeuroSim, Cell.cpp). An assumption: 128 cells of about 2 um pitch,
        0.2 fF/um of wire and 1 fF of junction in each.
    product_time_s, read_time_s: how long the lines are driven for one product and for one verify read; the
        times of the packaged twin (ISAAC's arrays, at 32 nm, take 100 ns).
    """

    adc_j: float = 20e-12
    dac_j: float = 4e-12
    line_capacitance_f: float = 180e-15
    product_time_s: float = 1e-6
    read_time_s: float = 1e-6


def energy_j(counts: LedgerCounts, model: EnergyModel) -> dict[str, float]:
    """Energy of the counted operations, J.

    pulse: in the cells (sum of V^2 G t) and of charging the lines. verify, vmm: in the cells, during verify
    reads and products. adc, dac: conversions of products and of verify reads (one each per cell read). total:
    their sum.
    The host's digital work is not in it.
    """
    reads = int(counts.verify_reads.sum())
    parts = {
        "pulse": float(counts.pulse_energy_j.sum()) + model.line_capacitance_f * counts.pulse_line_v2,
        "verify": counts.verify_power_w * model.read_time_s,
        "vmm": counts.vmm_power_w * model.product_time_s,
        "adc": (counts.vmm_adc_conversions + reads) * model.adc_j,
        "dac": (counts.vmm_dac_conversions + reads) * model.dac_j,
    }
    return {**parts, "total": sum(parts.values())}


def writes_per_cell(counts: LedgerCounts, used: NDArray[np.bool_] | None = None) -> dict[str, float]:
    """Mean, median, 99.9th percentile and maximum of the writes per cell.

    used: which cells count, shape (arrays, rows, columns); all by default. Hot cells set the life of a chip,
    so the maximum matters more than the mean. All 0 when no cell is used.
    """
    writes = counts.writes.ravel() if used is None else counts.writes[used]
    if writes.size == 0:
        return dict.fromkeys(("mean", "p50", "p999", "max"), 0.0)
    p50, p999 = np.percentile(writes, [50, 99.9])
    return {"mean": float(writes.mean()), "p50": float(p50), "p999": float(p999), "max": float(writes.max())}
