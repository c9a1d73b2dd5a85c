"""Plans: which measurements to make, with which settings, and how large an array they need."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import model_validator

from eapu_calibration import (
    gate_curve,
    iv,
    line_resistance,
    pulse_response,
    read_noise,
    relaxation,
    write_verify,
)
from eapu_calibration.endurance import EnduranceSettings
from eapu_calibration.gate_curve import GateCurveSettings
from eapu_calibration.iv import IvSettings
from eapu_calibration.line_resistance import LineResistanceSettings
from eapu_calibration.linearity import LinearitySettings
from eapu_calibration.measurement import Settings
from eapu_calibration.product_accuracy import ProductSettings
from eapu_calibration.pulse_response import PulseResponseSettings
from eapu_calibration.read_noise import ReadNoiseSettings
from eapu_calibration.relaxation import RelaxationSettings
from eapu_calibration.write_error import WriteErrorSettings
from eapu_calibration.write_verify import WriteVerifySettings
from eapu_hil.base.loading import FileModel, Source, load_model
from eapu_hil.hal import ConfigError, Crossbar

FORMING = "forming"
_LEAST_CELLS = {  # those with levels need two of them
    "iv": 2 * iv.CELLS_A_LEVEL_MIN,
    "gate_curve": gate_curve.CELLS_MIN,
    "pulse_response": pulse_response.CELLS_MIN,
    "write_verify": 2 * write_verify.CELLS_A_LEVEL_MIN,
    "relaxation": 2 * relaxation.CELLS_A_LEVEL_MIN,
    "read_noise": 2 * read_noise.CELLS_A_LEVEL_MIN,
}
_LEAST_SHAPE = {
    "line_resistance": (2, line_resistance.COLUMNS_MIN),
    "product_accuracy": (2, 1),
}  # rows, columns


class Measurements(Settings):
    """The settings of each measurement; one that is left out is not made."""

    iv: IvSettings | None = None
    gate_curve: GateCurveSettings | None = None
    pulse_response: PulseResponseSettings | None = None
    write_verify: WriteVerifySettings | None = None
    write_error: WriteErrorSettings | None = None
    relaxation: RelaxationSettings | None = None
    read_noise: ReadNoiseSettings | None = None
    linearity: LinearitySettings | None = None
    line_resistance: LineResistanceSettings | None = None
    product_accuracy: ProductSettings | None = None
    endurance: EnduranceSettings | None = None


# In the order in which they are made; the random numbers of each depend on its place.
MEASUREMENTS = tuple(Measurements.model_fields)


class Plan(FileModel):
    """A plan file."""

    measurements: Measurements

    @model_validator(mode="after")
    def _something(self) -> Plan:
        if not self.names:
            raise ValueError(f"measurements: at least one of {', '.join(MEASUREMENTS)} must be there")
        return self

    @property
    def names(self) -> list[str]:
        return [name for name in MEASUREMENTS if getattr(self.measurements, name) is not None]


def load_plan(source: Source) -> Plan:
    """A plan file or a packaged plan (`quick`, `full`). Raises ConfigError."""
    return load_model(Plan, source, [], "plans")


def chosen_names(plan: Plan, names: Sequence[str]) -> list[str]:
    """Which measurements to make, in the order of the plan; without names, all. `forming` only if it is named.

    Raises ConfigError for a name that the plan has not.
    """
    known = [FORMING, *plan.names]
    for name in names:
        if name not in known:
            raise ConfigError(f"measurement {name!r}: not in the plan; allowed are {', '.join(known)}")
    return [name for name in known if name in names] if names else plan.names


def require_large_enough(array: Crossbar, number: int, names: Sequence[str]) -> None:
    """Before any cell is touched. Raises ConfigError that says which of the measurements the array is too small for."""
    rows, columns = array.shape
    wrong = [
        f"{name} needs {_LEAST_CELLS[name]} cells"
        for name in names
        if _LEAST_CELLS.get(name, 0) > rows * columns
    ]
    wrong += [
        f"{name} needs {least[0]} rows and {least[1]} columns"
        for name, least in _LEAST_SHAPE.items()
        if name in names and (rows < least[0] or columns < least[1])
    ]
    if wrong:
        can = [name for name in names if not any(text.startswith(f"{name} ") for text in wrong)]
        raise ConfigError(
            f"array {number} has {rows} x {columns} cells: {', '.join(wrong)}; "
            f"name measurements that it is large enough for{': ' if can else ''}{' '.join(can)}"
        )
