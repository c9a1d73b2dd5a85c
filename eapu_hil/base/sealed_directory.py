"""A directory whose files are sealed in the name of one owner, such as a run; see `eapu_hil.base.seals`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import NDArray

from eapu_hil.base.npz import read_npz
from eapu_hil.base.seals import (
    Owner,
    UnsealedError,
    read_sealed_json,
    read_sealed_npz,
    write_sealed_json,
    write_sealed_npz,
)
from eapu_hil.base.storage import read_json, storage_errors

Content = TypeVar("Content")


@dataclass(frozen=True)
class SealedDirectory:
    """owner: what the seals of its files hold. old: an older version made it, so that its files may lack seals."""

    path: Path
    owner: Owner
    old: bool = False

    def read_json(self, name: str, kind: str) -> dict[str, Any] | None:
        """The content of a file, None where there is none. Raises DamagedError and what is derived from it."""
        path = self.path / name
        return self._read(lambda: read_sealed_json(path, kind, self.owner), lambda: read_json(path))

    def write_json(self, name: str, content: Mapping[str, Any], kind: str) -> None:
        """Replaces a file as a whole. Raises StorageError."""
        with storage_errors(self.path / name):
            write_sealed_json(self.path / name, content, kind, self.owner)

    def read_npz(self, name: str, kind: str, **more: int) -> dict[str, NDArray[Any]] | None:
        """The arrays of a file, None where there is none. more: of its seal. Raises as `read_json`."""
        path = self.path / name
        return self._read(lambda: read_sealed_npz(path, kind, {**self.owner, **more}), lambda: read_npz(path))

    def write_npz(
        self,
        name: str,
        arrays: Mapping[str, NDArray[Any]],
        kind: str,
        *,
        compressed: bool = False,
        **more: int,
    ) -> None:
        """Replaces a file as a whole. Raises StorageError."""
        with storage_errors(self.path / name):
            write_sealed_npz(self.path / name, arrays, kind, {**self.owner, **more}, compressed=compressed)

    def _read(self, sealed: Callable[[], Content], old: Callable[[], Content | None]) -> Content | None:
        try:
            return sealed()
        except FileNotFoundError:
            return None
        except UnsealedError:
            if not self.old:
                raise
            return old()
