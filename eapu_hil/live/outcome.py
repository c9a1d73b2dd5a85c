"""What an emergency stop has come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Phase = Literal["signalled", "killed", "grounded", "unknown"]


@dataclass(frozen=True)
class Outcome:
    """So far. pid: of the process that was signalled. after_s: since the click. by: what has grounded, or ""."""

    phase: Phase
    pid: int
    after_s: float
    text: str
    by: str = ""
