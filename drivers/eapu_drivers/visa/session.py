"""PyVISA's lines as they need to be: locked, with an end to each wait, and with errors that say what to do."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyvisa
from pyvisa.constants import ResourceAttribute, StatusCode
from pyvisa.resources import MessageBasedResource, TCPIPSocket
from pyvisa_py.tcpip import TCPIPSocketSession

from eapu_hil.base.errors import one_line
from eapu_hil.hal import TransportError

_LOG = logging.getLogger(__name__)
_LOCK_s = 0.2  # for another program to be done with it


def no_library(visa: str, error: Exception) -> str:
    """The sentence for a VISA library that is not there."""
    return (
        f"instruments.visa: {visa!r}: this machine has no such VISA library ({one_line(error)}); "
        '"@py" needs no vendor\'s library, "@ivi" takes the vendor\'s that is installed'
    )


def why_not_opened(error: Exception) -> str:
    """What is missing, and what to do: PyVISA's own words are for programmers."""
    text = one_line(error)
    if "linux-gpib" in text or "gpib_ctypes" in text or "'gpib'" in text:
        return (
            "GPIB needs a library that this machine does not have: install linux-gpib and its Python package, or a "
            'vendor\'s VISA and write instruments.visa: "@ivi"'
        )
    if "PyUSB" in text or "'usb'" in text:
        return 'USB needs PyUSB: pip install pyusb, or a vendor\'s VISA and instruments.visa: "@ivi"'
    if "PySerial" in text:
        return "a serial line needs pyserial: pip install pyserial"
    if isinstance(error, pyvisa.VisaIOError) and error.error_code == StatusCode.error_resource_locked:
        return "another program has locked it"
    return f"cannot be opened ({text}); see `eapu-hil discover`"


def lock(line: MessageBasedResource) -> None:
    """A VISA lock, where the library and the line have one: other programs that ask VISA are kept out.

    Raises TransportError where another program holds it.
    """
    try:
        line.lock_excl(1e3 * _LOCK_s)
    except pyvisa.VisaIOError as error:
        if error.error_code in (StatusCode.error_resource_locked, StatusCode.error_timeout):
            raise TransportError(
                f"{line.resource_name}: another program has locked it; end that one first"
            ) from error
        _LOG.debug("%s: has no VISA lock (%s)", line.resource_name, one_line(error))
    except (NotImplementedError, AttributeError) as error:
        _LOG.debug("%s: has no VISA lock (%s)", line.resource_name, one_line(error))


class _Watched:
    """A socket of PyVISA-py that gives nothing more after `deadline`, in s of the monotonic clock.

    PyVISA-py counts its timeout anew with every byte that comes, so an answer that drips would last for ever; and it
    asks a socket that the other side has closed again and again.
    """

    def __init__(self, inner: socket.socket) -> None:
        self._inner = inner
        self.deadline: float | None = None

    def recv(self, size: int) -> bytes:
        """Bytes that came; after the deadline none but the end of an answer, which may have waited for this process.

        Raises ConnectionError where the other side has hung up.
        """
        data = self._inner.recv(size)
        if not data:
            raise ConnectionError("the other side has hung up")
        late = self.deadline is not None and time.monotonic() > self.deadline
        return b"" if late and b"\n" not in data else data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@contextmanager
def whole_by(line: MessageBasedResource, deadline: float) -> Iterator[None]:
    """Within it, an answer has to be whole by `deadline`, in s of the monotonic clock."""
    interface = getattr(_py_socket(line), "interface", None)
    if not isinstance(interface, _Watched):
        yield
        return
    interface.deadline = deadline
    try:
        yield
    finally:
        interface.deadline = None


def _py_socket(line: MessageBasedResource) -> TCPIPSocketSession | None:
    """PyVISA-py's session behind a socket; None where the line is another's."""
    sessions = getattr(line.visalib, "sessions", {})
    session = sessions.get(line.session) if isinstance(sessions, dict) else None
    return session if isinstance(session, TCPIPSocketSession) else None


def send_at_once(line: TCPIPSocket) -> None:
    """Otherwise a message waits, 40 ms, until the one before it is acknowledged. And has an end to each wait.

    PyVISA-py knows the attribute but cannot set it, so there its socket is set.
    """
    session = _py_socket(line)
    if session is not None:
        session.interface.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session.interface = _Watched(session.interface)
    else:
        line.set_visa_attribute(ResourceAttribute.tcpip_nodelay, True)
