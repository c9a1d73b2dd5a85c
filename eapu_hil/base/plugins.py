"""Plug-ins: parts of other packages, found by name in a group of entry points or as `module:attribute`.

Looking for names imports nothing; what is named is imported when it is loaded. So a package that is broken, or that
offers a name which another one offers too, is an error for whoever asks for that name, and for nobody else.

A file never imports code by itself: `module:attribute` is loaded only from modules that the caller allows.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from eapu_hil.base.errors import ConfigError, did_you_mean
from eapu_hil.base.stopping import raise_if_stopped


@dataclass(frozen=True)
class Listed:
    """A line of a listing. found: the loaded object; None with `fault`, which says why it cannot be used."""

    name: str
    package: str
    found: Any
    fault: str = ""


def names(group: str) -> list[str]:
    """The names that installed packages offer in `group`, sorted, each once. Imports none of them."""
    return sorted({point.name for point in offers(group)})


def offers(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of `group`, none of them imported; a name that two packages offer stands there twice."""
    return _installed(group, tuple(sys.path))


def package_of(point: EntryPoint) -> str:
    """The distribution that an entry point comes from."""
    return point.dist.name if point.dist is not None else "an unknown package"


def modules() -> list[str]:
    """The top-level modules with entry points for this project, its own included; none is imported."""
    groups = [group for group in entry_points().groups if group.startswith("eapu_hil.")]
    return sorted({point.module.partition(".")[0] for group in groups for point in offers(group)})


def load(group: str, name: str, what: str) -> Any:
    """Loads the entry point `name` of `group`. what: the word for such a thing in messages.

    Raises ConfigError if no package offers it, if two do, or if it cannot be imported.
    """
    offered = [point for point in offers(group) if point.name == name]
    if not offered:
        known = names(group)
        raise ConfigError(
            f"unknown {what} {name!r}{did_you_mean(name, known)}; allowed are {', '.join(known) or 'none'}"
        )
    if len(offered) > 1:
        packages = " and ".join(sorted(map(package_of, offered)))
        raise ConfigError(
            f"two packages offer a {what} {name!r}: {packages}; uninstall one, or rename its entry point"
        )
    point = offered[0]
    return _imported(point.module, point.attr, lambda: f"the {what} {name!r} of {package_of(point)}")


def load_dotted(dotted: str, what: str, allow_modules: Collection[str]) -> Any:
    """Loads `module:attribute`. Raises ConfigError if the caller does not allow that module, or if it cannot be
    imported.
    """
    module, _, attribute = dotted.partition(":")
    if not all(part.isidentifier() for text in (module, attribute) for part in text.split(".")):
        raise ConfigError(f"{dotted!r} is no name of a {what}: expected my_module:MyClass")
    if module not in allow_modules:
        raise ConfigError(
            f"{dotted!r} runs code of the module {module}, and a file may not do that by itself; if you trust that "
            f"module, add --allow-module {module} (in Python: allow_modules=[{module!r}])"
        )
    return _imported(module, attribute, lambda: f"the {what} {dotted!r}")


def import_also_from(folder: Path) -> None:
    """Lets modules be imported from `folder`, after everything that is installed. Plug-ins are not looked for there:
    a folder that somebody sends cannot offer any.
    """
    if not any(isinstance(finder, _Folder) and finder.folder == folder for finder in sys.meta_path):
        sys.meta_path.append(_Folder(folder))


def listing(group: str, what: str, check: Callable[[str, Any], None] | None = None) -> list[Listed]:
    """Every name of `group` with the loaded object, or with its fault; imports all of them.

    check: raises ConfigError for a name whose object is none of its kind.
    """
    lines = []
    for name in names(group):
        package = ", ".join(sorted({package_of(point) for point in offers(group) if point.name == name}))
        try:
            found = load(group, name, what)
            if check is not None:
                check(name, found)
            lines.append(Listed(name, package, found))
        except ConfigError as error:
            lines.append(Listed(name, package, None, str(error)))
    return lines


@dataclass(frozen=True)
class _Folder(MetaPathFinder):
    """A place for modules that is no place for distributions, as one on `sys.path` would be."""

    folder: Path

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return PathFinder.find_spec(fullname, [str(self.folder)], target) if path is None else None


@lru_cache
def _installed(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:  # noqa: ARG001 - a key of the cache
    """path: where Python looks for packages now, and so does the search, which takes some 20 ms."""
    return tuple(entry_points(group=group))


def _imported(module: str, attribute: str, called: Callable[[], str]) -> Any:
    """called: how an error names it; asked for only then, since reading a package's metadata takes 1 ms."""
    try:
        found = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except KeyboardInterrupt:  # Ctrl-C
        raise
    except BaseException as error:  # another package's code may raise anything while it is imported, or exit
        raise_if_stopped()  # but SIGTERM is an exit too
        reason = " ".join(str(error).split())
        raise ConfigError(f"{called()} cannot be loaded: {type(error).__name__}: {reason}") from error
    return found
