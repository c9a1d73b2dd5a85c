"""Sealed files: each says what it is, whose it is, and carries a checksum of its content.

A reader names the kind and the owner that it expects: `{"run": id, "step": 40}`, `{"chip": id, "array": 0}`. A file
that is torn, was changed, or belongs to another run, chip or step is refused with one line and is not used.

    .npz          the seal is JSON in a member of its own
    .json, .yaml  the seal is the key `seal` of the object
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from eapu_hil.base.errors import ConfigError, one_line
from eapu_hil.base.filenames import require_regular
from eapu_hil.base.npz import MOST_BYTES, DamagedError, read_npz, write_npz
from eapu_hil.base.storage import plain, write_aside

_TEXT_MOST_BYTES = 256 << 20  # of a JSON or YAML file of ours, whoever wrote it

SEAL = "seal"
Owner = Mapping[str, str | int]


class UnsealedError(DamagedError):
    """A file carries no seal: an older version wrote it, or another program."""


class ForeignError(DamagedError):
    """A whole file of another kind, run, chip or step."""


def write_sealed_npz(
    path: Path, arrays: Mapping[str, NDArray[Any]], kind: str, owner: Owner, *, compressed: bool = False
) -> None:
    """Replaces `path` as a whole. Raises OSError; see `storage_errors`."""
    if SEAL in arrays:
        raise ValueError(f"{SEAL!r} is the name of the seal")
    seal = _seal(kind, owner, _digest_of_arrays(arrays))
    write_npz(path, {**arrays, SEAL: np.array(json.dumps(seal))}, compressed=compressed)


def read_sealed_npz(
    path: Path, kind: str, owner: Owner, most_bytes: int = MOST_BYTES
) -> dict[str, NDArray[Any]]:
    """The arrays of `path`. owner: what the seal must hold, at least.

    Raises FileNotFoundError; UnsealedError, ForeignError, DamagedError.
    """
    arrays = read_npz(path, most_bytes)
    text = arrays.pop(SEAL, None)
    if text is None:
        raise _unsealed(path)
    _require(path, _parsed(path, str(text)), kind, owner, _digest_of_arrays(arrays))
    return arrays


def write_sealed_json(path: Path, content: Mapping[str, Any], kind: str, owner: Owner) -> None:
    """Replaces `path` by a JSON object. Raises OSError; see `storage_errors`."""
    text = json.dumps(_sealed(content, kind, owner), allow_nan=False, indent=2) + "\n"
    write_aside(path, lambda file: file.write(text.encode()))


def read_sealed_json(path: Path, kind: str, owner: Owner) -> dict[str, Any]:
    """The object in `path`, without its seal. Raises as `read_sealed_npz`."""
    return unsealed(path, _parsed(path, _text_of(path)), kind, owner)


def write_sealed_yaml(path: Path, content: Mapping[str, Any], kind: str, owner: Owner) -> str:
    """Replaces `path` by a YAML mapping; returns the checksum in its seal. Raises OSError; see `storage_errors`."""
    whole = _sealed(content, kind, owner)
    text = yaml.safe_dump(whole, sort_keys=False, allow_unicode=True)
    write_aside(path, lambda file: file.write(text.encode()))
    return checksum_of(whole)


def unsealed(path: Path, content: object, kind: str, owner: Owner) -> dict[str, Any]:
    """What was read from `path`, proven and without its seal. Raises as `read_sealed_npz`."""
    if not isinstance(content, Mapping):
        raise DamagedError(f"{path}: damaged: expected keys and values")
    values = {str(key): value for key, value in content.items() if key != SEAL}
    if SEAL not in content:
        raise _unsealed(path)
    _require(path, content[SEAL], kind, owner, _digest_of_values(values))
    return values


def checksum_of(content: Mapping[str, Any]) -> str:
    """The checksum in the seal of what was read, which `unsealed` has proven."""
    return str(content[SEAL]["sha256"])


def _sealed(content: Mapping[str, Any], kind: str, owner: Owner) -> dict[str, Any]:
    if SEAL in content:
        raise ValueError(f"{SEAL!r} is the name of the seal")
    values = plain(content)
    return {**values, SEAL: _seal(kind, owner, _digest_of_values(values))}


def _seal(kind: str, owner: Owner, digest: str) -> dict[str, Any]:
    head = {"kind": kind, **{key: plain(value) for key, value in owner.items()}}
    return {**head, "sha256": _over(head, digest)}


def _require(path: Path, seal: object, kind: str, owner: Owner, digest: str) -> None:
    if not isinstance(seal, Mapping) or "sha256" not in seal:
        raise DamagedError(f"{path}: damaged: its seal cannot be read")
    head = {key: value for key, value in seal.items() if key != "sha256"}
    if seal["sha256"] != _over(head, digest):
        raise DamagedError(f"{path}: damaged, or changed by hand: its checksum does not fit its content")
    for key, wanted in {"kind": kind, **owner}.items():
        if head.get(key) != wanted:
            found = head.get(key, f"no {key}")
            raise ForeignError(f"{path}: another file was put in its place: {key} {found}, expected {wanted}")


def _over(head: Mapping[str, Any], digest: str) -> str:
    return hashlib.sha256(f"{_canonical(head)}\n{digest}".encode()).hexdigest()


def _digest_of_values(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(values).encode()).hexdigest()


def _digest_of_arrays(arrays: Mapping[str, NDArray[Any]]) -> str:
    total = hashlib.sha256()
    for name, value in sorted(arrays.items()):
        array = np.asarray(value)
        total.update(f"{name} {np.lib.format.dtype_to_descr(array.dtype)} {array.shape}\n".encode())
        total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def _canonical(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), default=str)


def _unsealed(path: Path) -> UnsealedError:
    return UnsealedError(f"{path}: carries no seal: an older version wrote it, or another program")


def _text_of(path: Path) -> str:
    try:
        require_regular(path, str(path))
        if path.stat().st_size > _TEXT_MOST_BYTES:
            raise DamagedError(f"{path}: larger than {_TEXT_MOST_BYTES >> 20} MiB, so it is none of ours")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise
    except ConfigError as error:
        raise DamagedError(str(error)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedError(f"{path}: cannot be read: {one_line(error)}") from error


def _parsed(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path}: damaged: {one_line(error)}") from error
