"""The files of a ledger: counters in memory-mapped files, and one record of what they held.

    arrayN/NAME.npy    a counter, which says of which chip and array it is (`eapu_hil.base.mapped`)
    ledger.json        sealed: how much was counted in all when the counters were last known to be whole; after a clean
                       end their checksums too

A counter changes at every pulse, so that it cannot carry a checksum of its own while it is in use. After a clean end
the checksums have to fit. After any other end (kill -9, a power cut) each counter must still be whole, belong here,
hold nothing that cannot be, and not count less than before.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.mapped import FROM_A_COPY, MappedFile, damaged
from eapu_hil.base.npz import DAMAGE, read_header
from eapu_hil.base.seals import read_sealed_json, write_sealed_json
from eapu_hil.base.storage import StorageError, storage_errors
from eapu_hil.hal import ConfigError, IntArray

_LOG = logging.getLogger(__name__)
_KIND = "ledger"
_RECORD = "ledger.json"
HOLDS = "the chip's ledger"


@dataclass(frozen=True)
class Layout:
    """One counter. first: its value before anything was counted. later: ledgers from before it was counted lack it."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    first: float = 0
    later: bool = False

    @property
    def per_cell(self) -> bool:
        """Whether it holds a value for each cell."""
        return len(self.shape) > 1

    def fresh(self) -> NDArray[Any]:
        """Its values before anything was counted."""
        return np.full(self.shape, self.first, self.dtype)


class CounterFile(MappedFile):
    """One counter, memory-mapped. flat: its values as a vector, row by row."""

    def __init__(self, path: Path, layout: Layout, owner: Mapping[str, str | int], *, whole: bool) -> None:
        """Opens the counter, or makes it. owner: chip and array; empty: whoever it belongs to.

        whole: it was made earlier and says whose it is. Otherwise one that does not say it, of an older version, is
        given its owner. Raises ConfigError when it is damaged, missing or another one's.
        """
        says = {**owner, "counter": layout.name} if owner else {}
        super().__init__(path, layout.fresh(), says, holds=HOLDS, known=whole, takes_old=not whole)
        self.flat = self.values.reshape(-1)
        self._per_cell = layout.per_cell
        self._total = self._sum()

    def count(self, at: IntArray, more: IntArray | int, in_all: int) -> None:
        """Adds to the counts at some places of `flat`, also to one that is named more than once; `in_all` together."""
        np.add.at(self.flat, at, more)
        # After the counts: an interrupt leaves them higher than this sum, never lower.
        self._total += in_all

    def take_back(self, at: IntArray, counted: IntArray | int, in_all: int) -> None:
        """The inverse of `count`."""
        self._total -= in_all
        np.subtract.at(self.flat, at, counted)

    def total(self) -> int:
        """The sum of all that is counted in whole numbers: it never gets less.

        That of all cells is kept by `count` and `take_back`: to add them up takes as long as there are cells.
        """
        return self._total if self._per_cell else self._sum()

    def close(self) -> None:
        self.flat = np.zeros(0)
        super().close()

    def require(self, total: int, checksum: int | None) -> None:
        """Raises ConfigError where the counter cannot be the one of which this was written down."""
        if checksum is not None and self.checksum() != checksum:
            raise damaged(self.path)
        if any((part < 0).any() for part in self._whole_numbers()):
            raise ConfigError(f"{self.path}: damaged: it holds counts below 0; {FROM_A_COPY}")
        if self.total() < total:
            raise ConfigError(
                f"{self.path}: counts {self.total()} in all, less than the {total} that {_RECORD} remembers; "
                f"{FROM_A_COPY}"
            )

    def _sum(self) -> int:
        return sum(int(part.sum()) for part in self._whole_numbers())

    def _whole_numbers(self) -> list[NDArray[Any]]:
        names = self.values.dtype.names
        parts = [self.values[name] for name in names] if names else [self.values]
        return [part for part in parts if part.dtype.kind == "i"]


class Record:
    """ledger.json of the ledger in `directory`. content: arrays and shape of the chip, as JSON has them.

    chip: its id; "" for who only looks: the record of a chip is then neither compared nor changed.
    """

    def __init__(self, directory: Path, content: Mapping[str, Any], chip: str) -> None:
        self._path = directory / _RECORD
        self._content = {**content, "chip": chip}
        self._files: list[dict[str, CounterFile]] = []
        self._found: dict[str, Any] | None = None

    def read(self, *, known: bool) -> dict[str, Any] | None:
        """What it says; None where there is none. known: there has to be one.

        Raises ConfigError when it is missing or of a chip of another size, HilError when it is damaged or another
        chip's.
        """
        chip = self._content["chip"]
        try:
            self._found = read_sealed_json(self._path, _KIND, {"chip": chip} if chip else {})
        except FileNotFoundError:
            if known:
                raise ConfigError(
                    f"{self._path}: missing: the wear of this chip was kept there (passport.yaml says so); "
                    f"{FROM_A_COPY}"
                ) from None
            return None
        for key in ("arrays", "shape"):
            if self._found.get(key) != self._content[key]:
                raise ConfigError(
                    f"{self._path}: {key} {self._found.get(key)}; expected {self._content[key]}"
                )
        return self._found

    def require_no_gaps(self, counters: Sequence[tuple[Path, Layout]]) -> None:
        """Of a ledger without a record: one of an older version, or one whose making was cut short.

        Raises ConfigError where a counter is missing beside others that were used.
        """
        there = [(path, layout) for path, layout in counters if path.exists()]
        gone = [
            path
            for path, layout in counters
            if not (path.exists() or layout.later or old_name(path).exists())
        ]
        if there:
            _LOG.info(
                "%s: of an older version, or cut short in the making; its files say from now on whose they are",
                self._path.parent,
            )
        if there and gone and any(_used(path, layout) for path, layout in there):
            raise ConfigError(f"{gone[0]}: missing: {HOLDS} was kept in it; {FROM_A_COPY}")

    def begin(self, files: list[dict[str, CounterFile]]) -> None:
        """From now on the counters change. Raises ConfigError where they are not those of the record."""
        self._files = files
        if self._only_looks:
            return
        if self._found is not None:
            for counters, remembered in zip(files, self._found["counters"], strict=True):
                for name, file in counters.items():
                    total, checksum = remembered[name]
                    file.require(total, checksum if self._found["clean"] else None)
            if not self._found["clean"]:
                _LOG.info(
                    "%s: the last session did not end; what was under way then is counted in full", self._path
                )
        for counters in files:
            pulses, writes = counters["pulses"], counters["writes"]
            if (pulses.values < writes.values).any():
                raise ConfigError(
                    f"{pulses.path}: damaged: fewer pulses than writes of some cells; {FROM_A_COPY}"
                )
        self.write(clean=False)

    def write(self, *, clean: bool) -> None:
        """Writes down what the counters hold now. clean: they do not change any more. Raises StorageError."""
        if self._only_looks:
            return
        counters = [
            {name: [file.total(), file.checksum() if clean else None] for name, file in array.items()}
            for array in self._files
        ]
        content = {**self._content, "clean": clean, "counters": counters}
        with storage_errors(self._path):
            write_sealed_json(self._path, content, _KIND, {"chip": self._content["chip"]})

    def end(self) -> None:
        """The counters do not change any more. A disk that is full costs no more than the checksums."""
        try:
            self.write(clean=True)
        except StorageError as error:
            _LOG.warning("%s; the counters are whole, but next time no checksum will prove it", error)

    @property
    def _only_looks(self) -> bool:
        return self._found is not None and self._content["chip"] != self._found["chip"]


def _used(path: Path, layout: Layout) -> bool:
    """Whether something was counted in a counter, of this version or an older one."""
    fresh = layout.fresh().tobytes()
    try:
        with path.open("rb") as file:
            read_header(file)
            return file.read(len(fresh)) != fresh
    except DAMAGE:  # opening it says what is wrong
        return True


def old_name(path: Path) -> Path:
    """What older versions called the counter in `path`."""
    return path.with_name(path.name.replace("_S", "_s"))
