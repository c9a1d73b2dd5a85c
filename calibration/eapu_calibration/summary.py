"""Shows an entry of the passport in one line, and the differences of two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eapu_hil.base.quantities import duration
from eapu_hil.bench.entries import Measurement


def in_words(entry: Measurement) -> str:
    """The result of a measurement in one line; of a kind that is not known here, the names of its values."""
    words = _WORDS.get(entry.kind)
    return words(entry.values) if words else ", ".join(entry.values)


def _forming(values: Mapping[str, Any]) -> str:
    median_v = values["v_form_median_v"]
    at = "" if median_v is None else f", median forming voltage {median_v:.2f} V"
    return f"{values['formed']} of {values['cells']} cells formed{at}; {values['bad']} bad{_faults(values)}"


def _faults(values: Mapping[str, Any]) -> str:
    """Which cells and lines are bad; empty for old entries, which do not tell the kinds of faults apart."""
    cells = [f"{count} {name.replace('_', ' ')}" for name, count in values.get("faults", {}).items() if count]
    lines = [
        f"{name.replace('_', ' ')} {', '.join(map(str, found))}"
        for name, found in values.get("lines", {}).items()
        if found
    ]
    told = [", ".join(cells), *lines]
    return f" ({'; '.join(told)})" if cells else ""


def _gate_curve(values: Mapping[str, Any]) -> str:
    if "slope_S_per_v" not in values:  # from a file: the curves of its cells, not evaluated
        gate_v = values["gate_v"]
        return (
            f"{values['cells']} cells, {values['repeats']} SETs of each at every one of {len(gate_v)} gate voltages, "
            f"{min(gate_v):.3g} to {max(gate_v):.3g} V"
        )
    slope, threshold = values["slope_S_per_v"], values["threshold_v"]
    return (
        f"{1e6 * slope['value']:.1f} uS/V ({1e6 * slope['low']:.1f}-{1e6 * slope['high']:.1f}) from "
        f"{threshold['value']:.3f} V ({threshold['low']:.3f}-{threshold['high']:.3f})"
    )


def _iv(values: Mapping[str, Any]) -> str:
    bends = [100 * one["value"] for one in values["nonlinearity_per_v2"]]
    at = [
        f"{name.upper()} at {one['switched_v']['value']:.2f} V"
        if one["switched_v"]
        else f"{name.upper()} did not occur"
        for name, one in ((name, values[name]) for name in ("set", "reset"))
    ]
    return f"{', '.join(at)}; non-linearity {min(bends):+.2g} to {max(bends):+.2g} %/V^2"


def _pulse_response(values: Mapping[str, Any]) -> str:
    parts = []
    for name in ("up", "down"):
        g_S = values[name]["g_S"]["value"]
        parts.append(f"{len(g_S) - 1} pulses {name}: {1e6 * g_S[0]:.1f} to {1e6 * g_S[-1]:.1f} uS")
    ratio = values["asymmetry"]
    return "; ".join(parts) + ("" if ratio is None else f"; steps down are {ratio:.2g} times the steps up")


def _write_verify(values: Mapping[str, Any]) -> str:
    parts = []
    for name in ("up", "down"):
        one = values[name]
        ok = 100 * np.mean([level["value"] for level in one["ok"]])
        pulses = np.mean([level["value"] for level in one["pulses"]])
        parts.append(f"{name}: {ok:.1f} % in the band, {pulses:.1f} pulses")
    return "; ".join(parts)


def _linearity(values: Mapping[str, Any]) -> str:
    parts = []
    for name in ("forward", "transposed"):
        one = values[name]
        bend, driven = (100 * float(np.median(one[key])) for key in ("bend", "driven_bend"))
        parts.append(f"{name}: {bend:.2g} % measured, {driven:.2g} % driven")
    return "deviation from the straight line, median over the lines: " + "; ".join(parts)


def _line_resistance(values: Mapping[str, Any]) -> str:
    ohm = values["ohm"]
    lost = 100 * (1 - min(values["falloff"]))
    return (
        f"{ohm['value']:.2f} ohm per cell ({ohm['low']:.2f}-{ohm['high']:.2f}); the current of the farthest row is "
        f"{lost:.1f} % lower"
    )


def _endurance(values: Mapping[str, Any]) -> str:
    lost = [cycles for cycles in values["cycles_to_failure"] if cycles is not None]
    ends = f"; the first after {min(lost):,}" if lost else ""
    cells, cycles = len(values["cycles_to_failure"]), values["cycles"][-1]
    return f"{len(lost)} of {cells} cells failed within {cycles:,} cycles{ends}"


def _write_error(values: Mapping[str, Any]) -> str:
    sigma_S = np.hypot(values["sigma_write_S"], values["sigma_relax_S"])
    return (
        f"sd {_range(values['sigma_write_S'])} uS at once, {_range(sigma_S)} uS after "
        f"{values['relax_time_s']:g} s (range over the levels)"
    )


def _relaxation(values: Mapping[str, Any]) -> str:
    age_s = values["age_s"]
    first, last = ([level["value"][k] for level in values["sd_S"]] for k in (0, -1))
    tails = 100 * values["tail_share"][-1]["value"]
    return (
        f"sd {_range(first)} uS after {duration(age_s[0])}, {_range(last)} uS after {duration(age_s[-1])} "
        f"(range over the levels); {tails:.1f} % of the cells beyond 3 robust sd"
    )


def _read_noise(values: Mapping[str, Any]) -> str:
    mean_S = np.asarray(values["g_mean_S"])
    white, total = (
        [100 * row["value"] / g_S for row, g_S in zip(values[name], mean_S, strict=True)]
        for name in ("white_sd_S", "total_sd_S")
    )
    jumps = values.get("telegraph")
    levels = f", by {100 * jumps['amplitude_relative']['value']:.2g} %" if jumps else ""
    return (
        f"white noise {min(white):.2g}-{max(white):.2g} %, all noise {min(total):.2g}-{max(total):.2g} % of the "
        f"conductance; {100 * values['restless_share']['value']:.1f} % of the cells jump{levels}"
    )


def _product_accuracy(values: Mapping[str, Any]) -> str:
    parts = []
    for name in ("forward", "transposed"):
        one = values[name]
        spread = float(np.std(one["gain"]["value"]))
        parts.append(
            f"{name} gain {one['gain_mean']:.3f} (lines {spread:.3f}), residual {100 * one['residual_relative']:.2g} %"
        )
    return "; ".join(parts)


def _programmed(values: Mapping[str, Any]) -> str:
    return f"{values['in_band']} of {values['cells']} cells of array {values['array']} are in band"


def _drift(values: Mapping[str, Any]) -> str:
    sd = values["error_sd_S"]
    error = "" if sd is None else f"; error sd {1e6 * sd['value']:.2f} uS"
    again = (
        f"; {values['overwritten']} cells were pulsed since and are left out" if values["overwritten"] else ""
    )
    return f"{values['out']} of {values['cells']} cells are outside +-{1e6 * values['band_S']:.3g} uS{error}{again}"


def _calibration(values: Mapping[str, Any]) -> str:
    return f"started on array {values['array']}: {', '.join(values['names']) or 'forming'}"


_WORDS = {
    "forming": _forming,
    "iv": _iv,
    "endurance": _endurance,
    "gate_curve": _gate_curve,
    "pulse_response": _pulse_response,
    "write_verify": _write_verify,
    "linearity": _linearity,
    "line_resistance": _line_resistance,
    "write_error": _write_error,
    "relaxation": _relaxation,
    "read_noise": _read_noise,
    "product_accuracy": _product_accuracy,
    "programmed": _programmed,
    "drift": _drift,
    "calibration": _calibration,
}


def _range(values_S: Any) -> str:
    micro = 1e6 * np.asarray(values_S)
    return f"{micro.min():.2f}-{micro.max():.2f}"


@dataclass(frozen=True)
class Change:
    """A figure that differs between two entries. apart: whether its intervals do not touch; None: it has none."""

    name: str
    first: Any
    second: Any
    apart: bool | None


def changes(first: Measurement, second: Measurement) -> list[Change]:
    """All that differs between the values of two measurements, in the order of the first, figure by figure."""
    a, b = dict(_figures(first.values)), dict(_figures(second.values))
    names = [*a, *(name for name in b if name not in a)]
    return [_change(name, a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name)]


def _change(name: str, first: Any, second: Any) -> Change:
    if not (isinstance(first, _Interval) and isinstance(second, _Interval)):
        return Change(name, _value(first), _value(second), None)
    return Change(name, first.value, second.value, first.low > second.high or second.low > first.high)


@dataclass(frozen=True)
class _Interval:
    value: float
    low: float
    high: float


def _value(found: Any) -> Any:
    return found.value if isinstance(found, _Interval) else found


def _figures(values: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every figure in nested values with its dotted name; `value`, `low` and `high` together are one."""
    if isinstance(values, Mapping) and values.keys() == {"value", "low", "high"}:
        yield from _intervals(values, name)
    elif isinstance(values, Mapping):
        for key, item in values.items():
            yield from _figures(item, f"{name}.{key}" if name else str(key))
    elif isinstance(values, Sequence) and not isinstance(values, str):
        for number, item in enumerate(values):
            yield from _figures(item, f"{name}[{number}]")
    else:
        yield name, values


def _intervals(values: Mapping[str, Any], name: str) -> Iterator[tuple[str, _Interval]]:
    ends = [dict(_figures(values[end], name)) for end in ("value", "low", "high")]
    for key in ends[0]:
        yield key, _Interval(*(end[key] for end in ends))
