"""Archives of arrays (`.npz`), read so that no file can make this process take more memory than it may."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.errors import HilError, one_line
from eapu_hil.base.storage import write_aside

MOST_BYTES = 4 << 30  # of all arrays of one file
_SUFFIX = ".npy"
# What the readers of zip archives and of arrays pass on when they follow damaged fields, such as a flag "encrypted".
DAMAGE = (
    OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, MemoryError, SyntaxError,
    TypeError, OverflowError, KeyError, tokenize.TokenError,
)  # fmt: skip


class DamagedError(HilError):
    """A file is torn, was changed, or is not what it should be. It is not used."""


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]], *, compressed: bool = False) -> None:
    """Replaces `path` as a whole. Raises OSError; see `storage_errors`."""
    save = np.savez_compressed if compressed else np.savez
    content: dict[str, Any] = dict(arrays)
    write_aside(path, lambda file: save(file, allow_pickle=False, **content))


def read_npz(path: Path, most_bytes: int = MOST_BYTES) -> dict[str, NDArray[Any]]:
    """All arrays of an archive. Nothing in it is executed.

    Raises FileNotFoundError when there is none; DamagedError when it is no whole archive or when its arrays take
    more than `most_bytes`, before memory is taken for them.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            if len(set(names)) < len(names) or not all(name.endswith(_SUFFIX) for name in names):
                raise ValueError("not an archive of arrays")
            if (size := sum(member.file_size for member in members)) > most_bytes:
                raise ValueError(f"its arrays take {size} bytes; allowed are {most_bytes}")
            return {name.removesuffix(_SUFFIX): read_member(archive, name) for name in names}
    except FileNotFoundError:
        raise
    except DAMAGE as error:
        raise DamagedError(f"{path}: damaged: {one_line(error)}") from error


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """What an array says of itself: shape, whether columns come first, type. Raises ValueError for what is none."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"format {version} of an array")


def read_member(archive: zipfile.ZipFile, name: str, most_bytes: int = MOST_BYTES) -> NDArray[Any]:
    """One array of an open archive. Raises ValueError, and what zipfile raises, for what is none or is too large."""
    size = archive.getinfo(name).file_size
    if size > most_bytes:
        raise ValueError(f"{name}: its array takes {size} bytes; allowed are {most_bytes}")
    with archive.open(name) as member:
        shape, _, dtype = read_header(member)
        if dtype.hasobject or member.tell() + math.prod(shape) * dtype.itemsize != size:
            raise ValueError(f"{name}: {dtype} of shape {shape} in {size} bytes")
    with archive.open(name) as member:
        array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
        if member.read(1):  # the checksum is compared at the end only
            raise ValueError(f"{name}: longer than its array")
    return array
