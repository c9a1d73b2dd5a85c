"""The guard of a bench of instruments: a process that outlives its host and switches the outputs off.

No handler in a program sees SIGKILL, `os._exit`, a crash in C or a process that stands still, and an instrument holds
its output until somebody switches it off. So a process of its own, in its own session, watches the program (the host):

* The host ends without a goodbye: the guard takes the locks of the instruments, which the dead host has no more, opens
  them and switches them off. It opens them only then: many take one client at a time.
* No heartbeat for `SILENCE_s`: the host stands still (SIGSTOP, stuck in C with the interpreter's lock). The guard ends
  it with SIGKILL first, then does the same: two masters of one instrument would be worse than none.

Heartbeats come from a thread of their own, so a long answer, a long wait or a debugger's prompt is no silence. That the
main thread makes progress is not watched: the outputs of cells are at 0 V between two requests, and each request has
timeouts. The guard stops nothing that ends a whole machine or container.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any

from eapu_drivers.visa.smu.contract import SourceMeter, SwitchesOffUnasked
from eapu_drivers.visa.sources import Place
from eapu_hil.hal import HilError

_LOG = logging.getLogger(__name__)
SILENCE_s = 10.0
OFF_WITHIN_s = 10.0  # of the death of the host: the lock, the opening, one timeout of an instrument
GOODBYE = b"q"
READY = "ready"
_BEAT = b"."
_BEATS = 10  # within the silence
_STARTS_WITHIN_s = 60.0
_ENDS_WITHIN_s = 60.0


@dataclass(frozen=True)
class Watched:
    """One channel. off: messages that switch it off unasked; none where only its driver can."""

    resource: str
    channel: str | None
    off: tuple[str, ...]


@dataclass(frozen=True)
class Watch:
    """What the guard is told. host: its process id."""

    host: int
    silence_s: float
    visa: str
    channels: tuple[Watched, ...]

    def text(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, text: str) -> Watch:
        """The inverse of `text`."""
        content: dict[str, Any] = json.loads(text)
        channels = [
            Watched(one["resource"], one["channel"], tuple(one["off"])) for one in content["channels"]
        ]
        return cls(**content | {"channels": tuple(channels)})


class Guard:
    """Starts the process at once; from `watch` on it watches. A context manager: leaving it is the goodbye.

    needed: whether it has to switch off all the same, because the host could not.
    """

    def __init__(self) -> None:
        """Raises HilError where the process cannot be started."""
        self.needed = False
        self._gone = threading.Event()
        self._watching = False
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "eapu_drivers.visa.guardprocess"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
                # the end of a console ends all that belong to it
                creationflags=getattr(subprocess, "DETACHED_PROCESS", 0),
            )
        except OSError as error:
            raise HilError(
                f"the guard of the instruments cannot be started: {error.strerror or error}"
            ) from error

    def watch(self, places: Mapping[str, Place], meters: Mapping[str, SourceMeter], visa: str) -> None:
        """From now on the guard switches `meters` off, by role, where the host does not. Raises HilError."""
        channels = tuple(
            Watched(
                places[role].resource,
                places[role].channel,
                tuple(meter.off_messages()) if isinstance(meter, SwitchesOffUnasked) else (),
            )
            for role, meter in meters.items()
        )
        watch = Watch(os.getpid(), SILENCE_s, visa, channels)
        slow = threading.Timer(_STARTS_WITHIN_s, self._process.kill)
        slow.start()
        try:
            self._send(watch.text().encode() + b"\n")
            assert self._process.stdout is not None
            said = self._process.stdout.readline().decode().strip()
        except OSError:
            said = ""
        finally:
            slow.cancel()
        if said != READY:
            raise HilError(
                "the guard of the instruments did not start, so nothing would switch them off if this program were "
                "killed; what it says is above"
            )
        self._watching = True
        threading.Thread(target=self._beat, name="guard", daemon=True).start()

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gone.set()
        needed = self.needed and self._watching
        if needed:
            _LOG.warning("outputs may still be on; the guard process %d tries it now", self._process.pid)
        with suppress(OSError):  # it has ended
            if not needed:
                self._send(GOODBYE)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(_ENDS_WITHIN_s)
        except subprocess.TimeoutExpired:
            _LOG.error("the guard process %d has not ended; it goes on by itself", self._process.pid)

    def _beat(self) -> None:
        while not self._gone.wait(SILENCE_s / _BEATS):
            try:
                self._send(_BEAT)
            except OSError:
                if not self._gone.is_set():
                    _LOG.error(
                        "the guard of the instruments has ended: a kill of this program would leave outputs on"
                    )
                return

    def _send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        os.write(self._process.stdin.fileno(), data)
