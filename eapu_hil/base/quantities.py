"""Numbers as people read them: with a metric prefix, as a duration, as a share."""

from __future__ import annotations

import math
from dataclasses import dataclass

MISSING = "\u2013"  # a dash
_PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}


def with_prefix(value: float | None, unit: str, digits: int = 3) -> str:
    """0.00123, "J" -> "1.23 mJ". A missing or non-finite value is a dash."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return f"0 {unit}"
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")  # rounds first: 999.6 is 1.00e3
    prefix = min(max(3 * (int(power) // 3), min(_PREFIXES)), max(_PREFIXES))
    over = int(power) - prefix
    return f"{float(mantissa) * 10.0**over:.{max(digits - 1 - over, 0)}f} {_PREFIXES[prefix]}{unit}"


def duration(seconds: float | None) -> str:
    """75 -> "1 min 15 s"; days, hours, minutes, and whole or small fractions of seconds."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    if seconds < 59.5:
        return with_prefix(seconds, "s")
    whole = round(seconds)
    days, hours, minutes, rest = whole // 86400, whole // 3600 % 24, whole // 60 % 60, whole % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s"


def count(value: float | None) -> str:
    """Whole numbers with narrow spaces between thousands, at which no line breaks."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:,.0f}".replace(",", "\u202f")


def share(value: float | None) -> str:
    """A fraction in percent, or in per mille below 1 %; what is smaller than 0.001 per mille is not worth digits."""
    if value is None or not math.isfinite(value):
        return MISSING
    if 0 < value < 1e-6:
        return "< 0.001 \u2030"
    return f"{value * 1e2:.3g} %" if value >= 0.01 or value == 0 else f"{value * 1e3:.3g} \u2030"


@dataclass(frozen=True)
class MetricStyle:
    """How a metric is shown: its name, its unit, and what a value is multiplied with."""

    label: str
    unit: str
    factor: float = 1.0

    @property
    def axis(self) -> str:
        """Name and unit: "PSNR (dB)", or the name alone."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def text(self, value: float | None, *, sign: bool = False) -> str:
        """28.3 -> "28.30 dB"; `sign` for differences."""
        if value is None or not math.isfinite(value):
            return MISSING
        return f"{value * self.factor:{'+' if sign else ''}.2f} {self.unit}".rstrip()


def metric_style(name: str) -> MetricStyle:
    """The style of a task's metric; one that is not known here is shown as it is."""
    known = {
        "psnr_db": MetricStyle("PSNR", "dB"),
        "accuracy": MetricStyle("Accuracy", "%", 100.0),
        "r2": MetricStyle("R\u00b2", ""),
    }
    return known.get(name, MetricStyle(name, ""))
