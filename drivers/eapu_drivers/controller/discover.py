"""Looks for controllers at every serial port of this machine."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from serial.tools import list_ports

from eapu_drivers.controller.link import Link, LinkTiming
from eapu_drivers.controller.messages import BoardState
from eapu_drivers.controller.ports import Port, SerialPort
from eapu_hil.base.locks import InUseError
from eapu_hil.hal import HilError, TransportError

_TIMING = LinkTiming(hello_s=1.0, reconnect_s=0.0)
_AT_ONCE = 16
_IN_USE = (errno.EBUSY, errno.EAGAIN, errno.EACCES)


@dataclass(frozen=True)
class FoundController:
    """One serial port. problem: why no controller was found there; "" where there is one, and only then the rest holds.

    arrays, rows, columns: what it has. state: in the words of the protocol.
    """

    port: str
    problem: str = ""
    board: str = ""
    serial: str = ""
    git_hash: str = ""
    arrays: int = 0
    rows: int = 0
    columns: int = 0
    state: str = ""

    @property
    def geometry(self) -> str:
        """For a table: arrays x rows x columns."""
        return "" if self.problem else f"{self.arrays} x {self.rows} x {self.columns}"


def find_controllers(
    ports: Iterable[str] | None = None, open_port: Callable[[str], Port] = SerialPort
) -> list[FoundController]:
    """Asks every serial port with HELLO, all at once; an answer takes a second at most.

    HELLO begins a new connection: a board that some other program uses over a port that is not locked grounds its
    lines and forgets its limits. ports: their names; None means every port that the system lists.
    """
    names = sorted(port.device for port in list_ports.comports()) if ports is None else list(ports)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda name: _ask(name, open_port), names))


def _ask(name: str, open_port: Callable[[str], Port]) -> FoundController:
    try:
        with Link(lambda: open_port(name), _TIMING) as link:
            welcome = link.welcome
    except InUseError as error:
        return FoundController(name, str(error).removeprefix(f"{name}: "))
    except TransportError as error:
        return FoundController(name, _why(error))
    except HilError as error:
        return FoundController(name, str(error).removeprefix(f"{name}: "))
    state = BoardState(welcome.state).name if welcome.state in list(BoardState) else str(welcome.state)
    return FoundController(
        name,
        "",
        welcome.board,
        welcome.serial,
        welcome.git_hash,
        welcome.arrays,
        welcome.rows,
        welcome.cols,
        state,
    )


def _why(error: TransportError) -> str:
    cause = error.__cause__
    if isinstance(cause, OSError):
        if cause.errno in _IN_USE:
            return f"busy, or not allowed ({cause.strerror or cause})"
        return f"cannot be opened ({cause.strerror or cause})"
    return "no answer"
