"""The files of a ledger: counters in memory-mapped .npy files, and one record of what they held.

    arrayN/NAME.npy    a counter. Behind its values it says of which chip and array it is; numpy passes over that.
    ledger.json        sealed: how much was counted in all when the counters were last known to be whole; after a clean
                       end their checksums too

A counter changes at every pulse, so that it cannot carry a checksum of its own while it is in use. After a clean end
the checksums have to fit. After any other end (kill -9, a power cut) each counter must still be whole, belong here,
hold nothing that cannot be, and not count less than before.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.old_names import rename_old_file
from eapu_hil.base.seals import read_sealed_json, write_sealed_json
from eapu_hil.base.storage import StorageError, storage_errors, write_aside
from eapu_hil.hal import ConfigError

_LOG = logging.getLogger(__name__)
_KIND = "ledger"
_RECORD = "ledger.json"
_SAYS_MAX = 4096  # bytes behind the values
_HELP = "put the file back from a copy of the chip's directory"


@dataclass(frozen=True)
class Layout:
    """One counter. first: its value before anything was counted. later: ledgers from before it was counted lack it."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    first: float = 0
    later: bool = False

    def fresh(self) -> NDArray[Any]:
        """Its values before anything was counted."""
        return np.full(self.shape, self.first, self.dtype)


class CounterFile:
    """One memory-mapped counter. values: what it holds; what is stored there is in the file at once."""

    def __init__(self, path: Path, layout: Layout, owner: dict[str, str | int], *, whole: bool) -> None:
        """Opens the counter, or makes it. owner: chip and array; empty: whoever it belongs to.

        whole: it was made earlier and says whose it is. Otherwise one that does not say it, of an older version, is
        given its owner. Raises ConfigError when it is damaged, missing or another one's.
        """
        with storage_errors(path):
            if not whole:
                rename_old_file(path)
        self._path = path
        self._layout = layout
        self._says = (
            json.dumps({"counter": layout.name, **owner}, sort_keys=True).encode() + b"\n" if owner else b""
        )
        if not path.exists():
            if whole:
                raise ConfigError(f"{path}: missing: the chip's ledger was kept in it; {_HELP}")
            self._write(layout.fresh())
        self._check(whole)
        self._mapped = np.lib.format.open_memmap(path, mode="r+")
        self.values: NDArray[Any] = self._mapped.view(np.ndarray)  # plain: arithmetic on a memmap is slower

    @property
    def path(self) -> Path:
        return self._path

    def total(self) -> int:
        """The sum of all that is counted in whole numbers: it never gets less."""
        return sum(int(part.sum()) for part in self._whole_numbers())

    def checksum(self) -> int:
        """Of the values."""
        return zlib.crc32(np.ascontiguousarray(self.values).view(np.uint8).data)

    def require(self, total: int, checksum: int | None) -> None:
        """Raises ConfigError where the counter cannot be the one of which this was written down."""
        if checksum is not None and self.checksum() != checksum:
            raise ConfigError(
                f"{self._path}: damaged, or changed by hand: its checksum does not fit its content; {_HELP}"
            )
        if any((part < 0).any() for part in self._whole_numbers()):
            raise ConfigError(f"{self._path}: damaged: it holds counts below 0; {_HELP}")
        if self.total() < total:
            raise ConfigError(
                f"{self._path}: counts {self.total()} in all, less than the {total} that {_RECORD} remembers; {_HELP}"
            )

    def flush(self) -> None:
        """Returns when the values are on the disk."""
        self._mapped.flush()

    def close(self) -> None:
        """Gives the file free."""
        self.values = np.zeros(0)
        del self._mapped

    def _whole_numbers(self) -> list[NDArray[Any]]:
        names = self._layout.dtype.names
        parts = [self.values[name] for name in names] if names else [self.values]
        return [part for part in parts if part.dtype.kind == "i"]

    def _check(self, whole: bool) -> None:
        """Raises ConfigError where the file is not the one that is expected; one of an older version is rewritten."""
        layout, path = self._layout, self._path
        try:
            with path.open("rb") as file:
                version = np.lib.format.read_magic(file)
                read = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                shape, columns_first, dtype = read(file)
                begin = file.tell()
                size = layout.dtype.itemsize * int(np.prod(layout.shape))
                content = file.read(size + _SAYS_MAX)
        except (OSError, ValueError, TokenError) as error:
            raise ConfigError(f"{path}: the chip's ledger cannot be opened: {error}") from error
        if dtype != layout.dtype or shape != layout.shape or columns_first:
            raise ConfigError(
                f"{path}: holds {dtype} of shape {shape}; expected {layout.dtype} of shape {layout.shape}"
            )
        if len(content) < size:
            raise ConfigError(
                f"{path}: damaged: cut short to {begin + len(content)} bytes of {begin + size} or more; {_HELP}"
            )
        said = content[size:]
        if not self._says or said == self._says:
            return
        if said or whole:
            raise ConfigError(f"{path}: {_whose(said, self._says)}; {_HELP}")
        self._write(np.frombuffer(content[:size], layout.dtype).reshape(layout.shape))

    def _write(self, values: NDArray[Any]) -> None:
        def write(file: Any) -> None:  # renamed when whole: a crash leaves no half file
            np.save(file, values)
            file.write(self._says)

        with storage_errors(self._path):
            write_aside(self._path, write)


def _whose(said: bytes, wanted: bytes) -> str:
    """What is wrong with a counter that says this of itself."""
    if not said:
        return "of an older version, beside files of this one: it does not say which chip it is of"
    expected = json.loads(wanted)
    try:
        found = json.loads(said)
        differs = [key for key in expected if found[key] != expected[key]]
    except (ValueError, KeyError, TypeError):
        return "damaged: what it says of its chip cannot be read"
    if not differs:
        return "damaged: something follows its content"
    key = differs[0]
    return f"another file was put in its place: {key} {found[key]}, expected {expected[key]}"


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
                    f"{self._path}: missing: the wear of this chip was kept there (passport.yaml says so); {_HELP}"
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
            if not (path.exists() or layout.later or _old_name(path).exists())
        ]
        if there:
            _LOG.info("%s: of an older version; its files say from now on whose they are", self._path.parent)
        if there and gone and any(_used(path, layout) for path, layout in there):
            raise ConfigError(f"{gone[0]}: missing: the chip's ledger was kept in it; {_HELP}")

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
                raise ConfigError(f"{pulses.path}: damaged: fewer pulses than writes of some cells; {_HELP}")
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
    """Whether something was counted in a counter of an older version."""
    content = path.read_bytes()
    return not content.endswith(layout.fresh().tobytes())


def _old_name(path: Path) -> Path:
    return path.with_name(path.name.replace("_S", "_s"))
