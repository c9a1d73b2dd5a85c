"""Experiment files: what their keys mean and which values are allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import BaseModel, NonNegativeInt, PositiveFloat, model_validator

from eapu_hil.base.filenames import FileName
from eapu_hil.base.loading import Data, FileModel
from eapu_hil.base.sizes import Samples, Steps
from eapu_hil.bench.config import AnyBench, BenchConfig
from eapu_hil.hal.recipe import Recipe
from eapu_hil.network.optimizer import OptimizerConfig
from eapu_hil.placement.wear_levelling import WearLevelling
from eapu_hil.rules import RuleConfig, RuleModel, installed_rules
from eapu_hil.tasks import TaskConfig


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

    name: FileName
    bench: AnyBench
    task: TaskConfig
    rule: RuleConfig
    optimizer: OptimizerConfig
    steps: Steps
    batch: Samples
    seed: NonNegativeInt = 0
    recipe: Recipe | None = None
    backward: Literal["array", "host"] = "array"
    weight_range: PositiveFloat = 2.5
    evaluate_every: Steps = 100
    checkpoint_every: Steps = 100
    refresh_every: Steps | None = None
    wear_levelling: WearLevelling | None = None

    @property
    def modules(self) -> tuple[str, ...]:
        """Modules whose code this experiment names, which a caller must have allowed for it to be loaded."""
        dotted = [name for name in (self.rule.name, self.task.name) if ":" in name]
        return tuple(dict.fromkeys(name.partition(":")[0] for name in dotted))

    @model_validator(mode="after")
    def _levelling_fits_rule(self) -> ExperimentConfig:
        levelling, rule = self.wear_levelling, self.rule
        if levelling is None:
            return self
        if levelling.threshold_growth > 0 and not rule.threshold_follows_error:
            aware = ", ".join(name for name, one in installed_rules().items() if one.error_aware)
            raise ValueError(
                f"wear_levelling: threshold_growth raises thresholds that follow the write error; that of rule "
                f"{rule.name!r} does not. Take one of {aware}, without a threshold of its own, or "
                "threshold_growth: 0 with share_pairs or move_rows: true"
            )
        if levelling.share_pairs and not _shares_pairs(rule):
            allowed = ", ".join(name for name, one in installed_rules().items() if _shares_pairs(one))
            raise ValueError(
                f"wear_levelling.share_pairs: rule {rule.name!r} chooses the cells that it pulses itself, or "
                f"writes none; allowed with {allowed}"
            )
        if levelling.move_rows and rule.trains_on != "array":
            raise ValueError(
                f"wear_levelling.move_rows: with rule {rule.name!r} no row is written often enough to be moved; "
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


def _shares_pairs(rule: RuleModel | type[RuleModel]) -> bool:
    """Whether either cell of a pair may take a change that the rule asks for."""
    return rule.trains_on == "array" and rule.verified
