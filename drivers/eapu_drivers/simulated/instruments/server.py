"""A simulated instrument on a TCP port, as an instrument's raw socket is: lines of text, one answer a query.

It can be told to misbehave, once or more often: lose, delay or garble an answer, hang up, report an error.
"""

from __future__ import annotations

import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from eapu_hil.hal import ConfigError

_LOG = logging.getLogger(__name__)
_CHUNK = 65536
_MESSAGE_MAX = 1 << 20  # bytes without an end: the client is hung up on
_CLIENTS_MAX = 32

Kind = Literal["drop", "delay", "garble", "truncate", "repeat", "disconnect", "trip"]


class Device(Protocol):
    """The interface of a dialect: one message in, the bytes of the answer out."""

    def handle(self, message: str) -> bytes:
        """Carries out one message, without its terminator. Returns the answer with its own, b"" where there is none."""
        ...


@runtime_checkable
class Tripping(Protocol):
    """A device with an output that can go off by itself."""

    def trip(self) -> None:
        """It does now, at the first channel."""
        ...


@dataclass
class Mishap:
    """A fault to apply to the answers of messages that match.

    kind: `drop` the answer, `delay` it by `delay_s`, `garble` it (other text), `truncate` it (half of it, no
        terminator), `repeat` it, so that all after it come one question late; `disconnect`: the message is carried
        out, and the line is gone before the answer; `trip`: before the message is carried out the instrument switches
        its output off by itself, as when it is too hot.
    matches: a regular expression searched in the message. count: how often; it runs down.
    """

    kind: Kind
    matches: str = ""
    count: int = 1
    delay_s: float = 0.0

    def hits(self, message: str) -> bool:
        """Whether it happens now; counts."""
        if self.count <= 0 or not re.search(self.matches, message):
            return False
        self.count -= 1
        return True


class Server:
    """Serves one device to up to 32 clients, one message at a time.

    A client that sends a megabyte without an end of message is hung up on; others are served on. What a client does
    not read keeps nobody else waiting.

    mishaps: may be added at any time.
    messages: how many came since the start.
    """

    def __init__(
        self,
        device: Device,
        lock: threading.RLock,
        tick: Callable[[], None],
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """lock: held while a message is carried out; devices of one station share it. tick: called before each message.

        port: 0 for a free one. Raises ConfigError where it cannot be had.
        """
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._listener = socket.create_server((host, port), family=family)
        except OSError as error:
            raise ConfigError(f"{host}:{port}: cannot listen there: {error.strerror or error}") from error
        host_there, port_there = self._listener.getsockname()[:2]
        self._host, self._port = str(host_there), int(port_there)
        self.device = device
        self.mishaps: list[Mishap] = []
        self.messages = 0
        self._lock = lock
        self._tick = tick
        self._clients: set[socket.socket] = set()
        self._closed = False
        self._thread = threading.Thread(target=self._accept, daemon=True, name=f"instrument {self.port}")
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    @property
    def resource(self) -> str:
        """Its VISA resource name."""
        return f"TCPIP0::{self._host}::{self._port}::SOCKET"

    @property
    def closed(self) -> bool:
        """Whether it listens no more."""
        return self._closed

    def close(self) -> None:
        """Hangs up and listens no more."""
        self._closed = True
        with suppress(OSError):  # wakes accept
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5.0)
        self.disconnect()

    def disconnect(self) -> None:
        """Hangs up on every client."""
        for client in list(self._clients):
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if len(self._clients) >= _CLIENTS_MAX:
                _LOG.warning("simulated instrument %d: more than %d clients", self.port, _CLIENTS_MAX)
                client.close()
                continue
            self._clients.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with client:
                for message in _lines(client):
                    if not self._answer(client, message):
                        return
        except OSError as error:
            _LOG.debug("simulated instrument %d: %s", self.port, error)
        finally:
            self._clients.discard(client)

    def _answer(self, client: socket.socket, message: str) -> bool:
        """Whether to go on."""
        mishap = next((one for one in self.mishaps if one.hits(message)), None)
        kind = mishap.kind if mishap is not None else None
        with self._lock:
            self.messages += 1
            self._tick()
            if kind == "trip" and isinstance(self.device, Tripping):
                self.device.trip()
            answer = self.device.handle(message)
        if kind == "disconnect":
            client.shutdown(socket.SHUT_RDWR)
            return False
        if mishap is not None and kind == "delay":
            time.sleep(mishap.delay_s)
        if kind == "garble" and answer:
            answer = b"\x23\x3f not what was asked\n"
        elif kind == "truncate":
            answer = answer[: len(answer) // 2]
        elif kind == "repeat":
            answer += answer
        elif kind == "drop":
            answer = b""
        if answer:
            client.sendall(answer)
        return True


def _lines(client: socket.socket) -> Iterator[str]:
    pending = b""
    while True:
        data = client.recv(_CHUNK)
        if not data:
            return
        *whole, pending = (pending + data).split(b"\n")
        if len(pending) > _MESSAGE_MAX:
            raise OSError(f"a message of more than {_MESSAGE_MAX} bytes")
        for line in whole:
            yield line.decode("latin-1").strip("\r")
