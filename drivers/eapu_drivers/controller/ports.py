"""The line to a board: a serial port by any pyserial URL, or a connected socket.

A port does not block in `write`, and another thread can end its `read` with `wake`: so one thread can own it and
still send at once what the others ask for.
"""

from __future__ import annotations

import contextlib
import io
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Protocol
from urllib.parse import urlsplit

import serial

from eapu_drivers.addresses import HANDLERS, port_fault
from eapu_hil.base.locks import device_name, network_name, own
from eapu_hil.hal import ConfigError, TransportError

BAUD = 1_000_000  # USB adapters and boards with native USB take it; a pty or a socket ignores it
_CHUNK = 65_536
_SOCKET = "socket://"
_CONNECT_s = 1.0
_POLL_s = 0.002  # of serial ports that have no file descriptor to wait for


class Port(Protocol):
    """One open line to a controller. Every method but `wake` belongs to the thread that reads.

    `read` and `write` raise TransportError when the line is gone.
    """

    @property
    def name(self) -> str: ...

    def read(self, timeout_s: float, sending: bool = False) -> bytes:
        """Bytes that have arrived: b"" after `timeout_s`, after `wake`, or once the line takes bytes if `sending`."""
        ...

    def write(self, data: bytes) -> int:
        """How many of the bytes the line took."""
        ...

    def wake(self) -> None:
        """Ends the running `read`, or the next one, at once; any thread may call it, also after `close`."""
        ...

    def close(self) -> None: ...


def open_within(limit_s: float, open_port: Callable[[], Port]) -> Port:
    """The port, opened on a thread of its own: some, as those of Bluetooth adapters, may hang for ever.

    Raises TransportError when it takes longer than `limit_s`; one that opens later is closed again.
    """
    opened: Future[Port] = Future()

    def work() -> None:
        try:
            port = open_port()
        except BaseException as error:  # noqa: BLE001 - for whoever waits, whatever it is
            if opened.set_running_or_notify_cancel():
                opened.set_exception(error)
            return
        if opened.set_running_or_notify_cancel():
            opened.set_result(port)
        else:
            port.close()

    threading.Thread(target=work, name="controller-port", daemon=True).start()
    try:
        return opened.result(limit_s)
    except TimeoutError:
        if opened.cancel():
            raise TransportError(f"the port did not open within {limit_s:g} s") from None
        return opened.result()  # it opened at the last moment


class _Waiter:
    """Waits for a file descriptor and for `wake`, whichever comes first."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._ear, self._mouth = socket.socketpair()
        self._ear.setblocking(False)
        self._mouth.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._ear, selectors.EVENT_READ)
        self._selector.register(fd, selectors.EVENT_READ)
        self._sending = False

    def wait(self, timeout_s: float, sending: bool) -> bool:
        """Whether there is something to read, be it the end of the line."""
        if sending != self._sending:
            self._selector.modify(self._fd, selectors.EVENT_READ | (selectors.EVENT_WRITE if sending else 0))
            self._sending = sending
        readable = False
        for key, events in self._selector.select(max(timeout_s, 0.0)):
            if key.fd == self._fd:
                readable = bool(events & selectors.EVENT_READ)
            else:
                self._ear.recv(_CHUNK)
        return readable

    def wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it will wake anyway; closed: nobody waits
            self._mouth.send(b"\0")

    def close(self) -> None:
        self._selector.close()
        self._ear.close()
        self._mouth.close()


class _DescriptorPort:
    """A line with a file descriptor. `receive` and `send` must not block."""

    def __init__(
        self, name: str, fd: int, receive: Callable[[int], bytes], send: Callable[[bytes], int]
    ) -> None:
        self.name = name
        self._waiter = _Waiter(fd)
        self._receive, self._send = receive, send

    def read(self, timeout_s: float, sending: bool = False) -> bytes:
        try:
            if not self._waiter.wait(timeout_s, sending):
                return b""
            data = self._receive(_CHUNK)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise TransportError(f"{self.name}: lost ({error.strerror or error})") from error
        if not data:
            raise TransportError(f"{self.name}: lost (closed by the other side)")
        return data

    def write(self, data: bytes) -> int:
        try:
            return self._send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise TransportError(f"{self.name}: lost ({error.strerror or error})") from error

    def wake(self) -> None:
        self._waiter.wake()

    def close(self) -> None:
        self._waiter.close()


class SocketPort(_DescriptorPort):
    """A connected stream socket, which it owns from now on."""

    def __init__(self, connected: socket.socket, name: str) -> None:
        connected.setblocking(False)
        super().__init__(name, connected.fileno(), connected.recv, connected.send)
        self._socket = connected

    def close(self) -> None:
        super().close()
        self._socket.close()


class _PolledPort:
    """A serial port without a descriptor: asked again and again, which costs up to `_POLL_s` a round trip."""

    def __init__(self, name: str, line: serial.SerialBase) -> None:
        self.name = name
        self._serial = line
        self._woken = False

    def read(self, timeout_s: float, sending: bool = False) -> bytes:  # noqa: ARG002 (its write waits)
        end_s = time.monotonic() + timeout_s
        try:
            while True:
                # the port's own timeout stays as it was opened: changing it on an open port is slow or loses bytes
                data: bytes = self._serial.read(self._serial.in_waiting or 1)
                if data or self._woken or time.monotonic() >= end_s:
                    self._woken = False
                    return data
        except (OSError, TypeError) as error:  # TypeError: pyserial's, when the port is closed meanwhile
            raise TransportError(f"{self.name}: lost ({error})") from error

    def write(self, data: bytes) -> int:
        try:
            self._serial.write(data)
        except OSError as error:
            raise TransportError(f"{self.name}: lost ({error})") from error
        return len(data)

    def wake(self) -> None:
        self._woken = True

    def close(self) -> None:
        return


class SerialPort:
    """A serial port by name (`/dev/ttyACM0`, `COM3`) or pyserial URL (`socket://host:port`, `rfc2217://...`).

    It is opened for this process alone. handlers: kinds of URLs that may be opened. Raises ConfigError for another
    kind, TransportError when it does not open, InUseError (one too) when another program has it.
    """

    def __init__(self, url: str, handlers: Collection[str] = HANDLERS) -> None:
        fault = port_fault(url, handlers)
        if fault is not None:
            raise ConfigError(f"{url}: {fault}")
        self.name = url
        with ExitStack() as opened:
            device = _device_of(url)
            if device is not None:
                opened.enter_context(own(device, f"{url}: cannot be opened"))
            self._open(url)
            self._owned = opened.pop_all()

    def _open(self, url: str) -> None:
        self._serial: serial.SerialBase | None = None
        if url.startswith(_SOCKET):
            self._port: Port = SocketPort(_connect(url), url)
            return
        try:
            line = serial.serial_for_url(url, BAUD, timeout=_POLL_s, write_timeout=1.0, exclusive=True)
        except (OSError, ValueError) as error:
            number = getattr(error, "errno", None)  # pyserial says it twice, with the number
            reason = (
                os.strerror(number) if number else str(error).removeprefix(f"could not open port {url}: ")
            )
            raise TransportError(f"{url}: cannot be opened ({reason}); see `eapu-hil discover`") from error
        self._serial = line
        # A pty, a socket and other systems have no such thing.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            line.set_low_latency_mode(True)  # USB adapters otherwise hold bytes back for 16 ms
        self._port = _PolledPort(url, line)
        if os.name == "posix":  # elsewhere a descriptor is no file that os.read takes
            with contextlib.suppress(io.UnsupportedOperation):
                fd: int = line.fileno()
                self._port = _DescriptorPort(
                    url, fd, lambda count: os.read(fd, count), lambda data: os.write(fd, data)
                )

    def read(self, timeout_s: float, sending: bool = False) -> bytes:
        return self._port.read(timeout_s, sending)

    def write(self, data: bytes) -> int:
        return self._port.write(data)

    def wake(self) -> None:
        self._port.wake()

    def close(self) -> None:
        with self._owned:
            self._port.close()
            if self._serial is not None:
                with contextlib.suppress(OSError):  # a device that was unplugged
                    self._serial.close()


def _device_of(url: str) -> str | None:
    """The one name of what a port's name leads to, as the locks take it; None for what is within this process."""
    scheme, there, rest = url.partition("://")
    if not there:
        return device_name(url)
    match scheme.lower():
        case "loop":
            return None
        case "socket" | "rfc2217":
            with contextlib.suppress(ValueError):  # opening it says what is wrong
                parts = urlsplit(url)
                return network_name(parts.hostname or "", parts.port or 0)
        case "spy" | "alt":
            return device_name(rest.partition("?")[0])
    return url


def _connect(url: str) -> socket.socket:
    """pyserial's own socket:// sleeps when it is closed, and leaves its socket open when the other side was first."""
    try:
        parts = urlsplit(url)
        connected = socket.create_connection((parts.hostname or "", parts.port or 0), _CONNECT_s)
    except (OSError, ValueError) as error:
        raise TransportError(f"{url}: cannot be opened ({error}); is the other side listening?") from error
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected
