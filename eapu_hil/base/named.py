"""Fields whose key `name` says which model they are: one of an entry point group, or `module:attribute`."""

from __future__ import annotations

import inspect
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from eapu_hil.base.errors import ConfigError
from eapu_hil.base.plugins import listing, load, load_dotted
from eapu_hil.base.yamltext import plain_data

Base = TypeVar("Base", bound=BaseModel)
ALLOW_MODULES = "allow_modules"  # in the context of a validation: modules that `module:attribute` may name


@dataclass(frozen=True)
class ByName(Generic[Base]):
    """Marks such a field: `Annotated[RuleModel, ByName("eapu_hil.rules", "rule", RuleModel)]`.

    group: of the entry points. what: how messages call one. base: what all of them derive from.
    The field's value is written with all keys of its own class, and its name as it was given.
    """

    group: str
    what: str
    base: type[Base]

    def model_for(self, content: Any, allow_modules: Collection[str]) -> type[Base]:
        """The class that `content` names.

        Raises ValueError, without the field's key, when it names none, ConfigError when that cannot be had.
        """
        if not isinstance(content, Mapping):
            raise ValueError("must be a mapping of keys")
        name = content.get("name")
        if name is None:
            raise ValueError("the key 'name' is missing; it must be given")
        if not isinstance(name, str):
            raise ValueError(f"the key 'name' must be text; given {name!r}")
        dotted = ":" in name
        found = load_dotted(name, self.what, allow_modules) if dotted else load(self.group, name, self.what)
        self.check(name, found)
        model: type[Base] = found
        return model

    def check(self, name: str, found: Any) -> None:
        """Raises ConfigError where what `name` leads to is no complete class of this kind."""
        if not (isinstance(found, type) and issubclass(found, self.base)):
            raise ConfigError(
                f"{name!r} is no {self.what}: expected a class derived from {self.base.__module__}:"
                f"{self.base.__name__}, found {found!r}"
            )
        if inspect.isabstract(found):
            lacks = ", ".join(sorted(found.__abstractmethods__))
            raise ConfigError(f"{name!r} is no complete {self.what}: the class lacks {lacks}")

    def installed(self) -> dict[str, type[Base]]:
        """Every class of the group, by name, without what cannot be used. Imports all of them."""
        lines = listing(self.group, self.what, self.check)
        return {line.name: line.found for line in lines if line.found is not None}

    def validate(self, value: Any, allow_modules: Collection[str]) -> Base:
        """The model of `value`: its content, or itself. Raises ValueError, pydantic's for a wrong key."""
        if isinstance(value, self.base):
            return value
        try:
            content = plain_data(value, self.what)
            model = self.model_for(content, allow_modules)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        # strict JSON mode, as of the files: lists may be tuples, text may be a path, but "5" and true are no numbers
        context = {ALLOW_MODULES: allow_modules}
        return model.model_validate_json(json.dumps(content), strict=True, context=context)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def validate(value: Any, info: core_schema.ValidationInfo) -> Base:
            return self.validate(value, (info.context or {}).get(ALLOW_MODULES, ()))

        def plain(model: BaseModel, info: core_schema.SerializationInfo) -> dict[str, Any]:
            return model.model_dump(mode=info.mode)

        serialization = core_schema.plain_serializer_function_ser_schema(plain, info_arg=True)
        return core_schema.with_info_plain_validator_function(validate, serialization=serialization)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """One of what is installed now; what is broken is left out."""
        return {"anyOf": [handler(model.__pydantic_core_schema__) for model in self.installed().values()]}
