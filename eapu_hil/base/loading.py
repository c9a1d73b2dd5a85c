"""YAML -> validated pydantic models; every mistake is one line: which file, which key, what is allowed."""

from __future__ import annotations

import difflib
import json
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from eapu_hil.base.errors import ConfigError
from eapu_hil.base.yamltext import parse_yaml, plain_data

# kind of file -> what one is called, and where in the package the packaged ones lie (no passport does)
_KINDS = {
    "benches": ("bench", "bench/benches"),
    "experiments": ("experiment", "training/experiments"),
    "recipes": ("recipe", "hal/recipes"),
    "presets": ("preset", "twin/presets"),
    "passports": ("passport", "passports"),
    "instruments": ("list of instruments", "instruments"),
    "maps": ("channel map", "maps"),
    "plans": ("plan", "plans"),
    "tables": ("table", "study/tables"),
    "imports": ("import", "imports"),
}
_PACKAGES = {"plans": "eapu_calibration"}  # of the packaged files, where that is not this one
# pydantic's words -> those of somebody who writes YAML
_WORDS = {
    "Input should be": "must be",
    "an object": "a mapping of keys",
    "a valid array": "a list",
    "Tuple": "the list",
    " after validation": "",
}
Source = Path | str | Mapping[str, Any] | BaseModel
Data = dict[str, Any]
Model = TypeVar("Model", bound=BaseModel)


class FileModel(BaseModel):
    """Base of models that refer to other files.

    path_keys: keys whose value is a path, relative to the file they stand in, also where this model is a part of
        another one.
    name_or_path_keys: the same, but a bare word is the name of something packaged.
    references: keys that hold another model: a packaged name, a path or the mapping itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    path_keys: ClassVar[tuple[str, ...]] = ()
    name_or_path_keys: ClassVar[tuple[str, ...]] = ()
    references: ClassVar[Mapping[str, tuple[type[BaseModel], str]]] = {}

    @classmethod
    def prepare(cls, data: Data, nested: Data) -> tuple[Data, Data]:
        """Fills in references that a file leaves out; `nested` are the overrides that go into references."""
        return data, nested


@dataclass(frozen=True)
class _Origin:
    """Where data came from: its name in messages, a prefix for its keys, the directory of its paths."""

    label: str
    prefix: str
    base: Path
    changes: str = "--set"  # what overrides are called


def load_model(
    model: type[Model], source: Source, overrides: Sequence[str] | Mapping[str, Any], kind: str
) -> Model:
    """Reads and validates one `model`.

    source: path of a YAML file, name of a packaged one, or the content as a mapping or a model.
    overrides: `key.path=value` texts with YAML values (`--set`), or values by dotted key. Paths in them are
        relative to the working directory.
    kind: `benches`, `experiments`, `recipes`, `presets` or `plans`: where packaged names are looked up.
    Raises ConfigError.
    """
    parsed = dict(overrides) if isinstance(overrides, Mapping) else parse_overrides(overrides)
    origin, data = _read(source, kind, Path.cwd())
    if isinstance(overrides, Mapping):
        origin = replace(origin, changes="overrides")
    return _build(model, origin, data, parsed)


def parse_overrides(texts: Sequence[str]) -> Data:
    """`key.path=value` texts (`--set`) as values by dotted key. Raises ConfigError."""
    return dict(map(_parse_override, texts))


def packaged_names(kind: str) -> list[str]:
    """Names of the packaged files of a kind."""
    folder = _folder(kind)
    entries = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    return sorted(name.removesuffix(".yaml") for name in entries if name.endswith(".yaml"))


def read_mapping(source: Source, kind: str) -> Data:
    """The content of a file as it stands, not validated. Raises ConfigError."""
    return _read(source, kind, Path.cwd())[1]


def _build(model: type[Model], origin: _Origin, data: Data, overrides: Data) -> Model:
    if not issubclass(model, FileModel):
        return _validate(model, origin, _with_overrides(data, overrides, origin), overrides)
    nested = {key: value for key, value in overrides.items() if _head(key) in model.references and "." in key}
    direct = {key: value for key, value in overrides.items() if key not in nested}
    data = _absolute(model, data, origin.base)
    data = _absolute(model, _with_overrides(data, direct, origin), Path.cwd())
    data, nested = model.prepare(data, nested)
    for key, (inner_model, kind) in model.references.items():
        inner = {name.partition(".")[2]: value for name, value in nested.items() if _head(name) == key}
        value = data.get(key)
        if value is None and not inner:
            continue
        if isinstance(value, Mapping):
            inner_origin, content = _Origin(origin.label, f"{origin.prefix}{key}.", origin.base), dict(value)
        elif isinstance(value, str):
            try:
                inner_origin, content = _read(value, kind, origin.base)
            except ConfigError as error:
                raise ConfigError(f"{origin.label}: {origin.prefix}{key}: {error}") from error
        else:
            what = _KINDS[kind][0]
            raise ConfigError(
                f"{origin.label}: {origin.prefix}{key}: expected the name, path or content of a {what}"
            )
        data = {**data, key: _build(inner_model, inner_origin, content, inner).model_dump(mode="json")}
    return _validate(model, origin, data, direct)


def _absolute(model: type[BaseModel], data: Data, base: Path) -> Data:
    resolved = _absolute_parts(model, data, base)
    if not issubclass(model, FileModel):
        return resolved
    references = [key for key in model.references if isinstance(data.get(key), str)]
    for key in (*model.path_keys, *model.name_or_path_keys, *references):
        value = data.get(key)
        if isinstance(value, str) and (key in model.path_keys or _is_path(value)):
            resolved[key] = str(base / Path(value).expanduser())
    return resolved


def _absolute_parts(model: type[BaseModel], data: Data, base: Path) -> Data:
    """`data` with the paths of models in `model` resolved. References are read on their own."""
    references = model.references if issubclass(model, FileModel) else {}
    resolved = dict(data)
    for key, field in model.model_fields.items():
        content = data.get(key)
        if key not in references and isinstance(content, Mapping):
            for inner in _models_in(field.annotation):
                if content.get("name", None) is None or content["name"] in _tags(inner):
                    resolved[key] = _absolute(inner, resolved[key], base)
    return resolved


def _read(source: Source, kind: str, base: Path) -> tuple[_Origin, Data]:
    what = _KINDS[kind][0]
    if isinstance(source, BaseModel):
        source = source.model_dump(mode="json")
    if isinstance(source, Mapping):
        return _Origin(what, "", base), plain_data(dict(source), what)
    if isinstance(source, str) and not _is_path(source):
        if source in packaged_names(kind):
            name = f"{source} (packaged {what})"
            return _Origin(name, "", base), _parse(_folder(kind) / f"{source}.yaml", name)
        if not (base / source).is_file():
            names = packaged_names(kind)
            raise ConfigError(
                f"{what} {source!r}: not packaged{_did_you_mean(source, names)}; packaged are "
                f"{', '.join(names) or 'none'}, anything else is a path that ends in .yaml"
            )
    path = base / Path(source).expanduser()
    return _Origin(str(source), "", path.parent), _parse(path, str(source))


def _parse(file: Path | Traversable, label: str) -> Data:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{label}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{label}: cannot be read: not UTF-8 text") from error
    data = parse_yaml(text, label)
    if not isinstance(data, dict):
        raise ConfigError(f"{label}: expected a mapping of keys, given {_short(data)}")
    return data


def _parse_override(text: str) -> tuple[str, Any]:
    key, sign, value = text.partition("=")
    key = key.strip()
    if not sign or not all(key.split(".")):
        raise ConfigError(f"--set {text}: expected key.path=value")
    return key, parse_yaml(value, f"--set {text}")


def _with_overrides(data: Data, overrides: Data, origin: _Origin) -> Data:
    result: Data = json.loads(json.dumps(data))  # a deep copy: the caller's mapping stays as it is
    for dotted, value in overrides.items():
        *parents, last = dotted.split(".")
        place = result
        for depth, key in enumerate(parents, start=1):
            inner = place.get(key)
            if inner is None:
                inner = place[key] = {}
            if not isinstance(inner, dict):
                above = ".".join(parents[:depth])
                raise ConfigError(
                    f"{origin.label}: {origin.prefix}{dotted}: {above} is {_short(inner)} and has no keys"
                )
            place = inner
        place[last] = plain_data(value, origin.label)
    return result


def _validate(model: type[Model], origin: _Origin, data: Data, overrides: Data) -> Model:
    try:
        # Strict JSON mode: lists may be tuples, text may be a path, but "5" and true are no numbers.
        return model.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        errors = error.errors(include_url=False)
    # A misspelt key is also a missing one; the misspelling says more.
    first = min(errors, key=lambda item: item["type"] != "extra_forbidden")
    key, models = _locate(model, first["loc"], first["type"] == "extra_forbidden")
    dotted = (origin.prefix + key).rstrip(".")
    where = f"{origin.label}: {dotted}" if dotted else origin.label
    if any(f"{key}.".startswith(f"{name}.") or name.startswith(f"{key}.") for name in overrides):
        where += f" (from {origin.changes})"
    raise ConfigError(f"{where}: {' '.join(_explain(first, models).split())}")


def _explain(error: ErrorDetails, models: Sequence[type[BaseModel]]) -> str:
    """What is wrong and what is allowed. models: those that hold the wrong key."""
    context = error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            allowed = [name for owner in models for name in owner.model_fields]
            guess = _did_you_mean(str(error["loc"][-1]), allowed)
            return f"unknown key{guess}; allowed are {', '.join(allowed)}"
        case "missing":
            return "missing, must be given"
        case "union_tag_not_found":
            return f"the key {context['discriminator']} is missing, must be given"
        case "union_tag_invalid":
            allowed = re.findall(r"'([^']*)'", context["expected_tags"])
            guess = _did_you_mean(context["tag"], allowed)
            return f"unknown {context['tag']!r}{guess}; allowed are {', '.join(allowed)}"
    text = error["msg"].removeprefix("Value error, ")
    for theirs, ours in _WORDS.items():
        text = text.replace(theirs, ours)
    if error["loc"] and not isinstance(error["input"], Mapping):
        text += f"; given {_short(error['input'])}"
        if isinstance(error["input"], str):
            text += _did_you_mean(error["input"], re.findall(r"'([^']*)'", str(context.get("expected"))))
    return text


def _locate(
    model: type[BaseModel], location: tuple[int | str, ...], unknown_key: bool
) -> tuple[str, list[type[BaseModel]]]:
    """The dotted key of an error, without pydantic's union tags, and the models that hold its last part.

    unknown_key: the last part is a key that no model has.
    """
    models, parts = [model], []
    for depth, part in enumerate(location, start=1):
        fields = [
            owner.model_fields[part]
            for owner in models
            if isinstance(part, str) and part in owner.model_fields
        ]
        if fields:
            parts.append(str(part))
            if depth < len(location):  # otherwise the models that hold this key are wanted
                models = [inner for field in fields for inner in _models_in(field.annotation)]
        elif isinstance(part, int) or not models or (unknown_key and depth == len(location)):
            parts.append(str(part))
        else:  # the tag of a union: its class or the value of its discriminator
            tagged = [owner for owner in models if part in _tags(owner)]
            models = tagged or models
    return ".".join(parts), models


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


def _folder(kind: str) -> Traversable:
    return resources.files(_PACKAGES.get(kind, "eapu_hil")).joinpath(_KINDS[kind][1])


def _is_path(text: str) -> bool:
    return text.endswith((".yaml", ".yml")) or "/" in text or "\\" in text


def _head(dotted: str) -> str:
    return dotted.partition(".")[0]


def _did_you_mean(given: str, allowed: Sequence[str]) -> str:
    close = difflib.get_close_matches(given, allowed, n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def _short(value: Any) -> str:
    text = json.dumps(value) if isinstance(value, (dict, list)) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
