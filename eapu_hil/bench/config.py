"""Bench files: the keys that every bench has, and those of the twin. Each driver names a model that adds its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializeAsAny,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import CoreSchema

from eapu_hil.base.loading import Data, FileModel, read_mapping
from eapu_hil.base.sizes import CELLS_MAX, Lines
from eapu_hil.bench.driver import backends_with, find_driver, installed_drivers
from eapu_hil.hal import ConfigError, Limits
from eapu_hil.hal.recipe import Recipe

DEFAULT_PRESET = "rram_180nm"
SIMULATED = "sim:"  # begins the address of a simulated device; the name of the simulation follows
# Runs of version 0.1 hold these keys for every backend, with these values where they are not used.
_KEYS_OF_0_1: Mapping[str, Any] = {
    "port": None,
    "resource": None,
    "instruments": None,
    "preset": None,
    "overrides": {},
    "seed": 0,
}


class LimitsConfig(FileModel):
    """Absolute maxima of the bench; the fields of `hal.Limits`.

    unusual: limits or a temperature beyond the usual are meant. Without it such a bench is not opened.
    """

    v_max_v: PositiveFloat
    v_gate_max_v: PositiveFloat
    i_max_a: PositiveFloat
    width_max_s: PositiveFloat
    pulses_per_cell_max: PositiveInt
    v_read_max_v: PositiveFloat = 0.5
    unusual: bool = False

    def as_limits(self) -> Limits:
        """The same as the contract's dataclass."""
        return Limits(**self.model_dump(exclude={"unusual"}))


class BenchConfig(FileModel):
    """A bench file: the keys that every bench has. Reading one gives the class of its backend.

    backend: name of the driver (entry point group `eapu_hil.drivers`).
    arrays, shape: how many arrays, and rows and columns of each.
    chip: directory of the chip's passport; None means a chip that lives as long as the session.
    serial: of the chip itself, where the bench cannot know it; compared with the passport.
    limits: what the interlock refuses.
    recipe: write-verify parameters used when a request names none.
    temperature_c: of the chip, as far as the operator knows it; goes into what a calibration measures, and changes
        nothing else.

    default_recipe: the packaged recipe of a file that names none.
    """

    path_keys: ClassVar[tuple[str, ...]] = ("chip",)
    references: ClassVar[Mapping[str, tuple[type[BaseModel], str]]] = {"recipe": (Recipe, "recipes")}
    filled: ClassVar[tuple[str, ...]] = ("recipe",)
    default_recipe: ClassVar[str] = "rram_180nm"

    backend: str = Field(min_length=1)
    arrays: Lines = 1
    shape: tuple[Lines, Lines]
    chip: Path | None = None
    serial: Annotated[str, Field(min_length=1)] | None = None
    limits: LimitsConfig
    recipe: Recipe
    temperature_c: Annotated[float, Field(ge=-273.15, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _of_a_size_that_exists(self) -> Self:
        rows, columns = self.shape
        cells = self.arrays * rows * columns
        if cells > CELLS_MAX:
            raise ValueError(
                f"shape: {self.arrays} x {rows} x {columns} are {cells} cells; allowed are {CELLS_MAX} in all arrays"
            )
        return self

    @property
    def simulated(self) -> bool:
        """Whether the cells are simulated: such a chip may be formed and measured unasked."""
        return False

    @property
    def where(self) -> str:
        """Its name in messages: its file, or the key of a file that holds it."""
        return self.origin or "bench"

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> Data:
        """Of a bench file whose backend is open: the keys of the driver that `backend` names."""
        if cls is not BenchConfig:
            return super().__get_pydantic_json_schema__(core_schema, handler)
        drivers = installed_drivers()
        return {
            "type": "object",
            "properties": {"backend": {"enum": list(drivers)}},
            "required": ["backend"],
            "allOf": [
                {
                    "if": {"properties": {"backend": {"const": name}}},
                    "then": handler(driver.keys.__pydantic_core_schema__),
                }
                for name, driver in drivers.items()
            ],
        }

    @classmethod
    def model_for(cls, data: Mapping[str, Any]) -> type[Self]:
        """The model that the driver of `backend` names. Raises ConfigError where there is none, or another kind."""
        backend = data.get("backend")
        if not isinstance(backend, str) or not backend:
            return cls  # which says so
        try:
            keys = find_driver(backend).keys
        except ConfigError as error:
            raise ConfigError(f"backend: {error}") from error
        if not issubclass(keys, BenchConfig):
            raise ConfigError(
                f"backend: the driver {backend!r} names {keys.__name__}, which is not derived from BenchConfig"
            )
        if not issubclass(keys, cls):
            missing = [key for key in cls.model_fields if key not in BenchConfig.model_fields]
            raise ConfigError(
                f"backend: {backend!r} asked; allowed here is one with the keys {', '.join(missing)}"
            )
        return keys

    @classmethod
    def prepare(cls, data: Data, nested: Data) -> tuple[Data, Data]:
        """Names the default recipe, and leaves out unused keys of other backends that old runs hold."""
        data = {
            key: value
            for key, value in data.items()
            if key in cls.model_fields or key not in _KEYS_OF_0_1 or value != _KEYS_OF_0_1[key]
        }
        if data.get("recipe") is None:
            data["recipe"] = cls.default_recipe
        return data, nested

    @classmethod
    def about_unknown_key(cls, key: str) -> str:
        """Which other backends have it."""
        backends = backends_with(key)
        return f"; only backend {' and '.join(map(repr, backends))} can have it" if backends else ""


def _of_its_backend(data: Any, handler: ValidatorFunctionWrapHandler) -> BenchConfig:
    if isinstance(data, Mapping):
        return BenchConfig.model_for(data).model_validate_json(json.dumps(data), strict=True)
    bench: BenchConfig = handler(data)
    return bench


# A bench in another file: one of its backend's class, read and written with all of its keys.
AnyBench = Annotated[SerializeAsAny[BenchConfig], WrapValidator(_of_its_backend)]


def _by_dotted_key(value: Any) -> Any:
    """{circuit: {x: 1}} means the same as {circuit.x: 1}; of two values for one key the later wins."""
    if not isinstance(value, Mapping):
        return value
    flat: dict[str, Any] = {}
    for key, item in value.items():
        nested = _by_dotted_key(item).items() if isinstance(item, Mapping) else [("", item)]
        for name, content in nested:
            dotted = f"{key}.{name}" if name else key
            flat.pop(dotted, None)  # the later one goes last
            flat[dotted] = content
    return flat


class TwinBenchConfig(BenchConfig):
    """A bench whose cells are those of the twin: always (backend `twin`), or where its device is a simulated one.

    preset, overrides, seed: the twin's parameters, single values of them by dotted key, its cells' seed.

    address_key: the key whose value says where the device is, `sim:...` for a simulated one; None: it always is.
    preset_names_recipe: whether the recipe of a file that names none is that of the preset.
    """

    name_or_path_keys: ClassVar[tuple[str, ...]] = ("preset",)
    address_key: ClassVar[str | None] = None
    preset_names_recipe: ClassVar[bool] = True

    preset: str | None = None
    overrides: Annotated[dict[str, Any], BeforeValidator(_by_dotted_key)] = Field(default_factory=dict)
    seed: NonNegativeInt = 0

    @property
    def simulated(self) -> bool:
        return self.address_key is None or is_simulation(getattr(self, self.address_key))

    @classmethod
    def asks_for_twin(cls, data: Mapping[str, Any]) -> bool:
        """`simulated` of a file that is not validated yet."""
        return cls.address_key is None or is_simulation(data.get(cls.address_key))

    @classmethod
    def prepare(cls, data: Data, nested: Data) -> tuple[Data, Data]:
        """The twin's preset has a default, and names the recipe that fits it."""
        data = dict(data)
        if cls.asks_for_twin(data):
            if data.get("preset") is None:
                data["preset"] = DEFAULT_PRESET
            if data.get("recipe") is None and cls.preset_names_recipe and isinstance(data["preset"], str):
                data["recipe"] = read_mapping(data["preset"], "presets").get("recipe")
        return super().prepare(data, nested)

    @model_validator(mode="after")
    def _simulates_or_says_nothing_of_it(self) -> Self:
        if self.simulated or self.address_key is None:
            return self
        for key, unused in (("preset", None), ("overrides", {}), ("seed", 0)):
            if getattr(self, key) != unused:
                raise ValueError(
                    f"{key}: only where the cells are simulated ({self.address_key}: sim:...); given with "
                    f"{self.address_key} {getattr(self, self.address_key)!r}"
                )
        return self


def is_simulation(address: object) -> bool:
    """Whether a port or a resource is a simulated one."""
    return isinstance(address, str) and address.startswith(SIMULATED)
