"""The passport of a chip: what it is, and everything that was ever measured on it.

    passport.yaml                  model, serial number, shape, number of arrays, when it was made
    measurements/NNNN_kind.yaml    one measurement: kind, time, bench time, values; never overwritten
    measurements/NNNN_kind.npz     its arrays
    ledger/                        wear and energy (`eapu_hil.bench.ledger`)
    chip.lock                      held by the one process that uses the chip

A backend may keep files of its own beside these.
"""

from __future__ import annotations

import os
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, PositiveInt

from eapu_hil.base.loading import load_model
from eapu_hil.base.old_names import entry_of_today
from eapu_hil.base.storage import plain, require_own_files, storage_errors, write_aside
from eapu_hil.base.yamltext import stored_yaml
from eapu_hil.hal import CellStatus, ConfigError, FloatArray, HilError, StatusArray

_ENTRY_FORMAT = 2  # of a measurement; 1, not written down, is that of version 0.1 with its names
_LOCK = "chip.lock"
_LOCK_BYTE = 1 << 20  # beyond the process id, which others have to be able to read
_ENTRY = re.compile(r"(\d{4,})_([a-z][a-z0-9_]*)\.(?:yaml|npz)")
_KIND = re.compile(r"[a-z][a-z0-9_]*")


class Passport(BaseModel):
    """passport.yaml. shape: rows, columns of each of the `arrays`; created: UTC, ISO 8601."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["eapu-hil-chip-1"] = "eapu-hil-chip-1"
    model: str
    serial: str
    shape: tuple[PositiveInt, PositiveInt]
    arrays: PositiveInt
    created: str


@dataclass(frozen=True, eq=False)
class Measurement:
    """One entry of the history. clock_s: bench time when it was taken."""

    number: int
    kind: str
    time: str
    clock_s: float
    values: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class WriteError:
    """How far a written cell lies from its target, by conductance; arrays of shape (levels,), levels rising.

    sigma_write_S: sd at the last verify reading. sigma_relax_S: sd of the change in `relax_time_s` after it.
    """

    levels_S: FloatArray
    sigma_write_S: FloatArray
    sigma_relax_S: FloatArray
    relax_time_s: float

    def sigma_S(self, g_S: ArrayLike) -> FloatArray:
        """sqrt(sigma_write^2 + sigma_relax^2) at each conductance: linear between levels, constant beyond."""
        sigma_S = np.hypot(self.sigma_write_S, self.sigma_relax_S)
        found: FloatArray = np.interp(np.asarray(g_S), self.levels_S, sigma_S)
        return found


class Chip:
    """The passport in `directory`. Whoever changes it has to own the chip (`own_chip`)."""

    def __init__(self, directory: Path, passport: Passport) -> None:
        self.directory = directory
        self.passport = passport
        self._measurements = directory / "measurements"

    @classmethod
    def open(cls, directory: Path) -> Chip:
        """An existing passport. Raises ConfigError when `directory` holds none or a damaged one."""
        path = directory / "passport.yaml"
        if not path.is_file():
            raise ConfigError(f"{directory}: not a chip's passport (there is no passport.yaml)")
        return cls(directory, load_model(Passport, path, [], "passports"))

    @classmethod
    def create(cls, directory: Path, model: str, serial: str, shape: tuple[int, int], arrays: int) -> Chip:
        """A new passport without measurements. Raises ConfigError when `directory` holds one already."""
        path = directory / "passport.yaml"
        if path.exists():
            raise ConfigError(f"{path}: already exists; a passport is never overwritten")
        passport = Passport(model=model, serial=serial, shape=shape, arrays=arrays, created=_now())
        with storage_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
            _write_yaml(path, passport.model_dump(mode="json"))
        return cls(directory, passport)

    def require(self, shape: tuple[int, int], arrays: int) -> None:
        """Raises ConfigError when the chip has not `arrays` arrays of `shape`."""
        mine = self.passport
        if (mine.shape, mine.arrays) != (tuple(shape), arrays):
            raise ConfigError(
                f"{self.directory}: chip: {mine.arrays} arrays of {mine.shape[0]} x {mine.shape[1]} cells; "
                f"the bench has {arrays} of {shape[0]} x {shape[1]}"
            )

    def record(
        self, kind: str, values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], clock_s: float
    ) -> Measurement:
        """Adds an entry to the history and returns when it is on the disk.

        kind: lower-case letters, digits and underscores. values: what YAML can hold. Raises ConfigError when
        the directory cannot be written.
        """
        if not _KIND.fullmatch(kind):
            raise ValueError(f"kind {kind!r}: allowed are lower-case letters, digits and underscores")
        number = 1 + max((int(match[1]) for match in self._entries()), default=0)
        entry = Measurement(number, kind, _now(), clock_s, plain(values), dict(arrays))
        path = self._measurements / f"{number:04d}_{kind}.yaml"
        with storage_errors(self._measurements):
            self._measurements.mkdir(exist_ok=True)
            # The YAML file comes last: an entry without one was cut short and does not count.
            if arrays:
                content: dict[str, Any] = dict(arrays)
                write_aside(path.with_suffix(".npz"), lambda file: np.savez_compressed(file, **content))
            head = {
                "format": _ENTRY_FORMAT,
                "kind": kind,
                "time": entry.time,
                "clock_s": clock_s,
                "arrays": bool(arrays),
            }
            _write_yaml(path, {**head, "values": entry.values})
        return entry

    def history(self) -> list[Measurement]:
        """All measurements, oldest first. Raises HilError when one is damaged."""
        return [self._load(name) for name in self._entry_names()]

    def newest_first(self, kind: str) -> Iterator[Measurement]:
        """The measurements of a kind, the last one first. Raises HilError when it comes to one that is damaged."""
        for name in reversed(self._entry_names()):
            if name.partition("_")[2] == f"{kind}.yaml":
                yield self._load(name)

    def latest(self, kind: str) -> Measurement | None:
        """The last measurement of a kind, or None. Raises HilError when it is damaged."""
        return next(self.newest_first(kind), None)

    def bad_cells(self, array: int) -> StatusArray:
        """A `CellStatus` for each cell of one array, shape (rows, columns); all OK before forming.

        From the last `forming` entry of the array (`status`, shape (rows, columns)) and the `bad_cells`
        entries after it (`row`, `col`, `status`, shape (cells,)). Raises HilError when one is damaged.
        """
        status = np.full(self.passport.shape, CellStatus.OK, dtype=np.uint8)
        for name in self._entry_names():
            if name.partition("_")[2] not in ("forming.yaml", "bad_cells.yaml"):
                continue
            entry = self._load(name)
            if entry.values.get("array") != array:
                continue
            try:
                if entry.kind == "forming":
                    status[:] = entry.arrays["status"]
                else:
                    status[entry.arrays["row"], entry.arrays["col"]] = entry.arrays["status"]
            except (KeyError, IndexError, ValueError) as error:
                raise HilError(f"{self._measurements / name}: damaged: {error}") from error
        return status

    def write_error(self) -> WriteError:
        """From the last `write_error` entry. Raises HilError when there is none or it is damaged."""
        entry = self.latest("write_error")
        if entry is None:
            raise HilError(
                f"{self.directory}: the write error was never measured; measure it with: eapu-hil calibrate BENCH "
                "write_error (on a fresh chip: forming write_error)"
            )
        names = ("levels_S", "sigma_write_S", "sigma_relax_S")
        try:
            levels_S, write_S, relax_S = (np.asarray(entry.values[name], dtype=np.float64) for name in names)
            relax_time_s = float(entry.values["relax_time_s"])
        except (KeyError, TypeError, ValueError) as error:
            raise HilError(f"{self.path_of(entry)}: damaged: {error!r}") from error
        same = levels_S.shape == write_S.shape == relax_S.shape and levels_S.size > 0
        if not same or not np.isfinite([levels_S, write_S, relax_S]).all() or (np.diff(levels_S) <= 0).any():
            raise HilError(
                f"{self.path_of(entry)}: damaged: {', '.join(names)} must be finite, levels_S rising"
            )
        return WriteError(levels_S, write_S, relax_S, relax_time_s)

    def path_of(self, entry: Measurement) -> Path:
        """Its file, for messages."""
        return self._measurements / f"{entry.number:04d}_{entry.kind}.yaml"

    def _entries(self) -> Iterator[re.Match[str]]:
        if self._measurements.is_dir():
            matches = (_ENTRY.fullmatch(path.name) for path in self._measurements.iterdir())
            yield from (match for match in matches if match)

    def _entry_names(self) -> list[str]:
        found = [match for match in self._entries() if match[0].endswith(".yaml")]
        return [match[0] for match in sorted(found, key=lambda match: int(match[1]))]

    def _load(self, name: str) -> Measurement:
        path = self._measurements / name
        try:
            head = stored_yaml(path.read_text(encoding="utf-8"))
            arrays: dict[str, NDArray[Any]] = {}
            if head["arrays"]:
                with np.load(path.with_suffix(".npz"), allow_pickle=False) as archive:
                    arrays = {key: archive[key] for key in archive.files}
            values = head["values"]
            if head.get("format", 1) == 1:
                values, arrays = entry_of_today(head["kind"], values, arrays)
            number = int(name.partition("_")[0])
            return Measurement(number, head["kind"], head["time"], head["clock_s"], values, arrays)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            raise HilError(f"{path}: damaged: {' '.join(str(error).split())}") from error


@contextmanager
def own_chip(directory: Path) -> Iterator[None]:
    """Makes this process the only one that uses the chip in `directory`; an absent one is made.

    The operating system holds the lock: it ends with the process, however that ends. Raises ConfigError when
    another process owns the chip, or `directory` is in use for something that is not a chip.
    """
    with storage_errors(directory):
        ours = (directory / "passport.yaml").exists() or (directory / _LOCK).exists()
        if directory.exists() and not ours and (not directory.is_dir() or any(directory.iterdir())):
            raise ConfigError(f"{directory}: chip: not a chip's passport; name an empty or new directory")
        new = not directory.exists()
        directory.mkdir(parents=True, exist_ok=True)
        require_own_files(directory, "chip")
        descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if not _lock(descriptor):
            os.lseek(descriptor, 0, os.SEEK_SET)
            owner = os.read(descriptor, 20).decode("ascii", "replace").strip()
            raise ConfigError(f"{directory}: chip: in use by process {owner}; allowed is one at a time")
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)
        if new and [path.name for path in directory.iterdir()] == [_LOCK]:  # no chip came of it
            (directory / _LOCK).unlink()
            directory.rmdir()


def _lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, _LOCK_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    text = yaml.safe_dump(plain(content), sort_keys=False, allow_unicode=True)
    write_aside(path, lambda file: file.write(text.encode()))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
