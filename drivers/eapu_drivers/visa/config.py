"""The keys of a bench of instruments in a bench file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from eapu_drivers.addresses import resource_fault
from eapu_drivers.visa.families import (
    SOURCE_METER_GROUP,
    SWITCH_GROUP,
    require_simulated,
    simulated,
    switch_layout,
)
from eapu_drivers.visa.names import device_of
from eapu_drivers.visa.switch.contract import Layout
from eapu_drivers.visa.wrong_names import problem
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
        self._require_names()
        self._require_sources_apart()
        return self

    def _require_names(self) -> None:
        """All addresses are those of simulations, or all can be those of instruments."""
        instruments = self.instruments
        names = {
            "instruments.gate.resource": instruments.gate.resource,
            "instruments.switch": instruments.switch,
        }
        names |= {
            f"instruments.bias.{place}.resource": bias.resource for place, bias in enumerate(instruments.bias)
        }
        for key, name in (names | {"resource": self.resource}).items():
            if name is None:
                continue
            fault = None if is_simulation(name) else resource_fault(name)
            if fault is not None:
                raise ValueError(f"{key}: {name!r}: {fault}")
            if is_simulation(name) != self.simulated:
                raise ValueError(
                    f"instruments: {name!r} with resource {self.resource!r}: all are simulated, or none is"
                )
            wrong = None if self.simulated else problem(name, instruments.visa)
            if wrong is not None:
                raise ValueError(f"{key}: {wrong}")

    def _require_sources_apart(self) -> None:
        """Each source needs a channel of its own; a simulated bench gets them by itself."""
        if self.simulated:
            return
        instruments = self.instruments
        first = device_of(self.resource, instruments.visa), instruments.channel
        taken = {first: "resource and instruments.channel"}
        for role, at in (
            ("gate", instruments.gate),
            *((f"bias.{k}", bias) for k, bias in enumerate(instruments.bias)),
        ):
            place = device_of(at.resource or self.resource, instruments.visa), at.channel
            if place in taken:
                raise ValueError(
                    f"instruments.{role}: the channel that {taken[place]} take already; write channel: (such as b, of "
                    "an instrument with two), or resource: (of an instrument of its own)"
                )
            taken[place] = f"instruments.{role}"


def simulated_instruments(shape: tuple[int, int], given: Mapping[str, object]) -> dict[str, object]:
    """The default `instruments` of a bench with `resource: sim:...`: a 707B with one card in each slot.

    There is no default `map` where the family of the switch does not say how its crosspoints are called. Raises
    ConfigError for a switch that is not simulated here.
    """
    matrix = given.get("switch", "sim:707b")
    known = is_simulation(matrix)
    layout = switch_layout(require_simulated(str(matrix), SWITCH_GROUP)) if known else None
    defaults = {"gate": {}, "switch": matrix, "unselected": "grounded", "reset": "negative"}
    return {**defaults, **({} if layout is None else {"map": _cards(shape, layout)}), **given}


def _cards(shape: tuple[int, int], layout: Layout) -> dict[str, object]:
    """A channel map: rows, columns, gates one after another, over as many slots as they need."""
    rows, columns = shape
    each = layout.columns_a_slot
    names = [f"{1 + k // each}x{1 + k % each:02d}" for k in range(2 * rows + columns)]
    source, ground, gate, *bias = list(layout.buses)
    return {
        "buses": {"source": source, "ground": ground, "gate": gate, "bias": bias},
        "rows": names[:rows],
        "columns": names[rows : rows + columns],
        "gates": names[rows + columns :],
    }
