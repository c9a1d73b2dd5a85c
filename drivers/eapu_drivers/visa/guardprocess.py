"""The process of `guard.py`: `python -P -m eapu_drivers.visa.guardprocess`, which the host starts.

stdin: one line, a `Watch`; then heartbeats, any bytes; then the goodbye. stdout: that it watches.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress

from eapu_drivers.visa.families import open_source_meter
from eapu_drivers.visa.guard import GOODBYE, READY, Watch, Watched
from eapu_drivers.visa.transport import VisaTransport
from eapu_hil.base.locks import InUseError
from eapu_hil.hal import HilError

_CHUNK = 65536
_LOOK_s = 0.2  # how often it looks whether the host lives
_POLL_s = 0.05
_DYING_s = 1.0  # a process that ends closes its lines a little earlier
_LOCK_WITHIN_s = 15.0  # for what a dying host still holds
_TRY_s = 60.0  # for an instrument that does not answer, or is in the middle of something
_AGAIN_s = 1.0


def main() -> int:
    """Returns 0 after a goodbye, or when all outputs are off."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"):  # what ends the host must not end its guard first
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    heard = _Ear()
    line = heard.line()
    if line is None:  # the host ended before anything was on
        return 0
    watch = Watch.of(line)
    os.write(sys.stdout.fileno(), f"{READY}\n".encode())
    end = _end_of_watch(watch, heard)
    return 0 if end is None else _switch_off(watch, end)


class _Ear:
    """What the host says, byte by byte; a thread of its own reads it, as no system waits for pipes like another."""

    def __init__(self) -> None:
        self._heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while data := os.read(0, _CHUNK):
            self._heard.put(data)
        self._heard.put(b"")

    def line(self) -> str | None:
        """The first one; None where there was none."""
        text = b""
        while not text.endswith(b"\n"):
            data = self._heard.get()
            if not data:
                return None
            text += data
        return text.decode()

    def within(self, timeout_s: float) -> bytes | None:
        """The next bytes; b"" at the end, None where there were none."""
        with suppress(queue.Empty):
            return self._heard.get(timeout=timeout_s)
        return None


def _end_of_watch(watch: Watch, heard: _Ear) -> str | None:
    """Waits. Returns why the outputs have to be switched off, None where the host said goodbye."""
    last_s = time.monotonic()
    while True:
        data = heard.within(_LOOK_s)
        if data:
            last_s = time.monotonic()
            if GOODBYE in data:
                return None
        elif data == b"":
            _let_end(watch, _DYING_s)
            return "could not switch off" if _lives(watch) else "ended without switching off"
        elif not _lives(watch):  # a forked child of it may still hold the line
            return "ended without switching off"
        elif time.monotonic() - last_s > watch.silence_s:
            _kill(watch)
            return f"stood still for {watch.silence_s:g} s and was ended"


def _lives(watch: Watch) -> bool:
    """The host started this process: as long as it lives it is the parent. Windows tells by the end of the line."""
    return os.name != "posix" or os.getppid() == watch.host


def _kill(watch: Watch) -> None:
    with suppress(ProcessLookupError):
        os.kill(watch.host, getattr(signal, "SIGKILL", signal.SIGTERM))
    _let_end(watch, _LOCK_WITHIN_s)


def _let_end(watch: Watch, within_s: float) -> None:
    end_s = time.monotonic() + within_s
    while os.name == "posix" and _lives(watch) and time.monotonic() < end_s:
        time.sleep(_POLL_s)


def _switch_off(watch: Watch, why: str) -> int:
    """All channels at once: one that does not answer must not hold up the others."""
    failures: list[str] = []
    by_resource: dict[str, list[Watched]] = {}
    for channel in watch.channels:
        by_resource.setdefault(channel.resource, []).append(channel)

    def one(channels: list[Watched]) -> None:
        try:
            _insist(lambda: _off(channels, watch.visa))
        except HilError as error:
            failures.append(str(error))

    threads = [threading.Thread(target=one, args=(channels,)) for channels in by_resource.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    host = f"process {watch.host} {why}"
    if failures:
        _say(f"{host}; switch the instruments off by hand: {'; '.join(failures)}")
        return 1
    _say(f"{host}; the outputs of {', '.join(by_resource)} are off")
    return 0


def _insist(act: Callable[[], None]) -> None:
    end_s = time.monotonic() + _TRY_s
    while True:
        try:
            return act()
        except InUseError:
            raise  # another program has taken it over; what it opens it resets
        except HilError:
            if time.monotonic() > end_s:
                raise
        time.sleep(_AGAIN_s)


def _off(channels: list[Watched], visa: str) -> None:
    """First unasked, whatever the instrument is in the middle of; then by its driver, which makes sure of it."""
    with closing(VisaTransport(channels[0].resource, visa, within_s=_LOCK_WITHIN_s)) as line:
        with suppress(HilError):
            line.clear()
        for channel in channels:
            for message in channel.off:
                line.write(message)
        for channel in channels:
            open_source_meter(line, channel.channel).safe_off()


def _say(text: str) -> None:
    with suppress(OSError, ValueError):  # the terminal may have gone with the host
        sys.stderr.write(f"eapu-hil: guard: {' '.join(text.split())}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
