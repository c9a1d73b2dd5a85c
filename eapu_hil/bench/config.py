"""Bench files: what their keys mean and which values are allowed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from eapu_hil.base.loading import Data, FileModel, read_mapping
from eapu_hil.base.plugins import names
from eapu_hil.bench.wiring import Instruments, simulated_instruments
from eapu_hil.hal import Limits
from eapu_hil.hal.recipe import Recipe

# Keys that only one of the project's own backends understands; a lab's backend may use any of them.
_KEYS_OF_BACKEND = {"port": "controller", "resource": "smu", "instruments": "smu"}
# Keys that say what is simulated.
_KEYS_OF_TWIN = ("preset", "overrides", "seed")
_BACKENDS = ("twin", "controller", "smu")
_SIMULATED_PORTS = ["sim:posix", "sim:qemu"]
_DEFAULT_PRESET = "rram_180nm"
_DEFAULT_RECIPE = {"smu": "rram_180nm_ms"}  # instruments pulse for milliseconds


def _by_dotted_key(value: Any) -> Any:
    """{circuit: {x: 1}} means the same as {circuit.x: 1}; of two values for one key the later wins."""
    if not isinstance(value, Mapping):
        return value
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            inner = {f"{key}.{name}": content for name, content in _by_dotted_key(item).items()}
        else:
            inner = {key: item}
        flat = {**{name: content for name, content in flat.items() if name not in inner}, **inner}
    return flat


class LimitsConfig(FileModel):
    """Absolute maxima of the bench; the fields of `hal.Limits`."""

    v_max_v: PositiveFloat
    v_gate_max_v: PositiveFloat
    i_max_a: PositiveFloat
    width_max_s: PositiveFloat
    pulses_per_cell_max: PositiveInt
    v_read_max_v: PositiveFloat = 0.5

    def as_limits(self) -> Limits:
        """The same as the contract's dataclass."""
        return Limits(**self.model_dump())


class BenchConfig(FileModel):
    """A bench file.

    backend: name of the driver (entry point group `eapu_hil.drivers`).
    preset, overrides, seed: the twin's parameters, single values of them by dotted key, its cells' seed. Also of
        the twin behind a simulated controller (`port: sim:posix` or `sim:qemu`) or instruments (`resource:
        sim:2400`).
    arrays, shape: how many arrays, and rows and columns of each.
    chip: directory of the chip's passport; None means a chip that lives as long as the session.
    port, resource: where the controller or the source-measure unit at the columns answers.
    instruments: the rest of a bench of instruments; its own file, or in place.
    limits: what the interlock refuses.
    recipe: write-verify parameters used when a request names none.
    temperature_c: of the chip, as far as the operator knows it; goes into what a calibration measures, and changes
        nothing else.
    """

    path_keys: ClassVar[tuple[str, ...]] = ("chip",)
    name_or_path_keys: ClassVar[tuple[str, ...]] = ("preset",)
    references: ClassVar[Mapping[str, tuple[type[BaseModel], str]]] = {
        "recipe": (Recipe, "recipes"),
        "instruments": (Instruments, "instruments"),
    }

    backend: str = Field(min_length=1)
    preset: str | None = None
    overrides: Annotated[dict[str, Any], BeforeValidator(_by_dotted_key)] = Field(default_factory=dict)
    seed: NonNegativeInt = 0
    arrays: PositiveInt = 1
    shape: tuple[PositiveInt, PositiveInt]
    chip: Path | None = None
    port: str | None = None
    resource: str | None = None
    instruments: Instruments | None = None
    limits: LimitsConfig
    recipe: Recipe
    temperature_c: Annotated[float, Field(ge=-273.15, allow_inf_nan=False)] | None = None

    @classmethod
    def prepare(cls, data: Data, nested: Data) -> tuple[Data, Data]:
        """The twin's preset and recipe have defaults: a preset names the recipe that fits it."""
        data = dict(data)
        backend = str(data.get("backend"))
        twin = _on_the_twin(backend, data.get("port"), data.get("resource"))
        if twin and data.get("preset") is None:
            data["preset"] = _DEFAULT_PRESET
        if data.get("recipe") is None:
            data["recipe"] = _DEFAULT_RECIPE.get(backend, _DEFAULT_PRESET)
            if twin and backend != "smu" and isinstance(data["preset"], str):
                data["recipe"] = read_mapping(data["preset"], "presets").get("recipe", data["recipe"])
        if twin and backend == "smu" and isinstance(data.get("instruments", {}), Mapping):
            shape = data.get("shape")
            if isinstance(shape, list | tuple) and len(shape) == 2 and all(isinstance(n, int) for n in shape):
                data["instruments"] = simulated_instruments((shape[0], shape[1]), data.get("instruments", {}))
        return data, nested

    @model_validator(mode="after")
    def _keys_fit_backend(self) -> BenchConfig:
        if self.backend not in _BACKENDS:
            return self
        for key, backend in _KEYS_OF_BACKEND.items():
            if backend != self.backend and getattr(self, key) is not None:
                raise ValueError(f"{key}: only for backend {backend!r}; given with backend {self.backend!r}")
        for key in _KEYS_OF_TWIN:
            if not self.simulated and getattr(self, key) not in (None, {}, 0):
                at = {"port": self.port, "resource": self.resource}
                where = "".join(f", {name} {value!r}" for name, value in at.items() if value)
                raise ValueError(
                    f"{key}: only for backend 'twin', ports sim:... and resources sim:...; "
                    f"given with backend {self.backend!r}{where}"
                )
        for key, backend in _KEYS_OF_BACKEND.items():
            if backend == self.backend and not getattr(self, key):
                raise ValueError(f"{key}: missing; backend {backend!r} needs it")
        key, allowed = _simulations(self.backend)
        if key and self.simulated and getattr(self, key) not in allowed:
            where = "a real port" if key == "port" else "the VISA name of a real instrument"
            raise ValueError(
                f"{key}: {getattr(self, key)!r}: no such simulation; allowed are {', '.join(allowed)}, or {where}"
            )
        self._instruments_fit()
        return self

    def _instruments_fit(self) -> None:
        if self.instruments is None:
            return
        rows, columns = self.instruments.map.shape
        if (rows, columns) != self.shape or self.arrays != 1:
            raise ValueError(
                f"instruments.map: leads to one array of {rows} x {columns}; arrays and shape ask for "
                f"{self.arrays} of {self.shape[0]} x {self.shape[1]}"
            )
        names = (
            self.instruments.gate.resource,
            self.instruments.switch,
            *(b.resource for b in self.instruments.bias),
        )
        for name in names:
            if name is not None and name.startswith("sim:") != self.simulated:
                raise ValueError(
                    f"instruments: {name!r} with resource {self.resource!r}: all are simulated, or none is"
                )

    @property
    def simulated(self) -> bool:
        """Whether the cells are those of the twin: directly, or behind a simulated controller or instruments."""
        return _on_the_twin(self.backend, self.port, self.resource)


def _simulations(backend: str) -> tuple[str, list[str]]:
    """The key that names a simulation, and what it may be: of instruments, the families that packages simulate."""
    if backend == "controller":
        return "port", _SIMULATED_PORTS
    simulated = names("eapu_hil.simulated_instruments")
    families = [f"sim:{name}" for name in names("eapu_hil.source_meters") if name in simulated]
    return ("resource", families) if backend == "smu" else ("", [])


def _on_the_twin(backend: str, port: Any, resource: Any) -> bool:
    where = {"controller": port, "smu": resource}.get(backend)
    return backend == "twin" or str(where).startswith("sim:")
