"""The directory that the page serves: which runs and chips lie in it, and that nothing outside of it is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from eapu_hil.bench.chip_id import PASSPORT
from eapu_hil.bench.passport import LOCK as CHIP_LOCK
from eapu_hil.bench.progress_file import PROGRESS
from eapu_hil.hal import HilError
from eapu_hil.training.run_list import DEEPEST
from eapu_hil.training.run_place import LOCK as RUN_LOCK
from eapu_hil.training.run_place import START

Kind = Literal["train", "calibrate", "comparison"]
_OVERVIEWS = ("comparison.json", "table.json")
_INSIDE_A_RUN = ("checkpoints", "figures", "chip")
_NEVER = set("\\:\0") if os.name == "nt" else {"\0"}  # in a name: there they lead elsewhere


class UnknownError(HilError):
    """There is no such run, file or array."""


@dataclass(frozen=True)
class Entry:
    """One run, chip under calibration, or comparison. id: its path below the directory that is served, with `/`."""

    id: str
    path: Path
    kind: Kind

    @property
    def url(self) -> str:
        """The id as one part of a path in a URL."""
        return quote(os.fsencode(self.id), safe="")

    @property
    def lock(self) -> Path | None:
        """The lock file of the process that works on it; a comparison has none of its own."""
        names = {"train": RUN_LOCK, "calibrate": CHIP_LOCK}
        return self.path / names[self.kind] if self.kind in names else None

    def file(self, *names: str) -> Path:
        """A file of it. Raises UnknownError where something leads out of its directory."""
        path = self.path.joinpath(*names)
        if not path.resolve().is_relative_to(self.path):
            raise UnknownError(f"{'/'.join(names)}: leads out of the run's directory")
        return path


class Place:
    """The directory `root`, or the run that it is. Links that lead out of it are not followed."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def find(self, its_id: str) -> Entry:
        """The run with this id. Raises UnknownError where there is none in the directory."""
        parts = its_id.split("/")
        if any(part in ("", ".", "..") or set(part) & _NEVER for part in parts):
            raise UnknownError("no such run here")
        path = self.root if self._is_root(its_id) else self.root.joinpath(*parts)
        try:
            inside = path.resolve(strict=True) == path
        except OSError:
            inside = False
        kind = _kind(path) if inside else None
        if kind is None:
            raise UnknownError("no such run here")
        return Entry(its_id, path, kind)

    def entries(self) -> Iterator[Entry]:
        """All of them. What lies inside a run, other than its chip, is part of it."""
        yield from self._below(self.root, 0)

    def _is_root(self, its_id: str) -> bool:
        """Whether it means `root`, which is then a run itself and goes by its name."""
        return its_id == self.root.name and _kind(self.root) is not None

    def _below(self, directory: Path, depth: int) -> Iterator[Entry]:
        kind = _kind(directory)
        if kind is not None:
            its_id = self.root.name if directory == self.root else directory.relative_to(self.root).as_posix()
            yield Entry(its_id, directory, kind)
        if depth >= DEEPEST or kind in ("train", "calibrate"):
            return
        try:
            with os.scandir(directory) as found:
                inner = sorted(entry.name for entry in found if entry.is_dir(follow_symlinks=False))
        except OSError:  # removed meanwhile, or not ours to read
            return
        for name in inner:
            if not name.startswith(".") and name not in _INSIDE_A_RUN:
                yield from self._below(directory / name, depth + 1)


def _kind(directory: Path) -> Kind | None:
    if (directory / START).is_file():
        return "train"
    if (directory / PASSPORT).is_file() and (directory / PROGRESS).is_file():
        return "calibrate"
    if any((directory / name).is_file() for name in _OVERVIEWS):
        return "comparison"
    return None
