"""progress.jsonl beside a passport: how far a calibration has come, for who watches it; nothing is decided by it.

{"measurement": "iv", "done": 0.25, "measurements": ["iv", ...], "array": 0, "unix_s": ..., "began_unix_s": ...}
{"ended": "success" | "stopped" | "failed", "text": ..., "unix_s": ...}
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from eapu_hil.base.beat import Beat
from eapu_hil.bench.opening import Bench
from eapu_hil.hal import HilError

PROGRESS = "progress.jsonl"
_EVERY_s = 0.5
_TEXT = 500  # characters of an error

ProgressOf = Callable[[str], Callable[[float], None]]

_LOG = logging.getLogger(__name__)


class ProgressFile:
    """Written while an array is measured, anew for each calibration; leaving the context says how it ended.

    A stop grounds first of all, and the file says when. A file that cannot be written costs nobody a measurement: the
    log says it, once.
    """

    def __init__(self, bench: Bench, number: int, measurements: Sequence[str]) -> None:
        """number: of the array."""
        self._bench = bench
        self._path = bench.chip.directory / PROGRESS
        self._array = bench.arrays[number]
        unattended = None if bench.unattended is None else vars(bench.unattended)
        about = {"array": number, "measurements": list(measurements), "unattended": unattended}
        self._about = {**about, "began_unix_s": time.time()}
        self._told_s = 0.0
        self._broken = False

    def following(self, progress_of: ProgressOf) -> ProgressOf:
        """The same `progress_of`, whose measurements are also written down."""

        def begin(name: str) -> Callable[[float], None]:
            show = progress_of(name)
            self.tell(name, 0.0)

            def tell(done: float) -> None:
                show(done)
                self.tell(name, done)

            return tell

        return begin

    def tell(self, measurement: str, done: float) -> None:
        """done: the part of the measurement, 0 to 1. Written at most twice a second, and at its beginning and end."""
        now_s = time.monotonic()
        if 0.0 < done < 1.0 and now_s < self._told_s + _EVERY_s:
            return
        self._told_s = now_s
        self._append({"measurement": measurement, "done": done, **self._about})

    def __enter__(self) -> Self:
        self._bench.watched_by(Beat(self._path))
        try:
            self._path.write_bytes(b"")
        except OSError as error:
            self._give_up(error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stopped = isinstance(error, (KeyboardInterrupt, SystemExit))
        if stopped:
            self._ground()
        ended = "success" if error is None else "stopped" if stopped else "failed"
        self._append({"ended": ended, "text": "" if error is None or stopped else str(error)[:_TEXT]})

    def _ground(self) -> None:
        try:
            self._array.ground()
            self._append({"what": "grounded"})
        except HilError as failure:  # it is tried again when the bench closes
            _LOG.warning("%s", failure)

    def _append(self, values: Mapping[str, Any]) -> None:
        if self._broken:
            return
        try:
            with self._path.open("ab") as file:
                file.write(json.dumps({**values, "unix_s": time.time()}).encode() + b"\n")
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._broken = True
        _LOG.warning(
            "%s: how far the calibration has come is not shown: %s", self._path, error.strerror or error
        )
