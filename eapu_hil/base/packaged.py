"""YAML files that installed packages bring along, so that a bare name finds them.

An entry point of the group `eapu_hil.files` names a package; its folders `benches`, `experiments`, `recipes`,
`presets`, `plans` ... hold the files. The packages are not imported.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from eapu_hil.base.errors import ConfigError, did_you_mean
from eapu_hil.base.plugins import offers, package_of
from eapu_hil.base.unimported import folder_of

GROUP = "eapu_hil.files"
_SUFFIX = ".yaml"
# kind of file, which is the name of its folder -> what messages call one
KINDS = {
    "benches": "bench",
    "experiments": "experiment",
    "recipes": "recipe",
    "presets": "preset",
    "plans": "plan",
    "tables": "table",
    "instruments": "list of instruments",
    "maps": "channel map",
    "imports": "import",
    "passports": "passport",
}


@dataclass(frozen=True)
class PackagedFile:
    """A file of a package. package: the distribution it came with."""

    name: str
    path: Path
    package: str


def packaged_files(kind: str) -> list[PackagedFile]:
    """Every packaged file of a kind, by name; a name that two packages offer stands there twice."""
    found = [
        PackagedFile(path.stem, path, package)
        for folder, package in _folders(tuple(sys.path))
        for path in (folder / kind).glob(f"*{_SUFFIX}")
    ]
    return sorted(found, key=lambda file: (file.name, file.package, file.path))


def packaged_names(kind: str) -> list[str]:
    """The names of the packaged files of a kind, sorted."""
    return list(dict.fromkeys(file.name for file in packaged_files(kind)))


def packaged_file(kind: str, name: str) -> PackagedFile:
    """The packaged file of that name. Raises ConfigError where there is none, and where there are two."""
    files = packaged_files(kind)
    found = [file for file in files if file.name == name]
    what = KINDS[kind]
    if len(found) > 1:
        places = " and ".join(f"{file.package} ({file.path})" for file in found)
        raise ConfigError(f"{what} {name!r}: {places} both offer it; give the path of the one you mean")
    if not found:
        names = list(dict.fromkeys(file.name for file in files))
        raise ConfigError(
            f"{what} {name!r}: not packaged{did_you_mean(name, names)}; packaged are "
            f"{', '.join(names) or 'none'}, anything else is a path that ends in .yaml"
        )
    return found[0]


@cache
def _folders(_search_path: tuple[str, ...]) -> list[tuple[Path, str]]:
    """The folders of the packages that bring files, each with its distribution; read once for a search path."""
    places = [(folder_of(point.value), package_of(point)) for point in offers(GROUP)]
    return [(folder, package) for folder, package in places if folder is not None]
