"""Turns the errors of pydantic into messages for people who write YAML."""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from eapu_hil.base.errors import ConfigError, did_you_mean
from eapu_hil.base.named import ByName

# pydantic's words -> those of somebody who writes YAML
_WORDS = {
    "Input should be": "must be",
    "an object": "a mapping of keys",
    "a valid array": "a list",
    "Tuple": "the list",
    " after validation": "",
}


def in_words(
    model: type[BaseModel], data: Mapping[str, Any], error: ValidationError, allow_modules: Collection[str]
) -> tuple[str, str]:
    """The dotted key of the first mistake in `data` that `model` refused, and what is wrong and what is allowed.

    Of keys that are missing all are named.
    """
    # A misspelt key is also a missing one; the misspelling says more.
    found = error.errors(include_url=False)
    first = min(found, key=lambda item: item["type"] != "extra_forbidden")
    key, models = _locate(model, data, first["loc"], first["type"] == "extra_forbidden", allow_modules)
    said = " ".join(_explain(first, models).split())
    if first["type"] == "missing":
        beside = [
            _locate(model, data, one["loc"], False, allow_modules)[0]
            for one in found
            if one is not first and one["type"] == "missing" and one["loc"][:-1] in (first["loc"][:-1], ())
        ]
        said += f", and so must {', '.join(beside)}" if beside else ""
    return key, said


def short(value: Any) -> str:
    """A value as messages show it, cut at 60 characters."""
    text = json.dumps(value) if isinstance(value, (dict, list)) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def part_models(
    field: FieldInfo, content: Mapping[str, Any], allow_modules: Collection[str]
) -> list[type[BaseModel]]:
    """The models of a field that `content` may be; of several, its `name` chooses. None where that is no name."""
    if typing.get_origin(field.annotation) in (dict, list, tuple, Mapping, Sequence):
        return []  # models are in it, but `content` is none of them
    try:
        models = list(_models_of(field, content, allow_modules))
    except (ConfigError, ValueError):  # the validation says what is wrong with it
        return []
    if "name" not in content or len(models) == 1:
        return models
    return [model for model in models if content["name"] in _tags(model)]


def _explain(error: ErrorDetails, models: Sequence[type[BaseModel]]) -> str:
    """A message that says what is wrong and what is allowed. models: those that hold the wrong key."""
    context = error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            allowed = [name for owner in models for name in owner.model_fields]
            key = str(error["loc"][-1])
            known = [say(key) for owner in models if (say := getattr(owner, "about_unknown_key", None))]
            return (
                f"unknown key{''.join(known) or did_you_mean(key, allowed)}; allowed are {', '.join(allowed)}"
            )
        case "missing":
            return "missing; it must be given"
        case "union_tag_not_found":
            return f"the key {context['discriminator']} is missing; it must be given"
        case "union_tag_invalid":
            allowed = re.findall(r"'([^']*)'", context["expected_tags"])
            guess = did_you_mean(context["tag"], allowed)
            return f"unknown {context['tag']!r}{guess}; allowed are {', '.join(allowed)}"
    text = error["msg"].removeprefix("Value error, ")
    for theirs, ours in _WORDS.items():
        text = text.replace(theirs, ours)
    if error["loc"] and not isinstance(error["input"], Mapping):
        text += f"; given {short(error['input'])}"
        if isinstance(error["input"], str):
            text += did_you_mean(error["input"], re.findall(r"'([^']*)'", str(context.get("expected"))))
    return text


def _locate(
    model: type[BaseModel],
    data: Mapping[str, Any],
    location: tuple[int | str, ...],
    unknown_key: bool,
    allow_modules: Collection[str],
) -> tuple[str, list[type[BaseModel]]]:
    """The dotted key of an error in `data`, without pydantic's union tags, and the models that hold its last part.

    unknown_key: the last part is a key that no model has.
    """
    models, parts = [model], []
    content: Any = data
    for depth, part in enumerate(location, start=1):
        fields = [
            owner.model_fields[part]
            for owner in models
            if isinstance(part, str) and part in owner.model_fields
        ]
        if fields:
            parts.append(str(part))
            content = content.get(part) if isinstance(content, Mapping) else None
            if depth < len(location):  # otherwise the models that hold this key are wanted
                models = [inner for field in fields for inner in _models_of(field, content, allow_modules)]
        elif isinstance(part, int) or (
            isinstance(content, Mapping) and (not models or (unknown_key and depth == len(location)))
        ):
            parts.append(str(part))
            content = _within(content, part)
        else:  # the tag of a union: its class, its type or the value of its discriminator
            tagged = [owner for owner in models if part in _tags(owner)]
            models = tagged or models
    return ".".join(parts), models


def _within(content: Any, part: int | str) -> Any:
    """What stands in `content` at a key or a number; None where there is nothing."""
    if isinstance(content, Mapping):
        return content.get(part)
    inside = isinstance(part, int) and isinstance(content, Sequence) and part < len(content)
    return content[part] if inside else None


def _models_of(field: FieldInfo, content: Any, allow_modules: Collection[str]) -> Iterator[type[BaseModel]]:
    for mark in field.metadata:
        if isinstance(mark, ByName):  # its content was validated as this model, so there is one
            yield mark.model_for(content, allow_modules)
            return
    yield from _models_in(field.annotation)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, BaseModel):
            yield annotation
        return
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)


def _tags(model: type[BaseModel]) -> set[Any]:
    literals = (typing.get_args(field.annotation) for field in model.model_fields.values())
    return {model.__name__, *(item for values in literals for item in values if isinstance(item, str))}
