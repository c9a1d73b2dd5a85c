"""Experiment files: what their keys mean and which values are allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import BaseModel, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from eapu_hil.base.loading import Data, FileModel
from eapu_hil.bench.config import AnyBench, BenchConfig
from eapu_hil.hal.recipe import Recipe
from eapu_hil.network.optimizer import OptimizerConfig
from eapu_hil.placement.wear_levelling import WearLevelling
from eapu_hil.rules import RuleConfig
from eapu_hil.tasks import TaskConfig

_WITH_VERIFY = (
    "bp",
    "dead_zone",
    "threshold_accumulate",
    "eapu",
    "eapu_deterministic",
    "eapu_residual",
)


class ExperimentConfig(FileModel):
    """An experiment file.

    task, rule, optimizer: `name` and the keys of that one.
    backward: products with the transposed weights on the array, or on the host with weights read back.
    weight_range: largest weight that a layer can hold, in units of its He initialisation's standard deviation
        sqrt(2 / n_in); it sets the layer's scale between weights and conductances.
    recipe: write-verify parameters of this experiment; None means the bench's.
    evaluate_every, checkpoint_every: steps between evaluations and checkpoints.
    refresh_every: steps between looks for cells that have drifted by more than three write errors from what was last
        written to them; these are written again. Also when a run goes on after a stop. None: never.
    wear_levelling: raises the threshold of worn cells, for rules whose threshold is the write error, lets the cells
        of a pair wear evenly, or moves worn rows; None: all wear as they do.
    """

    references: ClassVar[Mapping[str, tuple[type[BaseModel], str]]] = {
        "bench": (BenchConfig, "benches"),
        "recipe": (Recipe, "recipes"),
    }

    name: str = Field(min_length=1)
    bench: AnyBench
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
    refresh_every: PositiveInt | None = None
    wear_levelling: WearLevelling | None = None

    @model_validator(mode="after")
    def _levelling_fits_rule(self) -> ExperimentConfig:
        follows = self.rule.name in ("eapu", "eapu_deterministic", "eapu_residual")
        levelling = self.wear_levelling
        if levelling is None:
            return self
        if levelling.threshold_growth > 0 and (
            not follows or getattr(self.rule, "threshold_us", None) is not None
        ):
            raise ValueError(
                f"wear_levelling: raises thresholds that follow the write error; that of rule {self.rule.name!r} "
                "as it stands does not. Take eapu (without threshold_us), eapu_deterministic or eapu_residual, or "
                "threshold_growth: 0 with share_pairs or move_rows: true"
            )
        if levelling.share_pairs and self.rule.name not in _WITH_VERIFY:
            raise ValueError(
                f"wear_levelling.share_pairs: rule {self.rule.name!r} chooses the cells that it pulses itself, or "
                f"writes none; allowed with {', '.join(_WITH_VERIFY)}"
            )
        if levelling.move_rows and self.rule.name in ("digital", "offline_then_map", "hybrid"):
            raise ValueError(
                f"wear_levelling.move_rows: with rule {self.rule.name!r} no row is written often enough to be moved; "
                "leave it out"
            )
        return self

    @classmethod
    def prepare(cls, data: Data, nested: Data) -> tuple[Data, Data]:
        """Without a recipe of its own the experiment's recipe is the bench's, and so are changes to it."""
        if data.get("recipe") is not None:
            return data, nested
        return data, {
            f"bench.{key}" if key.startswith("recipe.") else key: value for key, value in nested.items()
        }
