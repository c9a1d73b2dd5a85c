"""YAML text -> plain data that JSON could hold, with errors in one line."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import yaml
from pydantic import BaseModel

from eapu_hil.base.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """YAML with 1e-3 as a number (YAML 1.1 reads text) and without silent double keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is not text; quote it", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands here twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def parse_yaml(text: str, label: str) -> Any:
    """The content of `text`; `label` names it in messages. Raises ConfigError."""
    try:
        value = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark and "\n" in text else ""
        raise ConfigError(f"{label}{line}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{label}: not valid YAML: {str(error).splitlines()[0]}") from error
    return plain_data(value, label)


def plain_data(value: Any, label: str) -> Any:
    """`value` in the types of JSON. Whole floats become integers, so that 1e4 is a number of steps."""
    match value:
        case BaseModel():
            return plain_data(value.model_dump(mode="json"), label)
        case Mapping():
            return {str(key): plain_data(item, label) for key, item in value.items()}
        case list() | tuple():
            return [plain_data(item, label) for item in value]
        case np.generic() | np.ndarray():
            return plain_data(value.tolist(), label)
        case float():
            if not math.isfinite(value):
                raise ConfigError(f"{label}: the number {value} is not finite")
            return int(value) if value.is_integer() else value
        case None | bool() | int() | str():
            return value
    return str(value)
