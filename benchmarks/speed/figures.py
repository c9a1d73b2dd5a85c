"""One figure of the table: what was measured, against what, and what it should reach."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """work: what is timed. value: as it is shown. against: the peer, or the reason why there is no ratio.

    ratio, at_most: what is judged, and its goal; both in the unit that `value` or `against` names. None where there is
    no such number.
    """

    work: str
    value: str
    against: str = ""
    ratio: float | None = None
    at_most: float | None = None

    @property
    def verdict(self) -> str:
        """Whether the goal is met."""
        if self.at_most is None:
            return ""
        if self.ratio is None:
            return "not measured"
        return "met" if self.ratio <= self.at_most else "MISSED"

    def __str__(self) -> str:
        ratio = "" if self.ratio is None else f"{self.ratio:.3g}"
        goal = "" if self.at_most is None else f"<= {self.at_most:g}"
        return f"{self.work:62.62s} {self.value:>16s} {ratio:>7s} {goal:>8s} {self.verdict:12s} {self.against}".rstrip()


def ms(seconds: float) -> str:
    """Milliseconds with three digits."""
    return f"{1e3 * seconds:.3g} ms"


def needs(package: str) -> str:
    """What a figure says whose peer is missing."""
    return f"needs {package}: make peers"
