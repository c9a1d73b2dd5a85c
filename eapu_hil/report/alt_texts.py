"""What is seen in a figure, in words with numbers: for who does not see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.quantities import count
from eapu_hil.report.figures import Curve


def of_curves(curves: Sequence[Curve], what: str) -> str:
    """what: the quantity and its unit, such as "PSNR (dB)"."""
    return f"{what} over the steps. " + " ".join(f"{_of_curve(curve)}." for curve in curves)


def _of_curve(curve: Curve) -> str:
    name = f"{curve.name}: " if curve.name else ""
    known = np.isfinite(curve.y)
    if not known.any():
        return f"{name}no values"
    x, y = curve.x[known], curve.y[known]
    # Single steps scatter: the ends are means over a twentieth.
    few = max(1, y.size // 20)
    first, last = float(y[:few].mean()), float(y[-few:].mean())
    text = f"{name}{first:.3g} at step {x[0]:.0f}"
    if y.size == 1:
        return text
    low, high = int(np.argmin(y)), int(np.argmax(y))
    extremes = f"between {y[low]:.3g} (step {x[low]:.0f}) and {y[high]:.3g} (step {x[high]:.0f})"
    return f"{text}, {last:.3g} at step {x[-1]:.0f}, {extremes}"


def of_maps(before_S: Mapping[int, NDArray[Any]], after_S: Mapping[int, NDArray[Any]]) -> str:
    """Conductance maps; S."""
    parts = []
    for moment, maps in (("before", before_S), ("after", after_S)):
        if maps:
            values = 1e6 * np.concatenate([g[np.isfinite(g)].ravel() for g in maps.values()])
            parts.append(f"{moment}: {_quantiles(values)} \u00b5S")
    changed = [after_S[k] - before_S[k] for k in before_S.keys() & after_S.keys()]
    if changed:
        size = 1e6 * np.abs(np.concatenate([c[np.isfinite(c)].ravel() for c in changed]))
        parts.append(f"size of the change: {_quantiles(size)} \u00b5S")
    return (
        f"Maps of {_arrays(before_S.keys() | after_S.keys())}, one square a cell. " + "; ".join(parts) + "."
    )


def of_wear(pulses: Mapping[int, NDArray[Any]]) -> str:
    """Maps of pulses."""
    values = np.concatenate([p[np.isfinite(p)].ravel() for p in pulses.values()])
    return f"Maps of {_arrays(pulses)}, one square a cell. Pulses: {_quantiles(values)}."


def of_error(error_S: NDArray[np.floating[Any]], converged: NDArray[np.bool_]) -> str:
    """The histogram of write errors; S."""
    error = 1e6 * error_S
    low, middle, high = np.percentile(error, (5, 50, 95))
    return (
        f"Histogram of {count(error.size)} requests: nine in ten errors lie between {low:+.3g} and {high:+.3g} "
        f"\u00b5S, the median is {middle:+.3g} \u00b5S; {count(int((~converged).sum()))} did not converge."
    )


def _quantiles(values: NDArray[Any]) -> str:
    if not values.size:
        return "none known"
    low, middle, high = np.percentile(values, (5, 50, 95))
    return f"median {middle:.3g}, nine in ten cells from {low:.3g} to {high:.3g}"


def _arrays(numbers: Iterable[int]) -> str:
    listed = sorted(numbers)
    return f"array{'s' if len(listed) > 1 else ''} {', '.join(map(str, listed))}"
