"""Tasks by name: ours and those of other packages, entry points of the group `eapu_hil.tasks`.

An entry point leads to the configuration of a task, a `TaskModel`: `digits = "eapu_hil.tasks.digits:DigitsConfig"`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any

from pydantic import ValidationError

from eapu_hil.base.errors import ConfigError
from eapu_hil.base.named import ByName
from eapu_hil.tasks.base import Task, TaskModel

GROUP = "eapu_hil.tasks"
_BY_NAME = ByName(GROUP, "task", TaskModel)  # type: ignore[type-abstract]  # it makes classes derived from it
check_task = _BY_NAME.check

TaskConfig = Annotated[TaskModel, _BY_NAME]


def make_task(settings: Mapping[str, Any], allow_modules: Collection[str] = ()) -> Task:
    """The task of a mapping with its `name` and keys, with its data loaded.

    Raises ConfigError for a wrong key or value, an unusable folder of images, or a package that is missing.
    """
    try:
        config = _BY_NAME.validate(settings, allow_modules)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(["task", *map(str, first["loc"])])
        raise ConfigError(f"{key}: {first['msg']}; given: {first['input']!r}") from error
    except ValueError as error:
        raise ConfigError(f"task: {error}") from error
    return config.make()
