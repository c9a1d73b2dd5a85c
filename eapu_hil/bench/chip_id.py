"""Who a chip's directory is: the id that every file of it carries, from before its passport is written."""

from __future__ import annotations

import uuid
from pathlib import Path

from eapu_hil.base.errors import one_line
from eapu_hil.base.storage import storage_errors, write_aside
from eapu_hil.base.yamltext import stored_yaml
from eapu_hil.hal import HilError

PASSPORT = "passport.yaml"
FORMAT = "eapu-hil-chip-2"  # every file of such a directory is sealed
OLD_FORMAT = "eapu-hil-chip-1"
NEW = "chip.id"  # holds the id until the passport does


def chip_id(directory: Path) -> str:
    """The id of the chip in `directory`: from its passport; where that has none yet, one that is kept until it has.

    Only for who owns the directory. Raises HilError for a damaged passport, ConfigError where nothing can be written.
    """
    known = known_id(directory)
    if known:
        return known
    found = uuid.uuid4().hex
    path = directory / NEW
    with storage_errors(path):
        directory.mkdir(parents=True, exist_ok=True)
        write_aside(path, lambda file: file.write(f"{found}\n".encode()))
    return found


def known_id(directory: Path) -> str:
    """The id of the chip in `directory`, "" where it has none yet. Raises HilError for a damaged passport."""
    of_passport = str(_passport_of(directory).get("id") or "")
    if of_passport:
        return of_passport
    path = directory / NEW
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise HilError(f"{path}: cannot be read: {one_line(error)}") from error


def forget_id(directory: Path) -> None:
    """The passport in `directory` holds the id now."""
    (directory / NEW).unlink(missing_ok=True)


def takes_old_files(directory: Path) -> bool:
    """Whether files without a seal are read: an older version wrote the passport, or there is none yet."""
    return _passport_of(directory).get("format") != FORMAT


def is_simulated(directory: Path) -> bool:
    """Whether the passport says that the cells are simulated, so that their state has to be there."""
    return _passport_of(directory).get("simulated") is True


def _passport_of(directory: Path) -> dict[str, object]:
    """The content of the passport, unproven; empty where there is none. `Chip.open` says what is wrong with one."""
    try:
        found = stored_yaml((directory / PASSPORT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise HilError(f"{directory / PASSPORT}: damaged: {one_line(error)}") from error
    return found if isinstance(found, dict) else {}
