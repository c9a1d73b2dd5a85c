"""Bench and experiment files: what their keys mean and which values are allowed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from eapu_hil.hal import Limits
from eapu_hil.loading import Data, FileModel, load_model, packaged_names, read_mapping
from eapu_hil.optimizer import OptimizerConfig
from eapu_hil.recipe import Recipe
from eapu_hil.rules import RuleConfig
from eapu_hil.tasks import TaskConfig

__all__ = ["BenchConfig", "ExperimentConfig", "LimitsConfig", "load_model", "packaged_names"]

# Keys that only one of the project's own backends understands; a lab's backend may use any of them.
_KEYS_OF_BACKEND = {"port": "controller", "resource": "smu"}
# Keys that say what is simulated.
_KEYS_OF_TWIN = ("preset", "overrides", "seed")
_BACKENDS = ("twin", "controller", "smu")
_SIMULATED_PORTS = ("sim:posix", "sim:qemu")
_DEFAULT_PRESET = "rram_180nm"
_DEFAULT_RECIPE = "rram_180nm"


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
        the twin behind a simulated controller (`port: sim:posix` or `sim:qemu`).
    arrays, shape: how many arrays, and rows and columns of each.
    chip: directory of the chip's passport; None means a chip that lives as long as the session.
    port, resource: where the controller or the source-measure unit answers.
    limits: what the interlock refuses.
    recipe: write-verify parameters used when a request names none.
    """

    path_keys: ClassVar[tuple[str, ...]] = ("chip",)
    name_or_path_keys: ClassVar[tuple[str, ...]] = ("preset",)
    references: ClassVar[Mapping[str, tuple[type[BaseModel], str]]] = {"recipe": (Recipe, "recipes")}

    backend: str = Field(min_length=1)
    preset: str | None = None
    overrides: Annotated[dict[str, Any], BeforeValidator(_by_dotted_key)] = Field(default_factory=dict)
    seed: NonNegativeInt = 0
    arrays: PositiveInt = 1
    shape: tuple[PositiveInt, PositiveInt]
    chip: Path | None = None
    port: str | None = None
    resource: str | None = None
    limits: LimitsConfig
    recipe: Recipe

    @classmethod
    def prepare(cls, data: Data, nested: Data) -> tuple[Data, Data]:
        """The twin's preset and recipe have defaults: a preset names the recipe that fits it."""
        data = dict(data)
        twin = _on_the_twin(data.get("backend"), data.get("port"))
        if twin and data.get("preset") is None:
            data["preset"] = _DEFAULT_PRESET
        if data.get("recipe") is None:
            data["recipe"] = _DEFAULT_RECIPE
            if twin and isinstance(data["preset"], str):
                data["recipe"] = read_mapping(data["preset"], "presets").get("recipe", _DEFAULT_RECIPE)
        return data, nested

    @model_validator(mode="after")
    def _keys_fit_backend(self) -> BenchConfig:
        if self.backend not in _BACKENDS:
            return self
        for key, backend in _KEYS_OF_BACKEND.items():
            if backend == self.backend and not getattr(self, key):
                raise ValueError(f"{key}: missing; backend {backend!r} needs it")
            if backend != self.backend and getattr(self, key) is not None:
                raise ValueError(f"{key}: only for backend {backend!r}; given with backend {self.backend!r}")
        if self.backend == "controller" and self.simulated and self.port not in _SIMULATED_PORTS:
            allowed = ", ".join(_SIMULATED_PORTS)
            raise ValueError(
                f"port: {self.port!r}: no such simulation; allowed are {allowed}, or a real port"
            )
        for key in _KEYS_OF_TWIN:
            if not self.simulated and getattr(self, key) not in (None, {}, 0):
                where = f"backend {self.backend!r}" + (f", port {self.port!r}" if self.port else "")
                raise ValueError(f"{key}: only for backend 'twin' and for ports sim:...; given with {where}")
        return self

    @property
    def simulated(self) -> bool:
        """Whether the cells are those of the twin: directly, or behind a simulated controller."""
        return _on_the_twin(self.backend, self.port)


def _on_the_twin(backend: Any, port: Any) -> bool:
    return backend == "twin" or (backend == "controller" and str(port).startswith("sim:"))


class ExperimentConfig(FileModel):
    """An experiment file.

    task, rule, optimizer: `name` and the keys of that one.
    backward: products with the transposed weights on the array, or on the host with weights read back.
    weight_range: largest weight that a layer can hold, in units of its He initialisation's standard deviation
        sqrt(2 / n_in); it sets the layer's scale between weights and conductances.
    recipe: write-verify parameters of this experiment; None means the bench's.
    evaluate_every, checkpoint_every: steps between evaluations and checkpoints.
    """

    references: ClassVar[Mapping[str, tuple[type[BaseModel], str]]] = {
        "bench": (BenchConfig, "benches"),
        "recipe": (Recipe, "recipes"),
    }

    name: str = Field(min_length=1)
    bench: BenchConfig
    task: TaskConfig
    rule: RuleConfig
    optimizer: OptimizerConfig
    steps: PositiveInt
    batch: PositiveInt
    seed: NonNegativeInt = 0
    recipe: Recipe | None = None
    backward: Literal["array", "host"] = "array"
    weight_range: PositiveFloat = 2.5
    evaluate_every: PositiveInt = 100
    checkpoint_every: PositiveInt = 100

    @classmethod
    def prepare(cls, data: Data, nested: Data) -> tuple[Data, Data]:
        """Without a recipe of its own the experiment's recipe is the bench's, and so are changes to it."""
        if data.get("recipe") is not None:
            return data, nested
        return data, {
            f"bench.{key}" if key.startswith("recipe.") else key: value for key, value in nested.items()
        }
