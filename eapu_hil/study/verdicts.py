"""Verdicts on claims: what a claim is judged by, and when there is too little to judge it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

HOLDS, UNDER, FAILS, UNKNOWN = "holds", "holds under", "does not hold here", "not measured"
TOO_SHORT, TOO_CLOSE = "too short to judge", "too close to judge"
LEAST_STEPS, LEAST_SEEDS = 300, 3  # of a task, for a verdict


@dataclass(frozen=True)
class Measured:
    """What a claim about one task is judged by: one value a seed, of runs of so many steps.

    at_most: the claim is an upper bound, else a lower one.
    """

    values: Sequence[float]
    steps: float
    claim: float
    at_most: bool = False

    @property
    def verdict(self) -> str:
        """Too short below `LEAST_STEPS` steps or `LEAST_SEEDS` seeds; too close where the mean is nearer to the claim
        than one standard deviation over the seeds; else by the worst seed.
        """
        if self.steps < LEAST_STEPS or len(self.values) < LEAST_SEEDS:
            return TOO_SHORT
        values = np.array(self.values)
        if abs(values.mean() - self.claim) < values.std(ddof=1) * (1 - 1e-9):
            return TOO_CLOSE
        holds = values.max() <= self.claim if self.at_most else values.min() >= self.claim
        return HOLDS if holds else FAILS


RULES_OF_VERDICTS = (
    f"A verdict needs at least {LEAST_STEPS} steps and {LEAST_SEEDS} seeds, and a mean that is farther from the claim "
    "than one standard deviation over the seeds."
)


def in_words(found: Mapping[str, Measured]) -> str:
    """The verdict over all tasks."""
    tasks: dict[str, list[str]] = {}
    for task, measured in found.items():
        tasks.setdefault(measured.verdict, []).append(task)
    if not tasks:
        return UNKNOWN
    if len(tasks) == 1:
        return next(iter(tasks))
    words = {
        HOLDS: UNDER,
        FAILS: "not" if HOLDS in tasks else FAILS,
        TOO_CLOSE: TOO_CLOSE,
        TOO_SHORT: TOO_SHORT,
    }
    return "; ".join(
        f"{word}: {', '.join(tasks[verdict])}" for verdict, word in words.items() if verdict in tasks
    )
