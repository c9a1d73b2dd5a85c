"""The most that a recipe may ask for: voltages, widths, counts, current; and whether the limits of a bench allow it."""

from __future__ import annotations

from collections.abc import Iterator

from eapu_hil.hal import Limits
from eapu_hil.hal.recipe import Recipe


def beyond(recipe: Recipe, limits: Limits) -> str:
    """What of `recipe` the limits forbid, in words that name both; "" where all of it is allowed."""
    for key, value, limit in requests_of(recipe):
        most = getattr(limits, limit)
        if not value <= most:  # NaN is beyond, too
            return f"recipe {key} of {value} asked; allowed is at most {most} (limits.{limit})"
    return ""


def requests_of(recipe: Recipe) -> Iterator[tuple[str, float, str]]:
    """Every key of a recipe that may become a request: its name, its value and the limit that it must keep."""
    volts, gate, width, read = "v_max_v", "v_gate_max_v", "width_max_s", "v_read_max_v"
    yield "v_read_v", recipe.v_read_v, read
    yield "v_in_max_v", recipe.v_in_max_v, read
    for name, part in (("set", recipe.set), ("reset", recipe.reset), ("form", recipe.form)):
        yield f"{name}.amplitude.start_v", part.amplitude.start_v, volts
        yield f"{name}.amplitude.stop_v", part.amplitude.stop_v, volts
        yield f"{name}.width_s", part.width_s, width
    yield "set.gate.start_v", recipe.set.gate.start_v, gate
    yield "set.gate.stop_v", recipe.set.gate.stop_v, gate
    yield "reset.gate_v", recipe.reset.gate_v, gate
    yield "form.gate_v", recipe.form.gate_v, gate
    small = recipe.increment
    if small is not None:
        yield "increment.set_amplitude_v", small.set_amplitude_v, volts
        yield "increment.reset_amplitude_v", small.reset_amplitude_v, volts
        yield "increment.set_gate_v", small.set_gate_v, gate
        yield "increment.reset_gate_v", small.reset_gate_v, gate
        yield "increment.width_s", small.width_s, width
    yield "pulses_max x epochs", most_pulses(recipe), "pulses_per_cell_max"


def strongest_v(recipe: Recipe) -> float:
    """The largest amplitude of write-verify, which decides about the current at a target."""
    return max(recipe.set.amplitude.stop_v, recipe.reset.amplitude.stop_v)


def strongest_v2(recipe: Recipe) -> float:
    """Amplitude^2 + gate^2 of the strongest pulse of write-verify, V^2: the charge of the lines is counted with it."""
    up = recipe.set.amplitude.stop_v**2 + recipe.set.gate.stop_v**2
    down = recipe.reset.amplitude.stop_v**2 + recipe.reset.gate_v**2
    return max(up, down)


def most_pulses(recipe: Recipe) -> int:
    """The most pulses that a cell gets of one write-verify request."""
    return recipe.pulses_max * recipe.epochs
