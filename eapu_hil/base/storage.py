"""Writing files so that a crash or a full disk leaves the old content or the new; errors name the file."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TextIO

from eapu_hil.base.errors import ConfigError, HilError
from eapu_hil.base.stopping import held

_LOG = logging.getLogger(__name__)


class StorageError(ConfigError):
    """A run cannot be written where it is: full, read-only, gone. Another place has to be named (exit 2)."""


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None when there is no such file. Raises HilError when it is damaged, or something else."""
    try:
        content: object = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise HilError(f"{path}: cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise HilError(f"{path}: damaged: expected a JSON object")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replaces `path` by a JSON object, at once. Raises StorageError."""
    text = json.dumps(plain(content), allow_nan=False, indent=2) + "\n"
    with storage_errors(path):
        write_aside(path, lambda file: file.write(text.encode()))


def require_own_files(directory: Path, what: str) -> None:
    """Raises ConfigError where something in `directory` leads out of it: a link, or what is no file at all.

    For directories that may come from elsewhere, before anything is written there. what: how messages call it.
    """
    waiting = [directory]
    while waiting:
        with storage_errors(directory), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif not entry.is_file(follow_symlinks=False):
                    kind = f"a link to {Path(entry.path).readlink()}" if entry.is_symlink() else "no file"
                    raise ConfigError(
                        f"{entry.path}: {kind}; all files of a {what} must lie in its directory, so put a copy there"
                    )


class GrowingFile:
    """A file that is only appended to, by one owner (`locks`). A batch that cannot be written whole is cut off."""

    def __init__(self, path: Path, whole: Callable[[Path], int]) -> None:
        """`whole` tells how many bytes of the file are whole records; what follows them is cut."""
        self._path = path
        self._file = path.open("ab", buffering=0)
        self._end = whole(path)
        torn = path.stat().st_size - self._end
        if torn:
            _LOG.warning("%s: cut %d bytes of a torn last record", path, torn)
            self._file.truncate(self._end)

    def append(self, data: bytes, *, durable: bool) -> None:
        """Adds `data`; `durable` waits until it is on the disk.

        A signal that ends the process waits until the file and what is known of its end agree, but for no disk.
        """
        with storage_errors(self._path):
            with held():
                try:
                    rest = memoryview(data)
                    while rest:
                        rest = rest[self._file.write(rest) :]
                except BaseException:
                    with contextlib.suppress(OSError):  # whatever stays is cut when the run is opened again
                        self._file.truncate(self._end)
                    raise
                self._end += len(data)
            if durable:
                self.sync()

    def sync(self) -> None:
        getattr(os, "fdatasync", os.fsync)(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def write_aside(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Replaces `path` as a whole: a reader, also after a crash, finds the old content or the new one.

    write: writes the content to a new file, which is synced and renamed. Raises OSError; see `storage_errors`.
    """
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)  # of a crash; opened anew, so that no link leads the content elsewhere
    _replace(path, part, write)


def write_beside(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """`write_aside` for a directory that is not only ours: no other file there is touched. Raises OSError."""
    _replace(path, beside(path), write)


def beside(path: Path) -> Path:
    """A name in the directory of `path` that nobody has, for what is to be put in its place once it is whole."""
    return path.with_name(f"{path.name[:60]}.{os.urandom(4).hex()}.part")


def _replace(path: Path, part: Path, write: Callable[[BinaryIO], object]) -> None:
    file = part.open("xb")
    try:
        with file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    if os.name == "posix":  # the rename itself has to reach the disk; Windows cannot sync a directory
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


class ReservedFile:
    """A new file whose room on the disk is taken before there is anything to write.

    Until `write` it has a name of its own, which ends in `.part`. Raises StorageError where there is no room, and
    leaves nothing behind then.
    Also a context manager: leaving it gives the room back where nothing was written.
    """

    def __init__(self, path: Path, size: int) -> None:
        """size: bytes that will be written at most."""
        self._path, self._part = path, beside(path)
        with storage_errors(path):
            try:
                self._fill(bytes(size), "xb")
            except BaseException:
                self.discard()
                raise

    def write(self, data: bytes) -> None:
        """Makes the file, whole and on the disk. Raises StorageError."""
        with storage_errors(self._path):
            self._fill(data, "r+b")
            self._part.replace(self._path)

    def discard(self) -> None:
        """Gives the room back."""
        with contextlib.suppress(OSError):  # what cannot be removed may stay: it has no result in it
            self._part.unlink(missing_ok=True)

    def __enter__(self) -> ReservedFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def _fill(self, data: bytes, mode: str) -> None:
        with self._part.open(mode) as file:
            file.write(data)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Around writing. Raises StorageError for an OSError, with its own file, or `path` where it names none."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        raise StorageError(f"{where}: cannot be written: {error.strerror or error}") from error


def plain(value: Any) -> Any:
    """`value` in the types that YAML and JSON know; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # an array or a number of numpy, which this module does without
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def write_new(path: Path, write: Callable[[TextIO], object]) -> None:
    """Writes a new text file, whole or not at all; one that is there already is left alone. Raises StorageError."""
    with storage_errors(path):
        file = path.open("x", encoding="utf-8", newline="")  # of several that try at once one gets it
        try:
            with file:
                write(file)
        except BaseException:
            path.unlink()
            raise


def require_space(directory: Path, needed: int) -> None:
    """Raises StorageError when `needed` bytes cannot be written in `directory` now.

    Asked before something is done that has to be recorded.
    """
    probe = directory / f"space-{os.urandom(4).hex()}.part"
    try:
        try:
            with probe.open("xb") as file:
                _reserve(file.fileno(), directory, needed)
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"{directory}: {needed / 1e6:.0f} MB are needed for what will be recorded there: {error.strerror or error}"
        ) from error


def _reserve(descriptor: int, directory: Path, needed: int) -> None:
    with contextlib.suppress(AttributeError):  # Windows has no such call
        try:
            os.posix_fallocate(descriptor, 0, needed)
            return
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # the file system has none
                raise
    if shutil.disk_usage(directory).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
