"""The progress reports of the trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Progress(Protocol):
    """Somebody who is told."""

    def on_start(self, total_steps: int) -> None: ...

    def on_step(self, step: int, metrics: Mapping[str, Any]) -> None: ...

    def on_evaluation(self, step: int, metrics: Mapping[str, Any]) -> None: ...

    def on_end(self) -> None: ...


class Unwatched:
    """Nobody looks."""

    def on_start(self, total_steps: int) -> None: ...

    def on_step(self, step: int, metrics: Mapping[str, Any]) -> None: ...

    def on_evaluation(self, step: int, metrics: Mapping[str, Any]) -> None: ...

    def on_end(self) -> None: ...
