"""Energy scenarios: the ratio of training energies on arrays as in a run, on full arrays, and with costlier pulses.

    ratio(reuse) = (u_a E_write,a + reuse E_product) / (u_b E_write,b + reuse E_product)

u: share of the weights written in a step under rule a (b). E_product: of one weight, forward and backward. reuse:
products per weight and step. They take the same whatever the rule: the ratio stays below
1 + u_a E_write,a / (reuse E_product).
"""

from __future__ import annotations

from dataclasses import dataclass

from eapu_hil.bench.energy import CORNERS, Corner, EnergyModel
from eapu_hil.study.results import Run, known_values

LINES = 128  # of a full array


@dataclass(frozen=True)
class EnergyScenario:
    """Energies of one weight under two rules, J.

    write_j: of one write under the costly rule. costly_j, frugal_j: of its writes in the mean step. product_j: of one
    product, forward and backward.
    """

    name: str
    write_j: float
    costly_j: float
    frugal_j: float
    product_j: float

    def ratio(self, reuse: float, other_j: float = 0.0) -> float:
        """Training energy of the costly rule over the frugal one's. other_j: what both take besides, a step."""
        common_j = reuse * self.product_j + other_j
        return (self.costly_j + common_j) / (self.frugal_j + common_j)

    def largest_reuse(self, wanted: float) -> float:
        """The reuse up to which the ratio is at least `wanted`; 0 if it never is."""
        spare_j = (self.costly_j - wanted * self.frugal_j) / (wanted - 1)
        return max(0.0, spare_j / self.product_j)


def as_run(costly: Run, frugal: Run, corner: Corner) -> EnergyScenario:
    """With the counts and conductances of two runs; of products the mean of both.

    Writing the initial weights is left out: it is the same for every rule and counts less the longer a run is.
    """
    (write_j, costly_j, product_a_j), (_, frugal_j, product_b_j) = (
        _per_weight(run, corner) for run in (costly, frugal)
    )
    return EnergyScenario(
        f"as run, {corner} parameters", write_j, costly_j, frugal_j, (product_a_j + product_b_j) / 2
    )


def full_arrays(costly: Run, frugal: Run, corner: Corner) -> EnergyScenario:
    """The same writes, and products on square arrays without an idle line, whose cells share its converters."""
    base, model, value = as_run(costly, frugal, corner), EnergyModel.corner(corner), known_values(costly)
    cell_j = (
        value["product_cell_j"] / value["cell_products"] * model.product_time_s / EnergyModel().product_time_s
    )
    line_j = (model.adc_j + model.tia_w * model.product_time_s + model.dac_j) / LINES
    name = f"{LINES} x {LINES} cells all in use, {corner} parameters"
    return EnergyScenario(name, base.write_j, base.costly_j, base.frugal_j, 4 * (cell_j + line_j))


def other_arrays(costly: Run, frugal: Run) -> list[EnergyScenario]:
    """Arrays that favour the ratio more than those of the runs. 8.5 pulses a write are an assumption."""
    return [
        *(full_arrays(costly, frugal, corner) for corner in CORNERS),
        slow_pulses(costly, frugal),
        slow_pulses(costly, frugal, pulses_per_write=8.5),
    ]


def slow_pulses(costly: Run, frugal: Run, pulses_per_write: float | None = None) -> EnergyScenario:
    """Costly pulses and cheap products, computed: only how often is written comes from the runs.

    A pulse of 1.5 V and 1 us into 50 uS, 112.5 pJ, with a verify read of 2 pJ and a conversion of 2.7 pJ (a SAR at
    130 nm, NeuroSim V2.1); products of 10 ns at 0.2 V, 20 fJ in each cell of a pair, whose currents are subtracted
    before one such conversion a line. pulses_per_write: of both rules; None: the runs'.
    """
    write_j, writing_j = [], []
    for run in (costly, frugal):
        value = known_values(run)
        pulses = pulses_per_write or value["pulses"] / max(value["writes"], 1.0)
        write_j.append(pulses * (112.5e-12 + 2e-12 + 2.7e-12))
        writing_j.append(value["update_ratio"] * write_j[-1])
    product_j = 2 * (2 * 20e-15 + 2.7e-12 / LINES)
    many = f"{pulses_per_write:g} pulses per write" if pulses_per_write else "pulses per write as in the runs"
    name = f"computed: pulses of 1 \u00b5s, products of 10 ns, {many}"
    return EnergyScenario(name, write_j[0], writing_j[0], writing_j[1], product_j)


def _per_weight(run: Run, corner: Corner) -> tuple[float, float, float]:
    """One write, the writes of the mean step, and one product forward and backward, J."""
    value = known_values(run)
    # Rules with verify write one cell of a pair.
    write_j = value[f"write_j_{corner}"] / value["writes"] if value["writes"] else 0.0
    return write_j, value["update_ratio"] * write_j, 4 * value[f"product_j_{corner}"] / value["cell_products"]
