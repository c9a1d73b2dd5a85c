"""User time of short commands: imports, and opening a bench."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

from speed.figures import Figure, ms
from speed.timing import user_s

ROUNDS = 5
COMMANDS = {"--help": 0.25, "read twin --block 0:8,0:8": 0.6}


def start() -> list[Figure]:
    """The commands in turn, each in a process of its own."""
    program = Path(sys.executable).with_name("eapu-hil")
    taken: dict[str, list[float]] = {arguments: [] for arguments in COMMANDS}
    for _ in range(ROUNDS):
        for arguments, times_s in taken.items():
            times_s.append(user_s([program, *arguments.split()]))
    medians = {arguments: statistics.median(times_s) for arguments, times_s in taken.items()}
    return [
        Figure(f"eapu-hil {arguments}, user time, s", ms(s), "", s, COMMANDS[arguments])
        for arguments, s in medians.items()
    ]
