"""YAML -> validated pydantic models; every mistake is one line: which file, which key, what is allowed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, PrivateAttr, ValidationError
from pydantic_core import CoreSchema

from eapu_hil.base.errors import ConfigError
from eapu_hil.base.filenames import require_regular
from eapu_hil.base.named import ALLOW_MODULES
from eapu_hil.base.old_names import say_renamed, with_new_keys
from eapu_hil.base.overrides import parse_overrides, with_overrides
from eapu_hil.base.packaged import KINDS, packaged_file, packaged_names
from eapu_hil.base.validation import in_words, part_models, short
from eapu_hil.base.yamltext import MOST_CHARACTERS, parse_yaml, plain_data

Source = Path | str | Mapping[str, Any] | BaseModel
Data = dict[str, Any]
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class _Place:
    """The file or key that a model was read from. It is no part of the content, so all places are equal."""

    text: str = dataclasses.field(default="", compare=False)


class FileModel(BaseModel):
    """Base of models that refer to other files.

    path_keys: keys whose value is a path, relative to the file they stand in, also where this model is a part of
        another one.
    name_or_path_keys: the same, but a bare word is the name of something packaged.
    references: keys that hold another model: a packaged name, a path or the mapping itself.
    filled: keys that a file may leave out because `prepare` fills them in.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    path_keys: ClassVar[tuple[str, ...]] = ()
    name_or_path_keys: ClassVar[tuple[str, ...]] = ()
    references: ClassVar[Mapping[str, tuple[type[BaseModel], str]]] = {}
    filled: ClassVar[tuple[str, ...]] = ()

    _place: _Place = PrivateAttr(default_factory=_Place)

    @property
    def origin(self) -> str:
        """The file that it was read from, or the key of a file that holds it; "" where neither is known."""
        return self._place.text

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> Data:
        """The schema of the file: references may be names or paths, and what `prepare` fills in may be left out."""
        schema: Data = handler.resolve_ref_schema(handler(core_schema))
        properties = schema.get("properties", {})
        for key in cls.references:
            word = {"type": "string", "description": "a packaged name or a path"}
            properties[key] = {"anyOf": [word, properties[key]]}
        schema["required"] = [key for key in schema.get("required", ()) if key not in cls.filled]
        return schema

    @classmethod
    def model_for(cls, data: Mapping[str, Any]) -> type[Self]:  # noqa: ARG003 - for derived classes
        """The class that a file of this content is of: this one, or one derived from it."""
        return cls

    @classmethod
    def prepare(cls, data: Data, nested: Data) -> tuple[Data, Data]:
        """Fills in references that a file leaves out; `nested` are the overrides that go into references."""
        return data, nested

    @classmethod
    def about_unknown_key(cls, key: str) -> str:  # noqa: ARG003 - for derived classes
        """A hint for the message about a key that this model does not have."""
        return ""


@dataclass(frozen=True)
class _Origin:
    """Where data came from: its name in messages, a prefix for its keys, the directory of its paths."""

    label: str
    prefix: str
    base: Path
    changes: str = "--set"  # what overrides are called

    @property
    def place(self) -> _Place:
        prefix = self.prefix.rstrip(".")
        return _Place(f"{self.label}: {prefix}" if prefix else self.label)


def load_model(
    model: type[Model],
    source: Source,
    overrides: Sequence[str] | Mapping[str, Any],
    kind: str,
    *,
    allow_modules: Collection[str] = (),
) -> Model:
    """Reads and validates one `model`.

    source: path of a YAML file, name of a packaged one, or the content as a mapping or a model.
    overrides: `key.path=value` texts with YAML values (`--set`), or values by dotted key. Paths in them are
        relative to the working directory.
    kind: `benches`, `experiments`, `recipes`, `presets` or `plans`: where packaged names are looked up.
    allow_modules: modules whose code the source may name, as in `rule: {name: my_module:MyRuleConfig}`.
    Raises ConfigError.
    """
    parsed = dict(overrides) if isinstance(overrides, Mapping) else parse_overrides(overrides)
    origin, data = _read(source, kind, Path.cwd())
    if isinstance(overrides, Mapping):
        origin = replace(origin, changes="overrides")
    return _build(model, origin, data, parsed, allow_modules)


def read_mapping(source: Source, kind: str) -> Data:
    """The content of a file as it stands, not validated. Raises ConfigError."""
    return _read(source, kind, Path.cwd())[1]


def _build(
    model: type[Model], origin: _Origin, data: Data, overrides: Data, allow_modules: Collection[str]
) -> Model:
    if not issubclass(model, FileModel):
        data = with_overrides(data, overrides, origin.label, origin.prefix)
        data, overrides = _with_new_keys(model, origin, data, overrides, allow_modules)
        return _validate(model, origin, data, overrides, allow_modules)
    try:
        model = model.model_for({**data, **overrides})
    except ConfigError as error:
        raise ConfigError(f"{origin.label}: {origin.prefix}{error}") from error
    nested = {key: value for key, value in overrides.items() if _head(key) in model.references and "." in key}
    direct = {key: value for key, value in overrides.items() if key not in nested}
    data = _absolute(model, data, origin.base, allow_modules)
    data = _absolute(
        model, with_overrides(data, direct, origin.label, origin.prefix), Path.cwd(), allow_modules
    )
    data, direct = _with_new_keys(model, origin, data, direct, allow_modules)
    data, nested = model.prepare(data, nested)
    places: dict[str, _Place] = {}
    for key, (inner_model, kind) in model.references.items():
        inner = {name.partition(".")[2]: value for name, value in nested.items() if _head(name) == key}
        value = data.get(key)
        if value is None and not inner:
            continue
        if isinstance(value, Mapping):
            inner_origin, content = replace(origin, prefix=f"{origin.prefix}{key}."), dict(value)
        elif isinstance(value, str):
            try:
                inner_origin, content = _read(value, kind, origin.base)
                inner_origin = replace(inner_origin, changes=origin.changes)
            except ConfigError as error:
                raise ConfigError(f"{origin.label}: {origin.prefix}{key}: {error}") from error
        else:
            what = KINDS[kind]
            raise ConfigError(
                f"{origin.label}: {origin.prefix}{key}: expected the name, path or content of a {what}"
            )
        built = _build(inner_model, inner_origin, content, inner, allow_modules)
        data = {**data, key: built.model_dump(mode="json")}
        places[key] = inner_origin.place
    validated = _validate(model, origin, data, direct, allow_modules)
    _remember(validated, origin.place)
    for key, place in places.items():  # they were validated anew, as parts of this one
        _remember(getattr(validated, key), place)
    return validated


def _remember(model: object, place: _Place) -> None:
    if isinstance(model, FileModel):
        model._place = place


def _with_new_keys(
    model: type[BaseModel], origin: _Origin, data: Data, overrides: Data, allow_modules: Collection[str]
) -> tuple[Data, Data]:
    """`data`, the overrides included, and `overrides` with the keys of today; says which ones were old."""
    data, renamed = with_new_keys(model, data, allow_modules)
    changed = {old for old in renamed if any(f"{old}.".startswith(f"{key}.") for key in overrides)}
    for label, keys in ((origin.label, renamed.keys() - changed), (origin.changes, changed)):
        if keys:
            said = [(old, new) for old, new in renamed.items() if old in keys]
            say_renamed(label, tuple((origin.prefix + old, origin.prefix + new) for old, new in said))
    return data, {renamed.get(key, key): value for key, value in overrides.items()}


def _absolute(model: type[BaseModel], data: Data, base: Path, allow_modules: Collection[str]) -> Data:
    resolved = _absolute_parts(model, data, base, allow_modules)
    if not issubclass(model, FileModel):
        return resolved
    references = [key for key in model.references if isinstance(data.get(key), str)]
    for key in (*model.path_keys, *model.name_or_path_keys, *references):
        value = data.get(key)
        if isinstance(value, str) and (key in model.path_keys or _is_path(value)):
            resolved[key] = str(base / Path(value).expanduser())
    return resolved


def _absolute_parts(model: type[BaseModel], data: Data, base: Path, allow_modules: Collection[str]) -> Data:
    """`data` with the paths of models in `model` resolved. References are read on their own."""
    references = model.references if issubclass(model, FileModel) else {}
    resolved = dict(data)
    for key, field in model.model_fields.items():
        content = data.get(key)
        if key not in references and isinstance(content, Mapping):
            for inner in part_models(field, content, allow_modules):
                resolved[key] = _absolute(inner, resolved[key], base, allow_modules)
    return resolved


def _read(source: Source, kind: str, base: Path) -> tuple[_Origin, Data]:
    what = KINDS[kind]
    if isinstance(source, BaseModel):
        what = (source.origin if isinstance(source, FileModel) else "") or what
        source = source.model_dump(mode="json")
    if isinstance(source, Mapping):
        return _Origin(what, "", base), plain_data(dict(source), what)
    bare = isinstance(source, str) and not _is_path(source)
    if bare and (source in packaged_names(kind) or not (base / source).is_file()):
        name = f"{source} (packaged {what})"
        return _Origin(name, "", base), _parse(packaged_file(kind, str(source)).path, name)
    path = base / Path(source).expanduser()
    return _Origin(str(source), "", path.parent), _parse(path, str(source))


def _parse(file: Path, label: str) -> Data:
    require_regular(file, label)
    try:
        with file.open(encoding="utf-8") as content:
            text = content.read(MOST_CHARACTERS + 1)  # `parse_yaml` refuses one more
    except OSError as error:
        raise ConfigError(f"{label}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{label}: cannot be read: not UTF-8 text") from error
    except ValueError as error:  # no name of a file
        raise ConfigError(f"{label!r}: cannot be read: {error}") from error
    data = parse_yaml(text, label)
    if not isinstance(data, dict):
        raise ConfigError(f"{label}: expected a mapping of keys, given {short(data)}")
    return data


def _validate(
    model: type[Model], origin: _Origin, data: Data, overrides: Data, allow_modules: Collection[str]
) -> Model:
    try:
        # Strict JSON mode: lists may be tuples, text may be a path, but "5" and true are no numbers.
        return model.model_validate_json(
            json.dumps(data), strict=True, context={ALLOW_MODULES: allow_modules}
        )
    except ValidationError as error:
        key, said = in_words(model, data, error, allow_modules)
    dotted = (origin.prefix + key).rstrip(".")
    where = f"{origin.label}: {dotted}" if dotted else origin.label
    if any(f"{key}.".startswith(f"{name}.") or name.startswith(f"{key}.") for name in overrides):
        where += f" (from {origin.changes})"
    raise ConfigError(f"{where}: {said}")


def _is_path(text: str) -> bool:
    return text.endswith((".yaml", ".yml")) or "/" in text or "\\" in text


def _head(dotted: str) -> str:
    return dotted.partition(".")[0]
