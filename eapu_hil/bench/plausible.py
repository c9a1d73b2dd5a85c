"""Whether the limits of a bench file can be meant: compared with each other, with the recipe, and with what cells bear.

A limit is what stands between a slip of the keyboard and a chip, so it must not be one itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from eapu_hil.bench.config import BenchConfig
from eapu_hil.bench.recipe_limits import beyond, requests_of, strongest_v
from eapu_hil.hal import ConfigError

# Beyond these a limit is unusual for memristor cells: a slip of the decimal point, or of the unit.
_MOST = {
    "v_max_v": (10.0, "V"),
    "v_gate_max_v": (10.0, "V"),
    "i_max_a": (0.01, "A"),
    "width_max_s": (0.1, "s"),
    "pulses_per_cell_max": (1_000_000, "pulses"),
    "v_read_max_v": (1.0, "V"),
}
_TIMES_RECIPE = 5.0  # a voltage limit as many times what the recipe may ask for protects from nothing
_COLDEST_C, _HOTTEST_C = -80.0, 150.0


def require_plausible(config: BenchConfig) -> None:
    """Raises ConfigError for limits that contradict each other or the recipe.

    Also for unusual ones, unless the bench file says that they are meant (`limits: {unusual: true}`).
    """
    limits = config.limits
    if limits.v_read_max_v > limits.v_max_v:
        raise ConfigError(
            f"{config.where}: limits.v_read_max_v: {limits.v_read_max_v:g} V asked; allowed is at most "
            f"{limits.v_max_v:g} V (limits.v_max_v)"
        )
    recipe = config.recipe
    said = beyond(recipe, limits.as_limits())
    if said:
        raise ConfigError(f"{config.where}: {said}; change the recipe or the limit")
    drawn_a = strongest_v(recipe) * recipe.g_max_S
    if drawn_a > limits.i_max_a:
        raise ConfigError(
            f"{config.where}: recipe g_max_S of {recipe.g_max_S:g} S asked, which draws {drawn_a:.3g} A at "
            f"{strongest_v(recipe):g} V; allowed is at most {limits.i_max_a:g} A (limits.i_max_a); change the recipe "
            "or the limit"
        )
    formed_S = recipe.form.g_formed_S
    if not recipe.g_min_S <= formed_S <= recipe.g_max_S:
        raise ConfigError(
            f"{config.where}: recipe form.g_formed_S of {formed_S:g} S asked; a cell that is formed reads between "
            f"g_min_S and g_max_S, {recipe.g_min_S:g} to {recipe.g_max_S:g} S; change the recipe"
        )
    found = [] if limits.unusual else list(_unusual(config))
    if found:
        raise ConfigError(
            f"{config.where}: {'; '.join(found)}; if that is meant, write unusual: true under limits, or give --yes"
        )


def _unusual(config: BenchConfig) -> Iterator[str]:
    limits, recipe = config.limits, config.recipe
    for key, (most, unit) in _MOST.items():
        value = getattr(limits, key)
        asked = f"limits.{key}: {value:g} {unit} asked"
        name, largest = max(
            ((name, request) for name, request, limit in requests_of(recipe) if limit == key),
            key=lambda one: one[1],
            default=("", value),
        )
        if value > most:
            yield f"{asked}; usual is at most {most:g} {unit}"
        elif unit == "V" and value > _TIMES_RECIPE * largest and key != "v_read_max_v":
            yield f"{asked}, {value / largest:.2g} times the most that the recipe asks for ({name} of {largest:g} V)"
    weakest_v = min(recipe.set.amplitude.start_v, recipe.reset.amplitude.start_v)
    if weakest_v <= limits.v_read_max_v <= _MOST["v_read_max_v"][0]:
        yield (
            f"limits.v_read_max_v: {limits.v_read_max_v:g} V asked, which writes: the recipe's weakest pulse has "
            f"{weakest_v:g} V (write a smaller limits.v_read_max_v)"
        )
    celsius = config.temperature_c
    if celsius is not None and not _COLDEST_C <= celsius <= _HOTTEST_C:
        yield (
            f"temperature_c: {celsius:g} asked; usual is {_COLDEST_C:g} to {_HOTTEST_C:g} (degrees Celsius, not kelvin)"
        )
