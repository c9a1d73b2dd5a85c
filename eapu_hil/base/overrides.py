"""Changes of a file's values by dotted keys: `--set key.path=value`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from eapu_hil.base.errors import ConfigError
from eapu_hil.base.validation import short
from eapu_hil.base.yamltext import parse_yaml, plain_data

Data = dict[str, Any]
_KEYS_MAX = 20  # in one dotted path
_SET_SHOWN = 80  # characters of a --set in messages


def parse_overrides(texts: Sequence[str]) -> Data:
    """`key.path=value` texts (`--set`) as values by dotted key. Raises ConfigError."""
    return dict(map(_parse_override, texts))


def with_overrides(
    data: Mapping[str, Any], overrides: Mapping[str, Any], label: str, prefix: str = ""
) -> Data:
    """A deep copy of `data` with the values of dotted keys changed. Raises ConfigError.

    label, prefix: the file, and the beginning of the keys, for messages.
    """
    result: Data = json.loads(json.dumps(data))  # the caller's mapping stays as it is
    for dotted, value in overrides.items():
        *parents, last = dotted.split(".")
        place = result
        for depth, key in enumerate(parents, start=1):
            inner = place.get(key)
            if inner is None:
                inner = place[key] = {}
            if not isinstance(inner, dict):
                above = ".".join(parents[:depth])
                raise ConfigError(f"{label}: {prefix}{dotted}: {above} is {short(inner)} and has no keys")
            place = inner
        place.pop(last, None)  # it goes last: of an old and a new name for one thing the later counts
        place[last] = plain_data(value, label)
    return result


def _parse_override(text: str) -> tuple[str, Any]:
    key, sign, value = text.partition("=")
    key = key.strip()
    parts = key.split(".")
    if not sign or not all(parts):
        raise ConfigError(f"--set {text}: expected key.path=value")
    if len(parts) > _KEYS_MAX:
        raise ConfigError(f"--set {short(text)}: {len(parts)} keys in the path; allowed are {_KEYS_MAX}")
    return key, parse_yaml(value, f"--set {text if len(text) <= _SET_SHOWN else text[:_SET_SHOWN] + '...'}")
