"""One owner at a time, on this machine and for all its users: of a chip, a run, an instrument, a serial port.

The operating system holds each lock (through `filelock`): it ends with the process, however that ends. A file or
directory has its lock file in itself. A device has one in a system directory that every user can write:

    /run/lock or /tmp    with the sticky bit, so that nobody takes away the file of another user
    C:\\Users\\Public      on Windows

Every user may take the lock of a device, also where somebody else's process left the file behind. Links are not
followed: what they point to would be written over.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import os
import re
import socket
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import lock_descriptor, unlock_descriptor

from eapu_hil.base.errors import ConfigError, TransportError
from eapu_hil.base.storage import storage_errors

_SYSTEM_DIRECTORIES = ("/run/lock", "/tmp")
_POLL_s = 0.02
_ATTEMPTS = 100  # with files that vanish while they are opened
_OWNER_AT = 1 if sys.platform == "win32" else 0  # Windows locks the first byte and lets nobody else read it
_NOFOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCK: int = getattr(os, "O_NONBLOCK", 0)  # a pipe that lies in place of the file must not hold us up


class InUseError(ConfigError, TransportError):
    """Somebody else owns it; the message names the process. Asked for in vain (exit 2), and a line not to be had."""


@contextlib.contextmanager
def own(place: Path | str, what: str, within_s: float = 0.0) -> Iterator[None]:
    """Makes this process the only one that uses `place`, and in it only this caller.

    place: a lock file (Path), made where it is absent and removed at the end; or the one name of a device (str),
        such as `device_name` and `network_name` make.
    what: the beginning of the message. within_s: how long to wait for an owner that is about to end.
    Raises InUseError where somebody else owns it, ConfigError where the file is not one to be locked, StorageError
    where it cannot be written.
    """
    shared = isinstance(place, str)
    path = _system_file(place) if isinstance(place, str) else place
    process = os.getpid()
    with storage_errors(path):
        descriptor = _locked(path, what, within_s, shared)
    try:
        with storage_errors(path):
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, _OWNER_AT, os.SEEK_SET)
            os.write(descriptor, f"{process}\n".encode())
        yield
    finally:
        # A forked child has a copy of the descriptor, and of the lock: only closing it is the child's to do.
        mine = os.getpid() == process
        if mine and sys.platform != "win32":
            # While it is locked: whoever waits finds out and opens a new file.
            with contextlib.suppress(OSError):  # of another user, whose directory it lies in
                path.unlink()
        if mine:
            unlock_descriptor(descriptor)
        os.close(descriptor)
        if mine and sys.platform == "win32":  # there nobody removes an open file
            with contextlib.suppress(OSError):
                path.unlink()


def holder_of(lock_file: Path) -> int | None:
    """The process that owns a lock file now, None where nobody does; -1 where it has not said its number yet.

    Where no process of this machine is seen to have it, the lock is tried for an instant: whoever takes it with `own`
    just then has to wait. Raises OSError where the file cannot be opened.
    """
    process = local_holder(lock_file)
    if process is not None:
        return process
    try:
        descriptor = os.open(lock_file, os.O_RDWR | _NOFOLLOW | _NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        if lock_descriptor(descriptor, blocking=False):
            unlock_descriptor(descriptor)
            return None
        number = _number_in(descriptor)
        return -1 if number is None else number
    finally:
        os.close(descriptor)


def local_holder(lock_file: Path) -> int | None:
    """The process of this machine that owns a lock file, to be signalled; None where none has it, or none can be told.

    On Linux the system says so itself, of processes of the same user: the number in a file that a crash has left, or
    another machine has written, stands for nothing. Elsewhere it is that number, if the file is locked.
    """
    try:
        descriptor = os.open(lock_file, os.O_RDWR | _NOFOLLOW | _NONBLOCK)
    except OSError:
        return None
    try:
        process = _number_in(descriptor)
        if process is None:
            return None
        if Path("/proc/self/fdinfo").is_dir():
            return process if _has_locked(process, os.fstat(descriptor)) else None
        if lock_descriptor(descriptor, blocking=False):
            unlock_descriptor(descriptor)
            return None
        return process
    except OSError:
        return None
    finally:
        os.close(descriptor)


def was_left_by(lock_file: Path, process: int) -> bool:
    """Whether `process`, which has ended, left the file behind: it was killed, or crashed, on no way out of `own`."""
    try:
        descriptor = os.open(lock_file, os.O_RDWR | _NOFOLLOW | _NONBLOCK)
    except OSError:
        return False
    try:
        return _number_in(descriptor) == process
    finally:
        os.close(descriptor)


def _number_in(descriptor: int) -> int | None:
    """The process number in a lock file; None where its owner has not written it yet."""
    os.lseek(descriptor, _OWNER_AT, os.SEEK_SET)
    number = os.read(descriptor, 20).strip()
    return int(number) if number.isdigit() else None


def device_name(path: str) -> str:
    """The one name of a serial port: links of `/dev/serial/by-id` lead to it, and Windows takes any letter case."""
    windows = re.fullmatch(r"(?:\\\\\.\\)?(com\d+)", path, re.IGNORECASE)
    return windows[1].upper() if windows else os.path.realpath(path)


def network_name(host: str, port: int | str) -> str:
    """The one name of an address, however it is written: by the number that the host's name stands for."""
    host = host.strip("[]").lower()
    try:
        host = str(ipaddress.ip_address(host))
    except ValueError:
        with contextlib.suppress(OSError):  # nobody of that name: opening it will say so
            host = socket.gethostbyname(host)
    return f"{host}:{port}"


def _system_file(name: str) -> Path:
    readable = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:60]
    return _system_directory() / f"eapu-hil-{readable}-{hashlib.sha256(name.encode()).hexdigest()[:12]}.lock"


def _system_directory() -> Path:
    """The same one for every user, whatever their environment says. Raises ConfigError."""
    if sys.platform == "win32":
        return Path(os.environ.get("PUBLIC", r"C:\Users\Public"))
    for name in _SYSTEM_DIRECTORIES:
        with contextlib.suppress(OSError):
            mode = os.stat(name).st_mode  # noqa: PTH116 - a link there is the system's own
            if stat.S_ISDIR(mode) and mode & 0o1777 == 0o1777:
                return Path(name).resolve()
    raise ConfigError(
        f"{' and '.join(_SYSTEM_DIRECTORIES)}: neither is a directory of mode 1777; locks of instruments need one "
        "that every user can write"
    )


def _locked(path: Path, what: str, within_s: float, shared: bool) -> int:
    """An open descriptor of the file, which is locked and lies at `path`."""
    end_s = time.monotonic() + within_s
    for _ in range(_ATTEMPTS):
        descriptor = _opened(path, shared)
        try:
            while not lock_descriptor(descriptor, blocking=False):
                if time.monotonic() >= end_s:
                    raise InUseError(f"{what}: in use by {_owner(descriptor)}")
                time.sleep(_POLL_s)
            if _lies_at(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the owner before us removed it meanwhile
    raise InUseError(f"{what}: in use by programs that come and go; allowed is one at a time")


def _opened(path: Path, shared: bool) -> int:
    flags = os.O_RDWR | _NOFOLLOW | _NONBLOCK
    try:
        # Not without O_EXCL: with it alone systems let nobody open another user's file in such a directory.
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        descriptor = _opened_as_it_is(path, flags)
    else:
        if shared and sys.platform != "win32":
            os.fchmod(descriptor, 0o666)  # the umask of the first user must not keep the others out
    return descriptor


def _opened_as_it_is(path: Path, flags: int) -> int:
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:  # removed in between
        return os.open(path, flags | os.O_CREAT, 0o666)
    except OSError as error:
        if path.is_symlink():
            raise _unsuitable(path) from error
        raise
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode) or state.st_nlink > 1:
        os.close(descriptor)
        raise _unsuitable(path)
    return descriptor


def _unsuitable(path: Path) -> ConfigError:
    return ConfigError(f"{path}: not a plain file, so it is no lock of ours; remove it")


def _lies_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _owner(descriptor: int) -> str:
    """The end of the message: who has it, as far as the file says, and what to do."""
    number = _number_in(descriptor)
    if number is None:
        return "another process; allowed is one at a time: end it first"
    if number == os.getpid():
        return f"process {number}; allowed is one at a time: this program has it open already"
    return f"process {number}; allowed is one at a time: end that process first"


def _has_locked(process: int, file: os.stat_result) -> bool:
    """Whether Linux says that `process` has `file` open and holds the lock of it."""
    mark = re.compile(rb"^lock:.*\bFLOCK\b.*\b%d\b" % process, re.MULTILINE)
    try:
        for opened in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                same = os.path.samestat(opened.stat(), file)
                if same and mark.search(Path(f"/proc/{process}/fdinfo/{opened.name}").read_bytes()):
                    return True
    except OSError:  # it has ended, or is another user's
        return False
    return False
