"""What became of the trials of one part, and how a table shows it."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field

SILENT, TRACEBACK = "SILENT", "TRACEBACK"
FAULTS = (SILENT, TRACEBACK)


@dataclass
class Counts:
    """The outcomes of one part. asked: how many trials. examples: of faults, one line each, first come."""

    part: str
    asked: int
    outcomes: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, outcome: str, example: str = "", number: int = 1) -> None:
        """Counts `number` trials that ended alike. example: which one it was, kept for faults."""
        before = self.tried
        self.outcomes[outcome] += number
        if (
            10 * before // self.asked < 10 * self.tried // self.asked < 10
        ):  # a run takes an hour, and may be cut short
            sys.stderr.write(f"{self.lines()[0]}, going on\n")
        if outcome in FAULTS:
            self.examples.append(f"{outcome}: {example}")
            sys.stderr.write(f"  {self.examples[-1]}\n")

    @property
    def tried(self) -> int:
        """How many trials there were."""
        return self.outcomes.total()

    @property
    def faults(self) -> int:
        """Trials after which a wrong thing had been done silently, or a traceback shown."""
        return sum(self.outcomes[fault] for fault in FAULTS)

    def lines(self) -> list[str]:
        """For a person: the counts, then the examples of faults."""
        parts = ", ".join(f"{number} {outcome}" for outcome, number in sorted(self.outcomes.items()))
        return [f"{self.part}: {self.tried} tried: {parts}", *(f"  {example}" for example in self.examples)]
