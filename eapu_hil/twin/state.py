"""The physical state of a twin, in memory-mapped files.

A real chip keeps its conductances when the host process is killed. So does the twin: each quantity of the
state is one `.npy` file in the chip directory, mapped into memory, and survives `kill -9` at any moment.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Collection
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.old_names import rename_old_file
from eapu_hil.base.seals import read_sealed_json, write_sealed_json
from eapu_hil.base.storage import storage_errors, write_aside
from eapu_hil.bench.chip_id import chip_id, is_simulated, takes_old_files
from eapu_hil.hal import ConfigError

Scalar = TypeVar("Scalar", bound=np.generic)


_KIND = "twin state"
_SAYS_BYTES = 256  # behind the values
_HELP = "put it back from a copy of the chip's directory"


def state_directory(chip_dir: Path) -> Path:
    """Where the simulated cells of a chip keep their state, below the directory of its passport."""
    return chip_dir / "twin"


class StateFiles:
    """A directory of memory-mapped arrays.

    Behind the values of each file stands of which chip, folder and quantity it is, and after a clean end their
    checksum; numpy passes over that. While a file is in use it has no checksum: its values change at every pulse.
    """

    def __init__(
        self,
        directory: Path,
        chip: str = "",
        *,
        known: Collection[str] = (),
        takes_old: bool = True,
    ) -> None:
        """chip: its id. known: names of files that have to be there. takes_old: also files that do not say whose."""
        with storage_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._chip = chip
        self._known = known
        self._takes_old = takes_old
        self._open: dict[str, NDArray[Any]] = {}

    @property
    def names(self) -> list[str]:
        """The files that were opened so far."""
        return list(self._open)

    def array(self, name: str, initial: NDArray[Scalar]) -> NDArray[Scalar]:
        """The array `name`, created with `initial` when it does not exist yet. An old file of it is renamed.

        The file appears complete or not at all, so that a crash at creation leaves nothing half-made. Raises
        ConfigError when it is missing, damaged, or of another chip or quantity.
        """
        path = self._directory / f"{name}.npy"
        with storage_errors(path):
            if self._takes_old:
                rename_old_file(path)
            if not path.exists():
                if name in self._known:
                    raise ConfigError(f"{path}: missing: it holds the state of the simulated cells; {_HELP}")
                self._write(path, initial)
            self._check(path, initial)
            with path.open("r+b") as file:
                file.seek(-_SAYS_BYTES, os.SEEK_END)
                file.write(self._says(name, None))
            mapped = np.lib.format.open_memmap(path, mode="r+")
        # A plain view: arithmetic on it stays ordinary numpy.
        plain: NDArray[Scalar] = mapped.view(np.ndarray)
        self._open[name] = plain
        return plain

    def close(self) -> None:
        """Writes the checksum of each file: its values do not change any more."""
        for name, values in self._open.items():
            path = self._directory / f"{name}.npy"
            with storage_errors(path), path.open("r+b") as file:
                file.seek(-_SAYS_BYTES, os.SEEK_END)
                file.write(self._says(name, _checksum(values)))

    def _check(self, path: Path, initial: NDArray[Any]) -> None:
        """Raises ConfigError where the file is not the one that is expected. One of an older version is rewritten."""
        values, said = _read(path, initial)
        if not said and self._takes_old:
            self._write(path, values)
            return
        try:
            found = json.loads(said)
            expected = json.loads(self._says(path.stem, None))
            differs = [key for key in ("chip", "folder", "name") if found[key] != expected[key]]
            checksum = found["crc32"]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}: damaged: it does not say of which chip it is; {_HELP}") from error
        if differs:
            key = differs[0]
            raise ConfigError(
                f"{path}: another file was put in its place: {key} {found[key]}, expected {expected[key]}; {_HELP}"
            )
        if checksum not in (None, _checksum(values)):
            raise ConfigError(
                f"{path}: damaged, or changed by hand: its checksum does not fit its content; {_HELP}"
            )

    def _write(self, path: Path, values: NDArray[Any]) -> None:
        def write(file: BinaryIO) -> None:
            np.save(file, values)
            file.write(self._says(path.stem, None))

        write_aside(path, write)

    def _says(self, name: str, crc32: int | None) -> bytes:
        said = {"chip": self._chip, "folder": self._directory.name, "name": name, "crc32": crc32}
        return json.dumps(said).encode().ljust(_SAYS_BYTES - 1) + b"\n"

    def zeros(self, name: str, shape: tuple[int, ...], dtype: type[Scalar]) -> NDArray[Scalar]:
        """An array of zeros, created when absent."""
        return self.array(name, np.zeros(shape, dtype))


class TwinState:
    """The state of all arrays of a chip, and of which device it is: twin/state.json."""

    def __init__(self, chip_dir: Path, preset: str, seed: int) -> None:
        """preset, seed: of the bench that opens it.

        Raises ConfigError where the state is missing, or that of cells of another preset or seed; HilError where
        state.json is damaged or another chip's.
        """
        self._chip_dir = chip_dir
        self._chip = chip_id(chip_dir)
        self._device: dict[str, Any] = {"preset": preset, "seed": seed}
        self._path = state_directory(chip_dir) / "state.json"
        self._files: dict[str, StateFiles] = {}
        self._found = self._read()

    def files(self, folder: str = "") -> StateFiles:
        """The files in one folder of the state."""
        found: StateFiles = StateFiles(
            state_directory(self._chip_dir) / folder,
            self._chip,
            known=(self._found or {}).get("files", {}).get(folder, ()),
            takes_old=self._found is None and takes_old_files(self._chip_dir),
        )
        self._files[folder] = found
        return found

    def complete(self) -> None:
        """All files are there: from now on a missing one is an error."""
        content = {**self._device, "files": {folder: files.names for folder, files in self._files.items()}}
        if content != self._found:
            with storage_errors(self._path):
                write_sealed_json(self._path, content, _KIND, {"chip": self._chip})

    def close(self) -> None:
        """See `StateFiles.close`."""
        for files in self._files.values():
            files.close()

    def _read(self) -> dict[str, Any] | None:
        try:
            found = read_sealed_json(self._path, _KIND, {"chip": self._chip})
        except FileNotFoundError:
            if is_simulated(self._chip_dir):
                raise ConfigError(
                    f"{self._path}: missing: the simulated cells of this chip are kept beside it; {_HELP}"
                ) from None
            return None
        for key, asked in self._device.items():
            if found.get(key) != asked:
                raise ConfigError(
                    f"{self._chip_dir}: {key}: these are cells of {key} {found.get(key)}; the bench asks for {asked}. "
                    f"Set {key}: {found.get(key)}, or name another chip directory"
                )
        return found


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


def _read(path: Path, expected: NDArray[Any]) -> tuple[NDArray[Any], bytes]:
    """The values of a file, and what stands behind them. Raises ConfigError for another shape, or a torn file."""
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            header = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, columns_first, dtype = header(file)
            content = file.read(expected.nbytes + _SAYS_BYTES + 1)
    except (OSError, ValueError, TokenError) as error:
        raise ConfigError(f"{path}: damaged: {' '.join(str(error).split())}; {_HELP}") from error
    if shape != expected.shape or dtype != expected.dtype or columns_first:
        raise ConfigError(
            f"{path}: holds {dtype} of shape {shape}; expected {expected.dtype} of shape {expected.shape}"
        )
    said = content[expected.nbytes :]
    if len(content) < expected.nbytes or len(said) not in (0, _SAYS_BYTES):
        raise ConfigError(f"{path}: damaged: torn, or something follows its content; {_HELP}")
    return np.frombuffer(content[: expected.nbytes], dtype).reshape(shape), said


def _checksum(values: NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
