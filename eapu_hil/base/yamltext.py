"""YAML text -> plain data that JSON could hold, with errors in one line.

A file may come from anybody: its size, its depth, and what its aliases stand for have bounds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import yaml
from pydantic import BaseModel

from eapu_hil.base.errors import ConfigError

MOST_CHARACTERS = 1 << 20
MOST_VALUES = 50_000  # with what aliases stand for
_LONG_MAX = 64 << 20
_DEPTH_MAX = 40
_NUMBER_MAX = 40  # characters
_SHOWN = 20
# What PyYAML's constructors pass on for a value that is not what its tag says.
_WRONG = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, ArithmeticError, RecursionError)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


class _Bounded(yaml.SafeLoader):
    """YAML of plain values within bounds: an alias counts as what it stands for."""

    def __init__(self, text: str) -> None:
        if len(text) > MOST_CHARACTERS:
            raise ValueError(f"{len(text)} characters; allowed are {MOST_CHARACTERS}")
        super().__init__(text)
        self._sizes: dict[int, tuple[int, int]] = {}  # of a node: values in it, depth below it
        self._depth = self._composed = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        is_alias, mark = self.check_event(yaml.AliasEvent), self.get_mark()
        self._depth += 1
        self._composed += 1
        self._require(self._composed, self._depth, mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is not None and id(node) not in self._sizes:
            if is_alias:
                raise yaml.constructor.ConstructorError(None, None, "an alias for what it stands in", mark)
            self._sizes[id(node)] = self._measured(node, mark)
        return node

    def _measured(self, node: yaml.Node, mark: yaml.Mark) -> tuple[int, int]:
        inner: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            inner = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            inner = node.value
        sizes = [self._sizes[id(part)] for part in inner]
        size = 1 + sum(values for values, _ in sizes), 1 + max((depth for _, depth in sizes), default=0)
        self._require(*size, mark)
        return size

    def _require(self, values: int, depth: int, mark: yaml.Mark) -> None:
        if values > MOST_VALUES:
            fault = f"more than {MOST_VALUES} values, with those that aliases stand for"
        elif depth > _DEPTH_MAX:
            fault = f"nested deeper than {_DEPTH_MAX} levels"
        else:
            return
        raise yaml.constructor.ConstructorError(None, None, fault, mark)


def _construct_number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
    """A number as YAML has them, short enough to be one that somebody means."""
    text = loader.construct_scalar(node)
    if len(text) > _NUMBER_MAX:
        fault = f"the number {text[:_SHOWN]}... has {len(text)} characters; allowed are {_NUMBER_MAX}"
        raise yaml.constructor.ConstructorError(None, None, fault, node.start_mark)
    read = loader.construct_yaml_int if node.tag.endswith("int") else loader.construct_yaml_float
    return read(node)


class _Quick(getattr(yaml, "CSafeLoader", _Bounded)):  # type: ignore[misc]  # PyYAML may lack libyaml
    """libyaml, where PyYAML was built with it: eight times as quick, but it knows no bounds by itself."""


for _kind in (_Bounded, _Quick):
    for _tag in ("int", "float"):
        _kind.add_constructor(f"tag:yaml.org,2002:{_tag}", _construct_number)


class _Loader(_Bounded):
    """YAML with 1e-3 as a number (YAML 1.1 reads text), without silent double keys and without control characters."""

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        text = super().construct_scalar(node)
        if isinstance(text, str) and (found := _CONTROL.search(text)):
            raise yaml.constructor.ConstructorError(
                None, None, f"the control character {found[0]!r} in a text", node.start_mark
            )
        return text

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


class _WithoutAliases(yaml.SafeLoader):
    """YAML of as many values as the text has: a few hundred bytes of aliases would take all memory."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.constructor.ConstructorError(None, None, "an alias", self.get_mark())
        return super().compose_node(parent, index)


def parse_yaml(text: str, label: str) -> Any:
    """The content of `text`; `label` names it in messages. Raises ConfigError."""
    try:
        value = _loaded(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark and "\n" in text else ""
        raise ConfigError(f"{label}{line}: not valid YAML: {error.problem}") from error
    except _WRONG as error:
        raise ConfigError(f"{label}: not valid YAML: {_first_line(error)}") from error
    return plain_data(value, label)


def stored_yaml(text: str) -> Any:
    """The content of a file that this program wrote, as `yaml.safe_load` gives it. Raises ValueError."""
    try:
        return _loaded(text, _Quick if _is_simple(text) else _Bounded)
    except _WRONG as error:
        raise ValueError(_first_line(error)) from error


def long_stored_yaml(text: str) -> Any:
    """The same for a file of many values, such as a measurement. It needs no aliases, and none are taken."""
    if len(text) > _LONG_MAX:
        raise ValueError(f"{len(text)} characters; allowed are {_LONG_MAX}")
    try:
        return yaml.load(text, Loader=_WithoutAliases)
    except _WRONG as error:
        raise ValueError(_first_line(error)) from error


def _is_simple(text: str) -> bool:
    """Whether a text without aliases keeps to the bounds. Raises YAMLError."""
    if len(text) > MOST_CHARACTERS:
        return False
    depth = 0
    for values, event in enumerate(yaml.parse(text, Loader=_Quick)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if isinstance(event, yaml.AliasEvent) or depth > _DEPTH_MAX or values > MOST_VALUES:
            return False
    return True


def _loaded(text: str, kind: type[yaml.SafeLoader]) -> Any:
    return yaml.load(text, Loader=kind)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


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
