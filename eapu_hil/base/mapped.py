"""Memory-mapped arrays in `.npy` files that say, behind their values, whose they are; numpy passes over that.

What is stored in such an array is in the file at once, and survives `kill -9`. The values change while the file is in
use, so that it carries no checksum of them: whoever keeps such files notes one when they do not change any more.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.errors import ConfigError, one_line
from eapu_hil.base.npz import DAMAGE, read_header
from eapu_hil.base.old_names import rename_old_file
from eapu_hil.base.storage import storage_errors, write_aside

FROM_A_COPY = "put it back from a copy of the chip's directory"
_LABEL_BYTES = 256  # one line of JSON, filled up with blanks


class MappedFile:
    """One array in its file. values: a plain view of it, because arithmetic on a memmap is slower."""

    def __init__(
        self,
        path: Path,
        initial: NDArray[Any],
        owner: Mapping[str, str | int],
        *,
        holds: str,
        known: bool,
        takes_old: bool,
    ) -> None:
        """Opens the file, or makes it of `initial`, complete or not at all.

        owner: what the file has to say of itself; empty: it may be anybody's. holds: what is in it, for messages.
        known: it was made earlier. takes_old: one of an older version, which says nothing, is renamed and says it from
        now on. One of double precision, where `initial` is of single, is rewritten. Raises ConfigError when the file is
        missing, damaged, of another shape or another owner's.
        """
        self.path = path
        self._owner = owner
        with storage_errors(path):
            if takes_old:
                rename_old_file(path)
            if not path.exists():
                if known:
                    raise ConfigError(f"{path}: missing: {holds} was kept in it; {FROM_A_COPY}")
                self._write(initial)
            wider = initial.dtype == np.float32 and header_of(path, holds)[1] == np.float64
            values, label = read_mapped(path, initial.astype(np.float64) if wider else initial, holds)
            unlabelled = bool(not label and owner and takes_old)
            if owner and not unlabelled:
                _require_label(path, label, owner)
            if wider or unlabelled:
                self._write(values.astype(initial.dtype))
            self._mapped = np.lib.format.open_memmap(path, mode="r+")
        self.values: NDArray[Any] = self._mapped.view(np.ndarray)

    def checksum(self) -> int:
        """Of the values."""
        return _crc32(self.values)

    def flush(self) -> None:
        """Returns when the values are on the disk."""
        self._mapped.flush()

    def close(self) -> None:
        """Gives the file free."""
        self.values = np.zeros(0)
        del self._mapped

    def _says(self) -> bytes:
        return json.dumps(dict(self._owner)).encode().ljust(_LABEL_BYTES - 1) + b"\n" if self._owner else b""

    def _write(self, values: NDArray[Any]) -> None:
        def write(file: BinaryIO) -> None:
            np.save(file, values)
            file.write(self._says())

        write_aside(self.path, write)


def header_of(path: Path, holds: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of the values in a file. Raises ConfigError for a damaged one."""
    try:
        with path.open("rb") as file:
            shape, _, dtype = read_header(file)
    except DAMAGE as error:
        raise _damaged(path, f"{holds} cannot be opened: {one_line(error)}") from error
    return shape, dtype


def require_label(path: Path, owner: Mapping[str, str | int]) -> None:
    """Raises ConfigError where a file does not say that it is `owner`'s."""
    _require_label(path, path.read_bytes()[-_LABEL_BYTES:], owner)


def _require_label(path: Path, label: bytes, owner: Mapping[str, str | int]) -> None:
    if not label:
        raise _damaged(
            path,
            "it does not say of which chip it is; perhaps it is of an older version, beside files of this one",
        )
    try:
        if len(label) != _LABEL_BYTES:
            raise ValueError(f"{len(label)} bytes")
        found = json.loads(label)
        differs = [key for key in owner if found[key] != owner[key]]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, "what it says of its chip cannot be read") from error
    if differs:
        key = differs[0]
        raise ConfigError(
            f"{path}: another file was put in its place: {key} {found[key]}, expected {owner[key]}; {FROM_A_COPY}"
        )


def _damaged(path: Path, how: str) -> ConfigError:
    return ConfigError(f"{path}: damaged: {how}; {FROM_A_COPY}")


def damaged(path: Path) -> ConfigError:
    """For a file whose checksum is not that of its values."""
    return ConfigError(
        f"{path}: damaged, or changed by hand: its checksum does not fit its content; {FROM_A_COPY}"
    )


def read_mapped(path: Path, like: NDArray[Any], holds: str) -> tuple[NDArray[Any], bytes]:
    """The values of a file, and what stands behind them. Raises ConfigError for a torn one, or one of another shape."""
    try:
        with path.open("rb") as file:
            shape, columns_first, dtype = read_header(file)
            begin = file.tell()
            content = file.read(like.nbytes + _LABEL_BYTES + 1)
    except DAMAGE as error:
        raise ConfigError(
            f"{path}: damaged: {holds} cannot be opened: {one_line(error)}; {FROM_A_COPY}"
        ) from error
    if shape != like.shape or dtype != like.dtype or columns_first:
        raise ConfigError(
            f"{path}: holds {dtype} of shape {shape}; expected {like.dtype} of shape {like.shape}"
        )
    if len(content) < like.nbytes:
        raise ConfigError(
            f"{path}: damaged: cut short to {begin + len(content)} bytes of {begin + like.nbytes} or more; "
            f"{FROM_A_COPY}"
        )
    return np.frombuffer(content[: like.nbytes], dtype).reshape(shape), content[like.nbytes :]


def _crc32(values: NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
