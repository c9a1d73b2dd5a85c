"""Tasks: what a network is trained for, one file each with its data, its network and its metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from eapu_hil.hal import ConfigError
from eapu_hil.tasks.arrays import Arrays, ArraysConfig
from eapu_hil.tasks.base import DataConfig, Evaluation, Forward, Item, Task, Triplet
from eapu_hil.tasks.denoise import Denoise, DenoiseConfig
from eapu_hil.tasks.digits import Digits, DigitsConfig
from eapu_hil.tasks.super_resolution import SuperResolution, SuperResolutionConfig

__all__ = ["DataConfig", "Evaluation", "Forward", "Item", "Task", "TaskConfig", "Triplet", "make_task"]

TaskConfig = Annotated[
    DenoiseConfig | SuperResolutionConfig | DigitsConfig | ArraysConfig,
    Field(discriminator="name"),
]


def make_task(config: TaskConfig | Mapping[str, Any]) -> Task:
    """The task with its data loaded. `config`: a task's model, or a mapping with its `name` and keys.

    Raises ConfigError for a wrong key or value, an unusable folder of images, or a package that is missing.
    """
    if isinstance(config, Mapping):
        config = _validated(config)
    match config:
        case DenoiseConfig():
            return Denoise(config)
        case SuperResolutionConfig():
            return SuperResolution(config)
        case DigitsConfig():
            return Digits(config)
        case ArraysConfig():
            return Arrays(config)


def _validated(settings: Mapping[str, Any]) -> TaskConfig:
    adapter: TypeAdapter[TaskConfig] = TypeAdapter(TaskConfig)
    try:
        return adapter.validate_python(dict(settings))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        # the discriminator's value is not a key of the file
        key = ".".join(["task", *(str(part) for part in first["loc"][1:])])
        raise ConfigError(f"{key}: {first['msg']}; given: {first['input']!r}") from error
