"""The measurements in a chip's directory, each in files of its own that are never changed.

    entries.json                   number, kind, bench time and checksum of each entry, oldest first
    measurements/NNNN_kind.yaml    one entry: kind, time, bench time, values
    measurements/NNNN_kind.npz     its arrays

Every file is sealed (`eapu_hil.base.seals`) and names the chip and the entry. An entry that is listed and not there,
or there and not listed, is an error: nobody may conclude that something was never measured because a file is gone. Of
a process that was killed at most the last entry is not listed yet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from eapu_hil.base.errors import one_line
from eapu_hil.base.npz import read_npz
from eapu_hil.base.old_names import entry_of_today
from eapu_hil.base.provenance import now_utc
from eapu_hil.base.seals import (
    SEAL,
    checksum_of,
    read_sealed_json,
    read_sealed_npz,
    unsealed,
    write_sealed_json,
    write_sealed_npz,
    write_sealed_yaml,
)
from eapu_hil.base.storage import plain, storage_errors
from eapu_hil.base.yamltext import long_stored_yaml
from eapu_hil.hal import HilError

INDEX = "entries.json"
FOLDER = "measurements"
NO_CLOCK = "none"  # of an entry that was not measured on a bench
_SEALED = "measurement"  # kind of a seal
_NAME = re.compile(r"(\d{4,9})_([a-z][a-z0-9_]*)\.(?:yaml|npz)")
_KIND = re.compile(r"[a-z][a-z0-9_]*")
_ENTRY_FORMAT = 3  # 2 had no seal; 1, not written down, is that of version 0.1 with its names


@dataclass(frozen=True, eq=False)
class Measurement:
    """One entry of the history. clock_s: bench time when it was taken, by `clock`.

    clock: which clock that is. Times by two clocks have nothing to do with each other. "" for an older entry.
    """

    number: int
    kind: str
    time: str
    clock_s: float
    values: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]
    clock: str = ""


@dataclass(frozen=True)
class Head:
    """What the list of entries says of one. sha256: of the seal of its YAML file, "" in an unsealed directory."""

    number: int
    kind: str
    clock_s: float
    clock: str
    sha256: str

    @property
    def name(self) -> str:
        """Of its YAML file."""
        return f"{self.number:04d}_{self.kind}.yaml"


class Entries:
    """The entries below a chip's `directory`.

    chip: its id. has_seals: False for a directory of an older version; it may have no id yet, "".
    """

    def __init__(self, directory: Path, chip: str, *, has_seals: bool) -> None:
        self._chip = chip
        self._has_seals = has_seals
        self._index = directory / INDEX
        self._folder = directory / FOLDER

    def path_of(self, entry: Head | Measurement) -> Path:
        """Its YAML file."""
        return self._folder / f"{entry.number:04d}_{entry.kind}.yaml"

    def start(self) -> None:
        """An empty list, for a new chip. Raises OSError."""
        self._write_index([])

    def heads(self) -> list[Head]:
        """All entries, oldest first. Raises HilError where one is missing, unknown, or the list is damaged."""
        if not self._has_seals:
            return self._unlisted_heads()
        try:
            found = read_sealed_json(self._index, "entries", {"chip": self._chip})
        except FileNotFoundError as error:
            raise HilError(
                f"{self._index}: missing; put it back from a copy of the chip's directory"
            ) from error
        listed = [Head(**values) for values in found["entries"]]
        names = self._names()
        for head in listed:
            if names.pop(head.number, head.name) != head.name or not self.path_of(head).is_file():
                raise HilError(
                    f"{self.path_of(head)}: missing; {INDEX} lists it. Put it back from a copy of the chip's directory"
                )
        last = listed[-1].number if listed else 0
        if len(names) > 1 or any(number <= last for number in names):
            name = names[min(names)]
            raise HilError(
                f"{self._folder / name}: not in {INDEX}: it belongs to another chip, or {INDEX} is an older one. Put "
                "both back from a copy of the chip's directory"
            )
        for number, name in names.items():  # the process was killed before it listed this entry
            listed.append(self._head_of(number, name))
        return listed

    def load(self, head: Head) -> Measurement:
        """One entry. Raises HilError when it is damaged or another one."""
        if not self._has_seals:
            return self._load_unsealed(head)
        path = self.path_of(head)
        content = _parsed(path)
        values = unsealed(path, content, _SEALED, self._owner(head.number, head.kind))
        if checksum_of(content) != head.sha256:
            raise HilError(f"{path}: another file was put in its place: {INDEX} has another checksum for it")
        arrays: dict[str, NDArray[Any]] = {}
        if values["arrays"]:
            try:
                arrays = read_sealed_npz(
                    path.with_suffix(".npz"), _SEALED, self._owner(head.number, head.kind)
                )
            except FileNotFoundError as error:
                raise HilError(f"{path.with_suffix('.npz')}: missing; {path.name} needs it") from error
        return Measurement(
            head.number,
            head.kind,
            values["time"],
            values["clock_s"],
            values["values"],
            arrays,
            values["clock"],
        )

    def add(
        self,
        kind: str,
        values: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]],
        clock_s: float,
        clock: str,
    ) -> Measurement:
        """A new entry; returns when it is on the disk. Raises ConfigError when it cannot be written."""
        if not _KIND.fullmatch(kind):
            raise ValueError(f"kind {kind!r}: allowed are lower-case letters, digits and underscores")
        heads = self.heads()
        number = 1 + max((int(match[1]) for match in self._matches()), default=0)
        entry = Measurement(number, kind, now_utc(), clock_s, plain(values), dict(arrays), clock)
        with storage_errors(self._folder):
            # A list that lacks two entries could not be told from an old one.
            if len(heads) > len(self._listed()):
                self._write_index(heads)
            self._write_index([*heads, self._write(entry)])
        return entry

    def seal(self) -> None:
        """Rewrites the files of an older version with seals, once. Raises HilError for a damaged entry, OSError."""
        self._write_index([self._write(self._load_unsealed(head)) for head in self._unlisted_heads()])
        self._has_seals = True

    def _write(self, entry: Measurement) -> Head:
        owner, path = self._owner(entry.number, entry.kind), self.path_of(entry)
        self._folder.mkdir(exist_ok=True)
        if entry.arrays:
            write_sealed_npz(path.with_suffix(".npz"), entry.arrays, _SEALED, owner, compressed=True)
        # The YAML file comes last: an entry without one was cut short and does not count.
        content = {
            "format": _ENTRY_FORMAT,
            "kind": entry.kind,
            "time": entry.time,
            "clock_s": entry.clock_s,
            "clock": entry.clock,
            "arrays": bool(entry.arrays),
            "values": entry.values,
        }
        checksum = write_sealed_yaml(path, content, _SEALED, owner)
        return Head(entry.number, entry.kind, entry.clock_s, entry.clock, checksum)

    def _owner(self, number: int, kind: str) -> dict[str, str | int]:
        return {"chip": self._chip, "entry": number, "measurement": kind}

    def _write_index(self, heads: list[Head]) -> None:
        content = {"entries": [asdict(head) for head in heads]}
        write_sealed_json(self._index, content, "entries", {"chip": self._chip})

    def _listed(self) -> list[Any]:
        found: list[Any] = read_sealed_json(self._index, "entries", {"chip": self._chip})["entries"]
        return found

    def _head_of(self, number: int, name: str) -> Head:
        path = self._folder / name
        content, kind = _parsed(path), _kind_of(name)
        values = unsealed(path, content, _SEALED, self._owner(number, kind))
        return Head(number, kind, values["clock_s"], values["clock"], checksum_of(content))

    def _matches(self) -> list[re.Match[str]]:
        if not self._folder.is_dir():
            return []
        matches = (_NAME.fullmatch(path.name) for path in self._folder.iterdir())
        return sorted((match for match in matches if match), key=lambda match: int(match[1]))

    def _names(self) -> dict[int, str]:
        """The YAML files by number. Raises HilError where two have one number."""
        names: dict[int, str] = {}
        for match in self._matches():
            if match[0].endswith(".yaml") and names.setdefault(int(match[1]), match[0]) != match[0]:
                raise HilError(f"{self._folder / match[0]}: {names[int(match[1])]} has the same number")
        return names

    def _unlisted_heads(self) -> list[Head]:
        """Of a directory without a list: the numbers must follow each other."""
        if self._index.exists() and not self._chip:  # with an id a process was killed while it sealed them
            raise HilError(
                f"{self._index}: newer than the passport beside it; put passport.yaml back from a copy of the chip's "
                "directory"
            )
        there = {int(match[1]) for match in self._matches()}
        missing = set(range(1, max(there, default=0))) - there
        if missing:
            raise HilError(
                f"{self._folder}: entry {min(missing):04d} is missing; put it back from a copy of the chip's directory"
            )
        return [Head(number, _kind_of(name), 0.0, "", "") for number, name in self._names().items()]

    def _load_unsealed(self, head: Head) -> Measurement:
        path = self.path_of(head)
        content = _parsed(path)
        if SEAL in content:  # a process was killed while it sealed the entries
            content = unsealed(path, content, _SEALED, self._owner(head.number, head.kind))
        try:
            if content["kind"] != head.kind:
                raise ValueError(f"it holds an entry {content['kind']}")
            arrays: dict[str, NDArray[Any]] = {}
            if content["arrays"]:
                arrays = {
                    name: array for name, array in read_npz(path.with_suffix(".npz")).items() if name != SEAL
                }
            values = content["values"]
            if content.get("format", 1) == 1:
                values, arrays = entry_of_today(head.kind, values, arrays)
            clock_s, clock = float(content["clock_s"]), content.get("clock", "")
            return Measurement(head.number, head.kind, str(content["time"]), clock_s, values, arrays, clock)
        except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise HilError(f"{path}: damaged: {one_line(error)}") from error


def _parsed(path: Path) -> dict[str, Any]:
    """The keys of a YAML file. Raises HilError for a damaged one."""
    try:
        found = long_stored_yaml(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("expected keys and values")
    except (OSError, ValueError) as error:
        raise HilError(f"{path}: damaged: {one_line(error)}") from error
    return found


def _kind_of(name: str) -> str:
    return name.partition("_")[2].removesuffix(".yaml")
