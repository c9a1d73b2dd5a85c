"""The emergency stop: ends the process that works on a run, and finds out when the lines were at 0 V.

SIGTERM first: the program grounds on its way out, and writes down when. Past a deadline, or at once where the process
stands still and hears no signal, SIGKILL: then the board's dead man or the guard of the instruments grounds.

Only a process of this machine that holds the lock of the run is ever signalled. Nothing here waits for anything before
the signal is sent: no queue, no thread, no answer of the run.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from eapu_hil.base.locks import local_holder, was_left_by
from eapu_hil.bench.progress_file import PROGRESS
from eapu_hil.hal import HilError
from eapu_hil.live.outcome import Outcome, Phase
from eapu_hil.live.places import Entry
from eapu_hil.training.journal import METRICS
from eapu_hil.training.run_state import stands_still

DEADLINE_s = 10.0  # an instrument may take one timeout to answer, and the way out waits for it
_LOOK_s = 0.02
_END = 1 << 14  # bytes at the end of a file in which the line about the ground is looked for
_KILL: int = getattr(signal, "SIGKILL", signal.SIGTERM)


class NothingToStopError(HilError):
    """No process of this machine works on it."""


class _Process:
    """One process, which cannot be mistaken for a later one of the same number where the system allows that."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = -1
        if hasattr(os, "pidfd_open"):
            with suppress(OSError):  # an old kernel has none
                self._descriptor = os.pidfd_open(pid)

    def signal(self, number: int) -> None:
        """Raises OSError where there is no such process any more, or it is another user's."""
        if self._descriptor >= 0:
            signal.pidfd_send_signal(self._descriptor, number)
        else:
            os.kill(self.pid, number)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Stop:
    """One stop of one run. Making it sends the signal; `follow` finds out what becomes of it."""

    def __init__(self, entry: Entry, clicked_s: float) -> None:
        """clicked_s: by time.time(). Raises NothingToStopError."""
        self.entry = entry
        self._clicked_s = clicked_s
        pid = None if entry.lock is None else local_holder(entry.lock)
        if pid is None:
            raise NothingToStopError(
                "no process of this machine works on it, so there is nothing to stop; on another machine, stop it there"
            )
        self._process = _Process(pid)
        try:
            if (
                entry.lock is None or local_holder(entry.lock) != pid
            ):  # it has just ended, and its number may be another's
                raise ProcessLookupError
            self._process.signal(signal.SIGTERM)
        except ProcessLookupError:
            self._process.close()
            raise NothingToStopError("the process has just ended by itself") from None
        except PermissionError:
            self._process.close()
            raise NothingToStopError(
                f"process {pid} is another user's, so this page cannot stop it; as that user: kill {pid}"
            ) from None
        self.outcome = self._now(
            "signalled", f"SIGTERM was sent to process {pid}; it puts its lines to 0 V and ends"
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    async def follow(
        self, unattended: Callable[[], Awaitable[Mapping[str, Any] | None]], tell: Callable[[Outcome], None]
    ) -> None:
        """Until it is known when the lines were at 0 V. tell: of each change of the outcome.

        unattended: what grounds without the program, `by` and `within_s`; None where nothing does.
        """
        try:
            await self._follow(unattended, tell)
        finally:
            self._process.close()

    async def _follow(
        self, unattended: Callable[[], Awaitable[Mapping[str, Any] | None]], tell: Callable[[Outcome], None]
    ) -> None:
        def say(outcome: Outcome) -> None:
            self.outcome = outcome
            tell(outcome)

        end_s = time.monotonic() + DEADLINE_s
        still = stands_still(self.pid)
        while not still and time.monotonic() < end_s:
            at_s = grounded_unix_s(self.entry)
            if at_s is not None and at_s >= self._clicked_s - 0.001:
                after_s = max(0.0, at_s - self._clicked_s)
                text = f"every line at 0 V {_ms(after_s)} after the click, by the run itself"
                say(Outcome("grounded", self.pid, after_s, text, "run"))
                return
            if not self._holds():
                await self._ended(unattended, say)
                return
            await asyncio.sleep(_LOOK_s)
            still = stands_still(self.pid)
        why = "it stands still and hears nothing" if still else f"it had not ended after {DEADLINE_s:g} s"
        with suppress(ProcessLookupError):  # it has just ended
            self._process.signal(_KILL)
        say(self._now("killed", f"process {self.pid} was killed (SIGKILL): {why}"))
        await self._after_kill(await unattended(), say)

    async def _ended(
        self, unattended: Callable[[], Awaitable[Mapping[str, Any] | None]], say: Callable[[Outcome], None]
    ) -> None:
        """The process is gone and has not said that it grounded."""
        if self.entry.lock is not None and was_left_by(self.entry.lock, self.pid):
            say(self._now("killed", f"process {self.pid} was killed or crashed before its way out was done"))
            await self._after_kill(await unattended(), say)
            return
        text = "the process has ended; its way out puts every line to 0 V"
        say(self._now("grounded", f"{text}: {_ms(self._after_s())} after the click at the latest", "run"))

    async def _after_kill(self, unattended: Mapping[str, Any] | None, say: Callable[[Outcome], None]) -> None:
        end_s = time.monotonic() + DEADLINE_s
        while self._holds() and time.monotonic() < end_s:
            await asyncio.sleep(_LOOK_s)
        if self._holds():
            text = f"process {self.pid} does not end: it waits in the system. Switch the bench off by hand"
            say(self._now("unknown", text))
            return
        if unattended is None:
            text = "the process is gone; nothing on record grounds such a bench by itself: look at the instruments"
            say(self._now("unknown", text))
            return
        by, within_s = str(unattended["by"]), float(unattended["within_s"])
        await asyncio.sleep(within_s)
        text = f"the process is gone; {by} puts every line to 0 V within {within_s:g} s of that"
        say(self._now("grounded", text, by))

    def _holds(self) -> bool:
        return self.entry.lock is not None and local_holder(self.entry.lock) == self.pid

    def _after_s(self) -> float:
        return time.time() - self._clicked_s

    def _now(self, phase: Phase, text: str, by: str = "") -> Outcome:
        return Outcome(phase, self.pid, self._after_s(), text, by)


def grounded_unix_s(entry: Entry) -> float | None:
    """When the program that works on it said the last time that its lines are at 0 V; None where it has not."""
    names = {"train": METRICS, "calibrate": PROGRESS}
    if entry.kind not in names:
        return None
    try:
        with (entry.path / names[entry.kind]).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _END))
            lines = file.read().split(b"\n")
    except OSError:
        return None
    for text in reversed(lines):
        if b'"grounded"' in text:
            with suppress(ValueError, KeyError, TypeError):
                return float(json.loads(text)["unix_s"])
    return None


def _ms(after_s: float) -> str:
    return f"{1e3 * after_s:.0f} ms" if after_s < 1.0 else f"{after_s:.1f} s"
