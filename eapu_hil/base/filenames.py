"""Names that become the names of files and directories."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from eapu_hil.base.errors import ConfigError

_LONGEST = 100
_FORBIDDEN = re.compile(r'[/\\:*?"<>|]')
_OF_WINDOWS = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)


def file_name(name: str) -> str:
    """`name`, if every system takes it as the name of one file in the directory where it is put. Raises ValueError."""
    if not name or len(name) > _LONGEST:
        raise ValueError(f"a name of {len(name)} characters; allowed are 1 to {_LONGEST}")
    if wrong := _FORBIDDEN.findall(name):
        raise ValueError(f"{name!r}: a name must not hold {' '.join(dict.fromkeys(wrong))}")
    if not name.isprintable():
        raise ValueError(f"{name!r}: a name must not hold control characters")
    if name[0] in ". " or name[-1] in ". ":
        raise ValueError(f"{name!r}: a name must not begin or end with a dot or a blank")
    if _OF_WINDOWS.fullmatch(name):
        raise ValueError(f"{name!r}: Windows keeps this name for a device; name it otherwise")
    return name


def require_file_name(name: str, where: str) -> str:
    """The same for a name that stands at `where`. Raises ConfigError."""
    try:
        return file_name(name)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error


def require_regular(path: Path, label: str) -> None:
    """Raises ConfigError for a pipe or a device: reading it may never end, and opening it may do something.

    label: how messages call it. What is not there, and a directory, is for whoever opens it.
    """
    try:
        special = path.exists() and not path.is_file() and not path.is_dir()
    except (OSError, ValueError):
        return
    if special:
        raise ConfigError(f"{label}: a pipe or a device; expected a file, so copy its content into one")


FileName = Annotated[str, AfterValidator(file_name)]
