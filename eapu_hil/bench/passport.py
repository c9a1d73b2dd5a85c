"""The passport of a chip: what it is, and everything that was ever measured on it.

    passport.yaml                  id, model, serial number, shape, number of arrays, devices, when it was made
    entries.json, measurements/    the measurements, never overwritten (`eapu_hil.bench.entries`)
    ledger/                        wear and energy (`eapu_hil.bench.ledger`)
    chip.lock                      held by the one process that uses the chip

A backend may keep files of its own beside these.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, PositiveInt

from eapu_hil.base.loading import load_model
from eapu_hil.base.locks import own
from eapu_hil.base.provenance import now_utc
from eapu_hil.base.seals import unsealed, write_sealed_yaml
from eapu_hil.base.storage import require_own_files, storage_errors
from eapu_hil.bench.chip_id import FORMAT, NEW, PASSPORT, chip_id, forget_id, known_id
from eapu_hil.bench.entries import FOLDER, INDEX, Entries, Head, Measurement
from eapu_hil.bench.write_error import WriteError
from eapu_hil.hal import CellStatus, ConfigError, HilError, StatusArray

LOCK = "chip.lock"
_BESIDE = (INDEX, FOLDER)  # what only a chip with a passport has
_LOG = logging.getLogger(__name__)


class Device(BaseModel):
    """What a chip's array was reached through: `model` and `serial` of its `hal.Identity`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    serial: str


class Passport(BaseModel):
    """passport.yaml. shape: rows, columns of each of the `arrays`; created: UTC, ISO 8601.

    id: of this chip's directory alone; every file that belongs to the chip names it. Empty in a passport of an
    older version. chip_serial: of the chip itself, as the bench file that it was made with names it. devices: those of
    the arrays then (model and serial are the first one's). simulated: whether the cells are; None: not known.
    fresh: the cells were made with this passport, so that nothing happened to them that its ledger does not count.
    ledger: it was made, so that it has to be there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["eapu-hil-chip-1", "eapu-hil-chip-2"] = "eapu-hil-chip-2"
    id: str = ""
    model: str
    serial: str
    chip_serial: str | None = None
    devices: tuple[Device, ...] = ()
    simulated: bool | None = None
    fresh: bool = False
    shape: tuple[PositiveInt, PositiveInt]
    arrays: PositiveInt
    created: str
    ledger: bool = False
    seal: dict[str, str] | None = None


class Chip:
    """The passport in `directory`. Whoever changes it has to own the chip (`own_chip`).

    clock: which clock the bench time of new entries is by (`eapu_hil.bench.clocks`).
    """

    def __init__(self, directory: Path, passport: Passport) -> None:
        self.directory = directory
        self.passport = passport
        self.clock = ""
        self._entries = Entries(directory, self.id, has_seals=passport.format == FORMAT)

    @classmethod
    def open(cls, directory: Path) -> Chip:
        """An existing passport. Raises ConfigError when `directory` holds none, HilError for a damaged one."""
        path = directory / PASSPORT
        if not path.is_file():
            raise ConfigError(f"{directory}: not a chip's passport (there is no {PASSPORT})")
        passport = load_model(Passport, path, [], "passports")
        if passport.format == FORMAT:
            unsealed(path, passport.model_dump(mode="json"), "passport", {"chip": passport.id})
            passport = passport.model_copy(update={"seal": None})  # it is proven
        elif passport.seal is not None or passport.id:
            raise HilError(f"{path}: damaged, or changed by hand: an older passport has no seal and no id")
        return cls(directory, passport)

    @classmethod
    def create(
        cls,
        directory: Path,
        model: str,
        serial: str,
        shape: tuple[int, int],
        arrays: int,
        *,
        devices: Sequence[Device] = (),
        chip_serial: str | None = None,
        simulated: bool | None = None,
        fresh: bool = False,
    ) -> Chip:
        """A new passport without measurements. Raises ConfigError when `directory` holds one already."""
        path = directory / PASSPORT
        if path.exists():
            raise ConfigError(f"{path}: already exists; a passport is never overwritten")
        passport = Passport(
            id=chip_id(directory),
            model=model,
            serial=serial,
            chip_serial=chip_serial,
            devices=tuple(devices),
            simulated=simulated,
            fresh=fresh,
            shape=shape,
            arrays=arrays,
            created=now_utc(),
        )
        with storage_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
            Entries(directory, passport.id, has_seals=True).start()
            _write(path, passport)
        return cls(directory, passport)

    @property
    def id(self) -> str:
        """What the files of this chip name. "" for a chip of an older version that was never used since."""
        return self.passport.id or known_id(self.directory)

    def record_ledger(self) -> None:
        """Writes down that the chip has a ledger, so that it has to be there. Raises StorageError."""
        if self.passport.ledger:
            return
        self.passport = self.passport.model_copy(update={"ledger": True})
        with storage_errors(self.directory):
            _write(self.directory / PASSPORT, self.passport)

    def upgrade(self, *, simulated: bool | None = None) -> None:
        """Seals the files of a passport of an older version; the log says so. Another passport stays as it is.

        simulated: see `Passport`.
        Raises HilError where an entry is damaged, ConfigError where the directory cannot be written.
        """
        if self.passport.format == FORMAT:
            return
        path = self.directory / PASSPORT
        changes = {"format": FORMAT, "id": chip_id(self.directory), "simulated": simulated}
        found = self.passport.model_copy(update=changes)
        with storage_errors(self.directory):
            entries = Entries(self.directory, found.id, has_seals=False)
            entries.seal()
            _write(path, found)  # last: until then the directory is an old one
        _LOG.info("%s: of an older version; all of its files carry its id and a checksum now", self.directory)
        self.passport, self._entries = found, entries

    def require(self, shape: tuple[int, int], arrays: int) -> None:
        """Raises ConfigError when the chip has not `arrays` arrays of `shape`."""
        mine = self.passport
        if (mine.shape, mine.arrays) != (tuple(shape), arrays):
            raise ConfigError(
                f"{self.directory}: chip: {mine.arrays} arrays of {mine.shape[0]} x {mine.shape[1]} cells; "
                f"the bench has {arrays} of {shape[0]} x {shape[1]}"
            )

    def record(
        self,
        kind: str,
        values: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]],
        clock_s: float,
        *,
        clock: str | None = None,
    ) -> Measurement:
        """Adds an entry to the history and returns when it is on the disk.

        kind: lower-case letters, digits and underscores. values: what YAML can hold. clock_s: bench time, by `clock`;
        None: by the clock of this session. Raises ConfigError when
        the directory cannot be written.
        """
        self.upgrade()
        return self._entries.add(kind, values, arrays, clock_s, self.clock if clock is None else clock)

    def history(self) -> list[Measurement]:
        """All measurements, oldest first. Raises HilError when one is damaged or missing."""
        return [self._entries.load(head) for head in self._entries.heads()]

    def heads(self) -> list[Head]:
        """What the list of entries says of each, oldest first. Raises HilError when one is missing."""
        return self._entries.heads()

    def of_kinds(self, *kinds: str) -> list[Measurement]:
        """The measurements of these kinds, oldest first. Raises HilError when one is damaged or missing."""
        return [self._entries.load(head) for head in self._entries.heads() if head.kind in kinds]

    def newest_first(self, kind: str) -> Iterator[Measurement]:
        """The measurements of a kind, the last one first. Raises HilError when it comes to one that is damaged."""
        for head in reversed(self._entries.heads()):
            if head.kind == kind:
                yield self._entries.load(head)

    def latest(self, kind: str) -> Measurement | None:
        """The last measurement of a kind, or None. Raises HilError when it is damaged."""
        return next(self.newest_first(kind), None)

    def bad_cells(self, array: int) -> StatusArray:
        """A `CellStatus` for each cell of one array, shape (rows, columns); all OK before forming.

        From the last `forming` entry of the array (`status`, shape (rows, columns)) and the `bad_cells`
        entries after it (`row`, `col`, `status`, shape (cells,)). Raises HilError when one is damaged.
        """
        return self._bad_cells([array])[0]

    def bad_cells_of_all(self) -> list[StatusArray]:
        """The same of every array, for which each entry is read once."""
        return self._bad_cells(range(self.passport.arrays))

    def _bad_cells(self, arrays: Sequence[int]) -> list[StatusArray]:
        found = {number: np.full(self.passport.shape, CellStatus.OK, np.uint8) for number in arrays}
        for entry in self.of_kinds("forming", "bad_cells"):
            status = found.get(entry.values.get("array", -1))
            if status is None:
                continue
            try:
                if entry.kind == "forming":
                    status[:] = entry.arrays["status"]
                else:
                    status[entry.arrays["row"], entry.arrays["col"]] = entry.arrays["status"]
            except (KeyError, IndexError, ValueError) as error:
                raise HilError(f"{self.path_of(entry)}: damaged: {error}") from error
        return list(found.values())

    def write_error(self) -> WriteError:
        """From the last `write_error` entry. Raises HilError when there is none or it is damaged."""
        entry = self.latest("write_error")
        if entry is None:
            raise HilError(
                f"{self.directory}: the write error was never measured; measure it with: eapu-hil calibrate BENCH "
                "write_error (on a fresh chip: forming write_error)"
            )
        return WriteError.of(entry, self.path_of(entry))

    def path_of(self, entry: Measurement) -> Path:
        """Its file, for messages."""
        return self._entries.path_of(entry)


@contextmanager
def own_chip(directory: Path) -> Iterator[None]:
    """Makes this process the only one that uses the chip in `directory`; an absent one is made.

    The operating system holds the lock: it ends with the process, however that ends. Raises ConfigError when
    another process owns the chip, or `directory` is in use for something that is not a chip.
    """
    lock = directory / LOCK
    with ExitStack() as stack:
        with storage_errors(directory):
            passport = directory / PASSPORT
            if directory.is_dir():
                require_own_files(directory, "chip")
            begun = (directory / NEW).exists()  # by a process that was killed while it made the chip
            if not (passport.exists() or begun) and any((directory / name).exists() for name in _BESIDE):
                raise ConfigError(f"{passport}: missing; put it back from a copy of the chip's directory")
            ours = passport.exists() or lock.exists() or begun
            if directory.exists() and not ours and (not directory.is_dir() or any(directory.iterdir())):
                raise ConfigError(f"{directory}: chip: not a chip's passport; name an empty or new directory")
            if not directory.exists():
                directory.mkdir(parents=True)
                stack.callback(_remove_if_empty, directory)
            stack.enter_context(own(lock, f"{directory}: chip"))
        yield


def _remove_if_empty(directory: Path) -> None:
    """A new directory goes when no chip came of it."""
    if not any(directory.iterdir()):
        directory.rmdir()


def _write(path: Path, passport: Passport) -> None:
    content = passport.model_dump(mode="json", exclude={"seal"})
    write_sealed_yaml(path, content, "passport", {"chip": passport.id})
    forget_id(path.parent)
