"""How messages get to an instrument: one text line out, one text line back, over PyVISA.

Everything above it (`instrument.py`, the drivers) sees a `Transport` and runs as well on a scripted one.
"""

from __future__ import annotations

import logging
import socket
import threading
from types import TracebackType
from typing import Protocol

import pyvisa
from pyvisa.constants import ResourceAttribute, StatusCode
from pyvisa.resources import MessageBasedResource, TCPIPSocket
from pyvisa_py.tcpip import TCPIPSocketSession

from eapu_drivers.addresses import resource_fault
from eapu_hil.hal import ConfigError, TransportError

_LOG = logging.getLogger(__name__)
BUS = logging.getLogger("eapu_drivers.bus")  # every message both ways, at DEBUG
DEFAULT_TIMEOUT_s = 2.0
_OPEN_s = 5.0
_REOPEN_s = 0.5  # on the way out after a fault


class Transport(Protocol):
    """A line to one instrument. name: how messages call the line, such as `GPIB0::24::INSTR`.

    All methods raise TransportError when the line is gone or silent.
    """

    @property
    def name(self) -> str: ...

    def write(self, message: str) -> None:
        """Sends one message; the line's terminator is added."""
        ...

    def query(self, message: str, timeout_s: float = DEFAULT_TIMEOUT_s) -> str:
        """Sends one message and returns the line that answers it, without its terminator."""
        ...

    def clear(self) -> None:
        """Device clear: ends what runs, as far as the line can, and forgets answers that were not read in time."""
        ...

    def close(self) -> None: ...


class VisaTransport:
    """A VISA resource. A lock keeps the messages of two threads apart: a PyVISA session is not thread-safe.

    Also a context manager that closes it. Raises TransportError when it cannot be opened.
    """

    def __init__(self, resource: str, visa: str = "@py") -> None:
        """visa: which VISA, in PyVISA's words: "@py", "@ivi" or the path of a vendor's library.

        Raises ConfigError for a name that leads elsewhere than to an instrument.
        """
        fault = resource_fault(resource)
        if fault is not None:
            raise ConfigError(f"{resource}: {fault}")
        self._name = resource
        self._visa = visa
        self._lock = threading.RLock()
        self._line: MessageBasedResource | None = self._open(_OPEN_s)
        self._unanswered: str | None = None  # its answer may come late, in place of the next one

    @property
    def name(self) -> str:
        return self._name

    def write(self, message: str) -> None:
        with self._lock:
            BUS.debug("%s <- %s", self._name, message)
            try:
                self._opened(message).write(message)
            except (pyvisa.Error, OSError) as error:
                raise TransportError(
                    f"{self._name}: lost while sending {message!r} ({_text(error)})"
                ) from error

    def query(self, message: str, timeout_s: float = DEFAULT_TIMEOUT_s) -> str:
        with self._lock:
            if self._unanswered is not None:
                raise TransportError(
                    f"{self._name}: {message!r} not sent: {self._unanswered!r} was never answered, "
                    "and a late answer would be taken for this one's"
                )
            self._unanswered = message
            self.write(message)
            line = self._opened(message)
            try:
                line.timeout = round(1e3 * timeout_s)
                answer = line.read()
            except (pyvisa.Error, OSError, UnicodeDecodeError) as error:
                raise TransportError(self._silence(message, timeout_s, error)) from error
            self._unanswered = None
            BUS.debug("%s -> %s", self._name, answer)
            return answer.rstrip("\r")

    def clear(self) -> None:
        """Device clear, where the line has one; where an answer is missing, the resource is opened anew.

        A raw socket has no device clear, and PyVISA-py's does not return when the other side has gone.
        """
        with self._lock:
            BUS.debug("%s <- device clear", self._name)
            line = self._opened("device clear")
            if not isinstance(line, TCPIPSocket):
                try:
                    line.clear()
                except (pyvisa.Error, OSError) as error:
                    raise TransportError(f"{self._name}: device clear failed ({_text(error)})") from error
            if self._unanswered is not None:
                line.close()
                self._line = None
                self._line = self._open(_REOPEN_s)
                self._unanswered = None

    def close(self) -> None:
        """Closes the resource; nothing more can be sent. A second call does nothing."""
        with self._lock:
            line, self._line = self._line, None
            if line is not None:
                line.close()

    def __enter__(self) -> VisaTransport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, timeout_s: float) -> MessageBasedResource:
        try:
            manager = pyvisa.ResourceManager(self._visa)
            opened = manager.open_resource(self._name, open_timeout=round(1e3 * timeout_s))
        except Exception as error:
            raise TransportError(
                f"{self._name}: cannot be opened ({_text(error)}); see `eapu-hil discover`"
            ) from error
        if not isinstance(opened, MessageBasedResource):
            opened.close()
            raise TransportError(
                f"{self._name}: does not take text messages, so it cannot be an instrument of this bench"
            )
        if isinstance(opened, TCPIPSocket):
            _send_at_once(opened)
        opened.read_termination = opened.write_termination = "\n"
        return opened

    def _opened(self, message: str) -> MessageBasedResource:
        if self._line is None:
            raise TransportError(f"{self._name}: the line is closed, so {message!r} was not sent")
        return self._line

    def _silence(self, message: str, timeout_s: float, error: Exception) -> str:
        if isinstance(error, pyvisa.VisaIOError) and error.error_code == StatusCode.error_timeout:
            return f"{self._name}: no answer to {message!r} within {timeout_s:.3g} s"
        if isinstance(error, UnicodeDecodeError):
            return f"{self._name}: {message!r} was answered with bytes that are no text"
        return f"{self._name}: lost while {message!r} was to be answered ({_text(error)})"


def _send_at_once(line: TCPIPSocket) -> None:
    """Otherwise a message waits, 40 ms, until the one before it is acknowledged.

    PyVISA-py knows the attribute but cannot set it, so there its socket is set.
    """
    sessions = getattr(line.visalib, "sessions", {})
    session = sessions.get(line.session) if isinstance(sessions, dict) else None
    if isinstance(session, TCPIPSocketSession):
        session.interface.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    else:
        line.set_visa_attribute(ResourceAttribute.tcpip_nodelay, True)


def _text(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
