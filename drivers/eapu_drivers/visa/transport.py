"""How messages get to an instrument: one text line out, one text line back, over PyVISA.

Everything above it (`instrument.py`, the drivers) sees a `Transport` and runs as well on a scripted one.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Protocol

import pyvisa
from pyvisa.constants import StatusCode
from pyvisa.resources import MessageBasedResource, TCPIPSocket

from eapu_drivers.addresses import resource_fault
from eapu_drivers.visa.names import device_of
from eapu_drivers.visa.session import (
    lock,
    no_library,
    send_at_once,
    whole_by,
    why_not_opened,
)
from eapu_hil.base.errors import one_line
from eapu_hil.base.locks import own
from eapu_hil.hal import ConfigError, TransportError

_LOG = logging.getLogger(__name__)
BUS = logging.getLogger("eapu_drivers.bus")  # every message both ways, at DEBUG
DEFAULT_TIMEOUT_s = 2.0
_MESSAGE_SHOWN = 160  # characters of a message in an error: a whole script would hide what it says
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

    def distrust(self) -> None:
        """An answer made no sense: nothing is asked any more before a device clear, as answers may be in disorder."""
        ...

    def clear(self) -> None:
        """Device clear: ends what runs, as far as the line can, and forgets answers that were not read in time."""
        ...

    def close(self) -> None: ...


class VisaTransport:
    """A VISA resource, which no other program of this machine can open in the meantime (`eapu_hil.base.locks`).

    A lock keeps the messages of two threads apart: a PyVISA session is not thread-safe. Also a context manager that
    closes it. Raises TransportError when it cannot be opened, InUseError (one too) when another program has it.
    """

    def __init__(self, resource: str, visa: str = "@py", within_s: float = 0.0) -> None:
        """visa: which VISA, in PyVISA's words: "@py", "@ivi" or the path of a vendor's library.

        within_s: how long to wait for a program that has it and is about to end. Raises ConfigError for a name that
            leads elsewhere than to an instrument.
        """
        fault = resource_fault(resource)
        if fault is not None:
            raise ConfigError(f"{resource}: {fault}")
        self._name = resource
        self._visa = visa
        self._lock = threading.RLock()
        with ExitStack() as opened:
            opened.enter_context(own(device_of(resource, visa), f"{resource}: cannot be opened", within_s))
            self._line: MessageBasedResource | None = self._open(_OPEN_s)
            self._owned = opened.pop_all()
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
                    f"{self._name}: lost while sending {shortened(message)!r} ({one_line(error)})"
                ) from error

    def query(self, message: str, timeout_s: float = DEFAULT_TIMEOUT_s) -> str:
        with self._lock:
            if self._unanswered is not None:
                sent, missing = shortened(message), shortened(self._unanswered)
                raise TransportError(
                    f"{self._name}: {sent!r} not sent: {missing!r} was never answered, and a late answer would be "
                    "taken for this one's"
                )
            self._unanswered = message
            self.write(message)
            line = self._opened(message)
            try:
                line.timeout = round(1e3 * timeout_s)
                with whole_by(line, time.monotonic() + timeout_s):
                    answer = line.read()
            except (pyvisa.Error, OSError, UnicodeDecodeError) as error:
                raise TransportError(self._silence(message, timeout_s, error)) from error
            self._unanswered = None
            BUS.debug("%s -> %s", self._name, answer)
            return answer.rstrip("\r")

    def distrust(self) -> None:
        """What is on its way may be the answer to any question."""
        with self._lock:
            self._unanswered = self._unanswered or "an earlier question"

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
                    raise TransportError(f"{self._name}: device clear failed ({one_line(error)})") from error
            if self._unanswered is not None:
                line.close()
                self._line = None
                self._line = self._open(_REOPEN_s)
                self._unanswered = None

    def close(self) -> None:
        """Closes the resource; nothing more can be sent. A second call does nothing."""
        with self._lock:
            line, self._line = self._line, None
            try:
                if line is not None:
                    line.close()
            finally:
                self._owned.close()

    def __enter__(self) -> VisaTransport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, timeout_s: float) -> MessageBasedResource:
        try:
            manager = pyvisa.ResourceManager(self._visa)
        except Exception as error:
            raise ConfigError(no_library(self._visa, error)) from error
        try:
            opened = manager.open_resource(self._name, open_timeout=round(1e3 * timeout_s))
        except Exception as error:
            raise TransportError(f"{self._name}: {why_not_opened(error)}") from error
        if not isinstance(opened, MessageBasedResource):
            opened.close()
            raise TransportError(
                f"{self._name}: does not take text messages, so it cannot be an instrument of this bench"
            )
        try:
            lock(opened)
        except TransportError:
            opened.close()
            raise
        if isinstance(opened, TCPIPSocket):
            send_at_once(opened)
        opened.read_termination = opened.write_termination = "\n"
        return opened

    def _opened(self, message: str) -> MessageBasedResource:
        if self._line is None:
            raise TransportError(f"{self._name}: the line is closed, so {shortened(message)!r} was not sent")
        return self._line

    def _silence(self, message: str, timeout_s: float, error: Exception) -> str:
        if isinstance(error, pyvisa.VisaIOError) and error.error_code == StatusCode.error_timeout:
            return f"{self._name}: no answer to {shortened(message)!r} within {timeout_s:.3g} s"
        if isinstance(error, UnicodeDecodeError):
            return f"{self._name}: {shortened(message)!r} was answered with bytes that are no text"
        return f"{self._name}: lost while {shortened(message)!r} was to be answered ({one_line(error)})"


def shortened(message: str) -> str:
    """A message as errors show it."""
    return message if len(message) <= _MESSAGE_SHOWN else f"{message[: _MESSAGE_SHOWN - 4]} ..."
