"""A simulated controller for any client: its serial line on a TCP port or a pseudo-terminal."""

from __future__ import annotations

import ipaddress
import logging
import os
import select
import socket
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from eapu_drivers.simulated.board.rig import Rig
from eapu_hil.hal import ConfigError, TransportError

_LOG = logging.getLogger(__name__)
_CHUNK = 65536
_PATIENCE_s = 2.0  # with a client that does not read

PTY = "pty"


class Line(Protocol):
    """Where clients come and go, one at a time. address: for the `port` of a bench file."""

    address: str

    def fileno(self) -> int:
        """The file descriptor to wait on: readable when a client comes, sends or goes."""
        ...

    def receive(self) -> bytes:
        """The bytes that a client sent; none when it came or went."""
        ...

    def send(self, data: bytes) -> None:
        """To the client, where there is one that reads."""
        ...

    def close(self) -> None: ...


def serve(rig: Rig, line: Line) -> None:
    """Carries bytes between `line` and the simulated board. Raises TransportError when the board has ended."""
    while True:
        ready, _, _ = select.select([rig.host.fileno(), line.fileno()], [], [])
        try:
            if rig.host.fileno() in ready:
                data = rig.host.recv(_CHUNK)
                if not data:
                    raise TransportError(rig.ending())
                line.send(data)
            if line.fileno() in ready:
                rig.host.sendall(line.receive())
        except ConnectionError:
            raise TransportError(rig.ending()) from None


@contextmanager
def listening(where: str) -> Iterator[Line]:
    """The line at `where`: HOST:PORT (port 0: a free one) or pty. Raises ConfigError where that cannot be."""
    line = _opened(where)
    try:
        yield line
    finally:
        line.close()


def host_and_port(where: str, also: str = "") -> tuple[str, int]:
    """HOST:PORT taken apart. also: what else would have been allowed, for the message. Raises ConfigError."""
    host, colon, port = where.rpartition(":")
    if not (host and colon and port.isdecimal() and int(port) < 65536):
        raise ConfigError(f"--listen {where}: expected HOST:PORT{also}")
    return host.strip("[]"), int(port)


def require_loopback(host: str, where: str) -> None:
    """Raises ConfigError where `host` is not this machine alone: everybody who reaches it controls what is served."""
    try:
        alone = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: nobody knows what it leads to
        alone = False
    if not alone:
        raise ConfigError(
            f"--listen {where}: anyone on the network could control it; listen on 127.0.0.1, or add --open-to-network"
        )


def _opened(where: str) -> Line:
    if where == PTY:
        return _PseudoTerminal()
    host, port = host_and_port(where, f" or {PTY}")
    try:
        return _TcpPort(host, port)
    except OSError as error:
        raise ConfigError(f"--listen {where}: {error.strerror or error}") from error


class _TcpPort:
    """A TCP port. A second client waits until the first has gone."""

    def __init__(self, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family)
        self._client: socket.socket | None = None
        shown = f"[{host}]" if ":" in host else host
        self.address = f"socket://{shown}:{self._listener.getsockname()[1]}"

    def fileno(self) -> int:
        return (self._client or self._listener).fileno()

    def receive(self) -> bytes:
        if self._client is None:
            self._client, _ = self._listener.accept()
            self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._client.settimeout(_PATIENCE_s)
            _LOG.info("%s: a client has connected", self.address)
            return b""
        return self._with_client(lambda client: client.recv(_CHUNK)) or self._gone()

    def send(self, data: bytes) -> None:
        if self._client is not None:
            self._with_client(lambda client: client.sendall(data))

    def close(self) -> None:
        self._listener.close()
        if self._client is not None:
            self._client.close()

    def _with_client(self, act: Callable[[socket.socket], bytes | None]) -> bytes | None:
        assert self._client is not None
        try:
            return act(self._client)
        except (ConnectionError, TimeoutError) as error:
            _LOG.warning("%s: the connection to the client is dropped: %s", self.address, error)
            self._client.close()
            self._client = None
            return None

    def _gone(self) -> bytes:
        if self._client is not None:
            self._client.close()
            self._client = None
            _LOG.info("%s: the client has disconnected", self.address)
        return b""


class _PseudoTerminal:
    """A pseudo-terminal. It does not tell whether a client is there."""

    def __init__(self) -> None:
        # The clients' side stays open here too: the line outlives each of them.
        self._ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        os.set_blocking(self._ours, False)
        self.address = os.ttyname(self._theirs)

    def fileno(self) -> int:
        return self._ours

    def receive(self) -> bytes:
        return os.read(self._ours, _CHUNK)

    def send(self, data: bytes) -> None:
        """Without a reader the line holds a few kB; the rest is lost, as on a cable that nobody listens to."""
        while data:
            _, ready, _ = select.select([], [self._ours], [], 0.1)
            if not ready:
                return
            data = data[os.write(self._ours, data) :]

    def close(self) -> None:
        os.close(self._ours)
        os.close(self._theirs)
