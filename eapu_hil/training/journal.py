"""journal.bin: how far the files of a run had come, one record after each change of one.

The two files that grow are known by their lengths and running checksums, so that no step reads them again. The small
ones carry seals of their own; of these the journal counts how often each was written, so that an earlier one, or
none, is told from the last. Each record carries a checksum that begins with the id of the run.

A file is changed before the journal says so: after a crash a file may be ahead of its journal by one change, and
`writes.bin` is never behind it. `metrics.jsonl` can be after a power cut: it reaches the disk at checkpoints.
"""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.npz import DamagedError
from eapu_hil.base.stopping import held
from eapu_hil.base.storage import GrowingFile

JOURNAL, METRICS, WRITES = "journal.bin", "metrics.jsonl", "writes.bin"
BACK = "bring it back from a copy of this run; without one, train a new run"
_RECORD = struct.Struct("<qIqIiiiii")  # the fields of `State`; a CRC-32 follows
_SIZE = _RECORD.size + 4

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class State:
    """The state of a run: length and CRC-32 of the growing files, step of the last checkpoint, -1 for none.

    start, snapshots, placement: how often these files were written. moves: how many moves moves.json holds.
    """

    metrics_bytes: int = 0
    metrics_crc: int = 0
    writes_bytes: int = 0
    writes_crc: int = 0
    checkpoint: int = -1
    start: int = 0
    snapshots: int = 0
    placement: int = 0
    moves: int = 0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> State:
        """From the values by name, as a checkpoint and the summary hold them. Raises DamagedError."""
        try:
            return cls(**{field.name: int(values[field.name]) for field in fields(cls)})
        except (LookupError, TypeError, ValueError) as error:
            raise DamagedError(f"damaged: how far the run had come cannot be read: {error}") from error

    def grown(self, name: str) -> tuple[int, int]:
        """Length and CRC-32 of `METRICS` or `WRITES`."""
        if name == METRICS:
            return self.metrics_bytes, self.metrics_crc
        return self.writes_bytes, self.writes_crc


@contextmanager
def advised() -> Iterator[None]:
    """Around reading a file that nothing else can stand for: an error says what to do."""
    try:
        yield
    except DamagedError as error:
        if BACK in str(error):
            raise
        raise type(error)(f"{error}; {BACK}") from error


class Journal:
    """The journal of a run that is being written. state: what it stands at."""

    def __init__(self, run_dir: Path, run_id: str, state: State) -> None:
        self._file = GrowingFile(run_dir / JOURNAL, _whole)
        self._seed = zlib.crc32(run_id.encode())
        self.state = state

    def note(self, **changes: int) -> None:
        """Adds a record with `changes`, which are fields of `State`. Raises StorageError."""
        state = replace(self.state, **changes)
        packed = _RECORD.pack(*vars(state).values())
        record = packed + zlib.crc32(packed, self._seed).to_bytes(4, "little")
        with held():  # else the record after it would not know of these changes
            self._file.append(record, durable=False)
            self.state = state

    def note_metrics(self, line: bytes) -> None:
        """`line` stands at the end of metrics.jsonl."""
        before = self.state
        crc = zlib.crc32(line, before.metrics_crc)
        self.note(metrics_bytes=before.metrics_bytes + len(line), metrics_crc=crc)

    def note_writes(self, records: bytes) -> None:
        """`records` stand at the end of writes.bin, on the disk."""
        before = self.state
        crc = zlib.crc32(records, before.writes_crc)
        self.note(writes_bytes=before.writes_bytes + len(records), writes_crc=crc)

    def sync(self) -> None:
        """Returns when all of it is on the disk. Raises OSError."""
        self._file.sync()

    def close(self) -> None:
        self._file.close()


def read_journal(run_dir: Path, run_id: str) -> State:
    """Its last whole record; `State()` before the first. Raises DamagedError, also when there is none."""
    path = run_dir / JOURNAL
    try:
        with path.open("rb") as file:
            whole = _whole(path)
            file.seek(max(0, whole - _SIZE))
            return _parsed(path, file.read(_SIZE), run_id) if whole else State()
    except FileNotFoundError as error:
        raise DamagedError(f"{path}: missing; {BACK}") from error
    except OSError as error:
        raise DamagedError(f"{path}: cannot be read: {error.strerror or error}; {BACK}") from error


def is_begun(run_dir: Path) -> bool:
    """Whether there is a journal with a record in it."""
    path = run_dir / JOURNAL
    return path.is_file() and _whole(path) > 0


def read_grown(run_dir: Path, name: str, run_id: str) -> tuple[NDArray[np.uint8], int]:
    """All bytes of `METRICS` or `WRITES`, and how many of them the journal proves.

    Raises DamagedError when they are not what was written.
    """
    state = read_journal(run_dir, run_id)  # first: a run that goes on only makes its files longer
    content = read_bytes(run_dir / name)
    size = _proven(run_dir, name, run_id, state, content.size, lambda size: zlib.crc32(content[:size].data))
    return content, size


def prove_grown(run_dir: Path, name: str, run_id: str) -> tuple[int, int]:
    """How many bytes `METRICS` or `WRITES` has, and how many of them the journal proves; holds no more than a part.

    Raises DamagedError when they are not what was written.
    """
    state, path = read_journal(run_dir, run_id), run_dir / name  # first, as above
    there = size_of(path)
    return there, _proven(run_dir, name, run_id, state, there, lambda size: checksum_of_first(path, size))


def _proven(
    run_dir: Path, name: str, run_id: str, state: State, there: int, crc_of_first: Callable[[int], int]
) -> int:
    """there: the bytes that the file has. crc_of_first: the CRC-32 of so many of them."""
    size, crc = state.grown(name)
    if there < size and name == METRICS:
        size, crc = _record_that_fits(run_dir, there, run_id).grown(name)
        _LOG.warning(
            "%s: %d bytes that were written are gone (a power cut?); later steps are taken from %s",
            run_dir / name,
            state.metrics_bytes - there,
            WRITES,
        )
    if there < size:
        raise DamagedError(
            f"{run_dir / name}: damaged: {size - there} bytes that were written are gone; {BACK}"
        )
    if crc_of_first(size) != crc:
        raise DamagedError(f"{run_dir / name}: damaged: its checksum is not that of what was written; {BACK}")
    return size


def size_of(path: Path) -> int:
    """The bytes of a file, 0 where there is none. Raises DamagedError."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise DamagedError(f"{path}: cannot be read: {error.strerror or error}") from error


def checksum_of_first(path: Path, size: int) -> int:
    """The CRC-32 of the first `size` bytes of a file, read in parts. Raises DamagedError."""
    crc = 0
    for part in parts_of(path, 0, size):
        crc = zlib.crc32(part, crc)
    return crc


def parts_of(path: Path, start: int, stop: int, part_bytes: int = 1 << 20) -> Iterator[bytes]:
    """The bytes of a file from `start` to `stop`, `part_bytes` at a time. Raises DamagedError, also for fewer."""
    if start >= stop:
        return
    try:
        with path.open("rb") as file:
            file.seek(start)
            while start < stop:
                part = file.read(min(part_bytes, stop - start))
                if not part:
                    raise DamagedError(f"{path}: became shorter while it was read")
                start += len(part)
                yield part
    except OSError as error:
        raise DamagedError(f"{path}: cannot be read: {error.strerror or error}") from error


def read_bytes(path: Path) -> NDArray[np.uint8]:
    """All bytes of a file, none where there is no file. Raises DamagedError."""
    try:
        return np.fromfile(path, np.uint8)
    except FileNotFoundError:
        return np.zeros(0, np.uint8)
    except OSError as error:
        raise DamagedError(f"{path}: cannot be read: {error.strerror or error}") from error


def _record_that_fits(run_dir: Path, metrics_bytes: int, run_id: str) -> State:
    """The last one that claims no more of metrics.jsonl."""
    path, found = run_dir / JOURNAL, State()
    content = path.read_bytes()
    for start in range(0, _whole(path), _SIZE):
        state = _parsed(path, content[start : start + _SIZE], run_id)
        if state.metrics_bytes <= metrics_bytes:
            found = state
    return found


def _parsed(path: Path, record: bytes, run_id: str) -> State:
    packed, crc = record[: _RECORD.size], int.from_bytes(record[_RECORD.size :], "little")
    if zlib.crc32(packed, zlib.crc32(run_id.encode())) != crc:
        raise DamagedError(f"{path}: damaged, or start.yaml is of another run; {BACK}")
    return State(*_RECORD.unpack(packed))


def _whole(path: Path) -> int:
    size = path.stat().st_size
    return size - size % _SIZE
