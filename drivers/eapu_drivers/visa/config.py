"""The keys of a bench of instruments in a bench file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from eapu_drivers.addresses import resource_fault
from eapu_drivers.visa.families import SOURCE_METER_GROUP, simulated
from eapu_hil.base.libraries import require_library
from eapu_hil.base.loading import Data
from eapu_hil.bench.config import SIMULATED, TwinBenchConfig, is_simulation
from eapu_hil.bench.wiring import Instruments
from eapu_hil.hal import ConfigError

KNOWN_VISA = ("@py", "@ivi")  # others are modules and libraries of somebody's own


class SmuConfig(TwinBenchConfig):
    """A bench file with `backend: smu`.

    resource: where the source-measure unit at the columns answers: its VISA name, or `sim:2400` and the like for a
        simulated one of a family.
    instruments: the rest of the bench; its own file, or in place. A simulated bench needs to say nothing of it.
    """

    references: ClassVar[Mapping[str, tuple[type[BaseModel], str]]] = {
        **TwinBenchConfig.references,
        "instruments": (Instruments, "instruments"),
    }
    filled: ClassVar[tuple[str, ...]] = (*TwinBenchConfig.filled, "instruments")
    address_key: ClassVar[str | None] = "resource"
    default_recipe: ClassVar[str] = "rram_180nm_ms"  # instruments pulse for milliseconds
    preset_names_recipe: ClassVar[bool] = False

    resource: str = Field(min_length=1)
    instruments: Instruments

    @classmethod
    def prepare(cls, data: Data, nested: Data) -> tuple[Data, Data]:
        """Simulated instruments have a wiring."""
        data, nested = super().prepare(data, nested)
        given = data.get("instruments") or {}
        if cls.asks_for_twin(data) and isinstance(given, Mapping):
            match data.get("shape"):
                case [int(rows), int(columns)]:
                    data["instruments"] = simulated_instruments((rows, columns), given)
        return data, nested

    @field_validator("resource")
    @classmethod
    def _known_simulation(cls, resource: str) -> str:
        allowed = [f"{SIMULATED}{family}" for family in simulated(SOURCE_METER_GROUP)]
        if is_simulation(resource) and resource not in allowed:
            raise ValueError(
                f"no such simulation; allowed are {', '.join(allowed)}, or the VISA name of a real instrument"
            )
        fault = None if is_simulation(resource) else resource_fault(resource)
        if fault is not None:
            raise ValueError(fault)
        return resource

    @model_validator(mode="after")
    def _instruments_fit(self) -> Self:
        instruments = self.instruments
        rows, columns = instruments.map.shape
        if (rows, columns) != self.shape or self.arrays != 1:
            raise ValueError(
                f"instruments.map: leads to one array of {rows} x {columns}; arrays and shape ask for "
                f"{self.arrays} of {self.shape[0]} x {self.shape[1]}"
            )
        try:
            require_library(instruments.visa, KNOWN_VISA)
        except ConfigError as error:
            raise ValueError(f"instruments.visa: {error}") from error
        others = {
            "instruments.gate.resource": instruments.gate.resource,
            "instruments.switch": instruments.switch,
            **{f"instruments.bias.{k}.resource": bias.resource for k, bias in enumerate(instruments.bias)},
        }
        for key, name in others.items():
            fault = None if name is None or is_simulation(name) else resource_fault(name)
            if fault is not None:
                raise ValueError(f"{key}: {name!r}: {fault}")
            if name is not None and is_simulation(name) != self.simulated:
                raise ValueError(
                    f"instruments: {name!r} with resource {self.resource!r}: all are simulated, or none is"
                )
        return self


def simulated_instruments(shape: tuple[int, int], given: Mapping[str, object]) -> dict[str, object]:
    """The default `instruments` of a bench with `resource: sim:...`: a 707B with one card in each slot."""
    matrix = given.get("switch", "sim:707b")
    columns_a_slot, buses = (16, list("1234")) if matrix == "sim:34980a" else (12, list("ABCDE"))
    rows, columns = shape
    names = [f"{1 + k // columns_a_slot}x{1 + k % columns_a_slot:02d}" for k in range(2 * rows + columns)]
    source, ground, gate, *bias = buses
    return {
        "gate": {},
        "switch": matrix,
        "map": {
            "buses": {"source": source, "ground": ground, "gate": gate, "bias": bias},
            "rows": names[:rows],
            "columns": names[rows : rows + columns],
            "gates": names[rows + columns :],
        },
        "unselected": "grounded",
        "reset": "negative",
        **given,
    }
