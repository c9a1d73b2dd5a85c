"""The physical state of a twin, in memory-mapped files.

A real chip keeps its conductances when the host process is killed. So does the twin: each quantity of the state is one
file in the chip directory, mapped into memory (`eapu_hil.base.mapped`), and survives `kill -9` at any moment.
"""

from __future__ import annotations

import logging
import shutil
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.mapped import FROM_A_COPY, MappedFile, damaged, header_of, require_label
from eapu_hil.base.old_names import new_name, rename_old_file
from eapu_hil.base.seals import read_sealed_json, write_sealed_json
from eapu_hil.base.storage import storage_errors
from eapu_hil.bench.chip_id import chip_id, is_simulated, takes_old_files
from eapu_hil.hal import ConfigError

Scalar = TypeVar("Scalar", bound=np.generic)
_KIND, _SUMS = "twin state", "sums"
_HOLDS = "the state of the simulated cells"
CELLS = "cells"  # the folder of what all cells hold: a file a quantity, array after array
_TIMES = ("written_s",)
_LOG = logging.getLogger(__name__)


def state_directory(chip_dir: Path) -> Path:
    """Where the simulated cells of a chip keep their state, below the directory of its passport."""
    return chip_dir / "twin"


class StateFiles:
    """A directory of memory-mapped arrays, each of which says of which chip, folder and quantity it is."""

    def __init__(
        self,
        directory: Path,
        chip: str = "",
        *,
        known: Collection[str] = (),
        takes_old: bool = True,
        held: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        """chip: its id. known: names of files that have to be there. takes_old: also files that do not say whose.

        held: by name, what a new file holds, whatever it is created with.
        """
        with storage_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._chip = chip
        self._known = known
        self._takes_old = takes_old
        self._held = held or {}
        self._open: dict[str, MappedFile] = {}

    @property
    def names(self) -> list[str]:
        """The files that were opened so far."""
        return list(self._open)

    def array(self, name: str, initial: NDArray[Scalar]) -> NDArray[Scalar]:
        """The array `name`, created with `initial` when it does not exist yet. An old file of it is renamed.

        Raises ConfigError when it is missing, damaged, or of another chip or quantity.
        """
        file = MappedFile(
            self._directory / f"{name}.npy",
            self._held.get(name, initial).astype(initial.dtype, copy=False),
            _owner(self._chip, self._directory, name),
            holds=_HOLDS,
            known=name in self._known,
            takes_old=self._takes_old,
        )
        self._open[name] = file
        return file.values

    def stored(self) -> dict[str, NDArray[Any]]:
        """The values of all files that are there, of whatever length."""
        found = {}
        for path in sorted(self._directory.glob("*.npy")):
            name = path.stem if path.stem in _TIMES else new_name(path.stem)
            with storage_errors(path):
                if self._takes_old:
                    rename_old_file(path.with_name(f"{name}.npy"))
                shape, dtype = header_of(path.with_name(f"{name}.npy"), _HOLDS)
            found[name] = self.array(name, np.zeros(shape, dtype))
        missing = sorted(set(self._known) - set(found))
        if missing:
            raise ConfigError(
                f"{self._directory / missing[0]}.npy: missing: {_HOLDS} was kept in it; {FROM_A_COPY}"
            )
        return found

    def zeros(self, name: str, shape: tuple[int, ...], dtype: type[Scalar]) -> NDArray[Scalar]:
        """An array of zeros, created when absent."""
        return self.array(name, np.zeros(shape, dtype))


class TwinState:
    """The state of all arrays of a chip, and of which device it is: twin/state.json.

    While the state is not in use, state.json holds the checksum of each file. After a kill it holds none.
    """

    def __init__(self, chip_dir: Path, preset: str, seed: int, arrays: int) -> None:
        """preset, seed, arrays: of the bench that opens it.

        Raises ConfigError where the state is missing, or that of cells of another preset or seed; HilError where
        state.json is damaged or another chip's.
        """
        self._chip_dir = chip_dir
        self._chip = chip_id(chip_dir)
        self._device: dict[str, Any] = {"preset": preset, "seed": seed}
        self._path = state_directory(chip_dir) / "state.json"
        self._files: dict[str, StateFiles] = {}
        self._found = self._read()
        folders = [self._path.parent / f"array{number}" for number in range(arrays)]
        self._old = [path for path in folders if path.is_dir() or path.name in self._known()]

    def files(self, folder: str = "", held: Mapping[str, NDArray[Any]] | None = None) -> StateFiles:
        """The files in one folder of the state. held: see `StateFiles`."""
        found: StateFiles = StateFiles(
            state_directory(self._chip_dir) / folder,
            self._chip,
            known=self._known().get(folder, ()),
            takes_old=self._found is None and takes_old_files(self._chip_dir),
            held=held,
        )
        self._files[folder] = found
        return found

    def cells(self) -> StateFiles:
        """The files of all cells. What an older version kept in a folder for each array goes over into them."""
        if CELLS in self._known() or not self._old:
            return self.files(CELLS)
        shutil.rmtree(self._path.parent / CELLS, ignore_errors=True)  # a process was killed before `complete`
        _LOG.warning("%s: is of an older version; it is read once and rewritten", self._path.parent)
        each = [self.files(path.name).stored() for path in self._old]
        for path in self._old:
            del self._files[path.name]
        held = {name: np.concatenate([its[name] for its in each]) for name in each[0]}
        return self.files(CELLS, {**held, "starts": held["starts"][:1]})

    def _known(self) -> Mapping[str, Collection[str]]:
        """The names of the files that have to be there, by folder."""
        known: Mapping[str, Collection[str]] = (self._found or {}).get("files", {})
        return known

    def complete(self) -> None:
        """All files are there: from now on a missing one is an error."""
        content = self._content()
        if content != self._found:
            self._write(content)
        for path in self._old:  # what it held is in the new folder
            shutil.rmtree(path, ignore_errors=True)

    def close(self) -> None:
        """Notes the checksum of each file: none changes any more."""
        content = self._content()
        files = content["files"].items()
        paths = [Path(folder, f"{name}.npy").as_posix() for folder, names in files for name in names]
        self._write({**content, _SUMS: {path: self._checksum(path) for path in paths}})

    def _content(self) -> dict[str, Any]:
        return {**self._device, "files": {folder: files.names for folder, files in self._files.items()}}

    def _write(self, content: Mapping[str, Any]) -> None:
        with storage_errors(self._path):
            write_sealed_json(self._path, content, _KIND, {"chip": self._chip})

    def _checksum(self, path: str) -> int:
        return zlib.crc32((self._path.parent / path).read_bytes())

    def _require_as_left(self, sums: Mapping[str, int]) -> None:
        """Before any file is opened, since that changes some."""
        for path, checksum in sums.items():
            file = self._path.parent / path
            with storage_errors(file):
                if not file.is_file():
                    raise ConfigError(f"{file}: missing: {_HOLDS} was kept in it; {FROM_A_COPY}")
                if self._checksum(path) != checksum:
                    require_label(file, _owner(self._chip, file.parent, file.stem))
                    raise damaged(file)

    def _read(self) -> dict[str, Any] | None:
        try:
            found = read_sealed_json(self._path, _KIND, {"chip": self._chip})
        except FileNotFoundError:
            if is_simulated(self._chip_dir):
                raise ConfigError(
                    f"{self._path}: missing: the simulated cells of this chip are kept beside it; {FROM_A_COPY}"
                ) from None
            return None
        for key, asked in self._device.items():
            if found.get(key) != asked:
                raise ConfigError(
                    f"{self._chip_dir}: {key}: these are cells of {key} {found.get(key)}; the bench asks for {asked}. "
                    f"Set {key}: {found.get(key)}, or name another chip directory"
                )
        sums = found.pop(_SUMS, None)
        if sums is not None:
            self._require_as_left(sums)
            self._write(found)  # the files change from now on
        return found


def _owner(chip: str, directory: Path, name: str) -> dict[str, str | int]:
    return {"chip": chip, "folder": directory.name, "name": name}


class BenchClock:
    """Simulated bench time, shared by the arrays of one bench and kept over restarts."""

    def __init__(self, files: StateFiles) -> None:
        self._time_s = files.zeros("clock", (1,), np.float64)

    def now_s(self) -> float:
        """Bench time since the chip was made, s."""
        return float(self._time_s[0])

    def advance(self, duration_s: float) -> None:
        """Lets `duration_s` pass. Raises ValueError when it is negative."""
        if not duration_s >= 0:
            raise ValueError(f"time cannot advance by {duration_s} s")
        self._time_s[0] += duration_s
