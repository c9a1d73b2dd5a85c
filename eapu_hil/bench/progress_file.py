"""progress.jsonl beside a passport: how far a calibration has come, for who watches it; nothing is decided by it.

{"measurement": "iv", "done": 0.25, "measurements": ["iv", ...], "array": 0, "unix_s": ..., "began_unix_s": ...}
{"ended": "success" | "stopped" | "failed", "text": ..., "unix_s": ...}
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PROGRESS = "progress.jsonl"
_EVERY_s = 0.5

_LOG = logging.getLogger(__name__)


class ProgressFile:
    """Written while a chip is measured, anew for each calibration; leaving the context says how it ended.

    A file that cannot be written costs nobody a measurement: the log says it, once.
    """

    def __init__(self, directory: Path, array: int, measurements: Sequence[str]) -> None:
        self._path = directory / PROGRESS
        self._about = {"array": array, "measurements": list(measurements), "began_unix_s": time.time()}
        self._told_s = 0.0
        self._broken = False

    def tell(self, measurement: str, done: float) -> None:
        """done: the part of the measurement, 0 to 1. Written at most twice a second, and at its beginning and end."""
        now_s = time.monotonic()
        if 0.0 < done < 1.0 and now_s < self._told_s + _EVERY_s:
            return
        self._told_s = now_s
        self._append({"measurement": measurement, "done": done, **self._about})

    def __enter__(self) -> Self:
        try:
            self._path.write_bytes(b"")
        except OSError as error:
            self._give_up(error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stopped = isinstance(error, (KeyboardInterrupt, SystemExit))
        ended = "success" if error is None else "stopped" if stopped else "failed"
        self._append({"ended": ended, "text": "" if error is None or stopped else str(error)[:500]})

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
