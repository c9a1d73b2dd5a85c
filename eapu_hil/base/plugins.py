"""What installed packages add to the project: entry points, looked up by group and name."""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from eapu_hil.base.errors import ConfigError, did_you_mean


def offers(group: str) -> dict[str, list[EntryPoint]]:
    """The entry points of a group by name, sorted; a name that two packages offer has two."""
    found: dict[str, list[EntryPoint]] = {}
    for entry in _installed(group, tuple(sys.path)):
        found.setdefault(entry.name, []).append(entry)
    return found


def names(group: str) -> list[str]:
    """The names that installed packages offer in a group, sorted."""
    return list(offers(group))


def load(group: str, name: str, what: str) -> Any:
    """The object that a package offers under `name`. what: how messages call such a thing, such as `driver`.

    Raises ConfigError when no package offers it, when two do, and when it cannot be imported.
    """
    found = offers(group)
    if name not in found:
        raise ConfigError(
            f"no {what} named {name!r} is installed{did_you_mean(name, list(found))}; "
            f"installed are {', '.join(found) or 'none'}"
        )
    return load_one(found[name], what)


def load_one(offered: list[EntryPoint], what: str) -> Any:
    """The object of the only package that offers a name. Raises ConfigError as `load` does."""
    first = offered[0]
    if len(offered) > 1:
        packages = " and ".join(map(package_of, offered))
        raise ConfigError(f"{what} {first.name!r}: {packages} both offer it; uninstall one of them")
    try:
        return first.load()
    except Exception as error:  # a broken plug-in may raise anything while it is imported
        said = f"{type(error).__name__}: {error}"
        raise ConfigError(
            f"{what} {first.name!r} of package {package_of(first)} cannot be loaded: {said}"
        ) from error


def package_of(entry: EntryPoint) -> str:
    """The name of the distribution that an entry point comes from; those made by hand are the project's own."""
    return entry.dist.name if entry.dist is not None else "eapu-hil"


def packages() -> list[str]:
    """The top-level import packages that add something to the project, its own among them."""
    groups = [group for group in entry_points().groups if group.startswith("eapu_hil.")]
    return sorted({entry.module.partition(".")[0] for group in groups for entry in _installed(group, tuple(sys.path))})


@cache
def _installed(group: str, _search_path: tuple[str, ...]) -> list[EntryPoint]:
    """Read once for a search path: looking through all installed packages takes some 50 ms."""
    return sorted(entry_points(group=group), key=lambda entry: (entry.name, package_of(entry)))
