"""The sources around an array and their setups, the bench clock, and the addresses of the instruments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from eapu_drivers.visa.config import SmuConfig
from eapu_drivers.visa.smu.contract import AsksState, Setup, SourceMeter, Verifier
from eapu_hil.hal import FloatArray, UnsupportedError
from eapu_hil.hal.recipe import Recipe

# The part of the voltage that each bias has, by the number of biases: none, V/2, V/3 (V/3 at lines of the driven kind).
_SHARES: tuple[tuple[float, ...], ...] = ((), (1 / 2,), (1 / 3, 2 / 3))


class Clock(Protocol):
    """Bench time."""

    def now_s(self) -> float:
        """It only moves forward."""
        ...

    def wait(self, duration_s: float) -> None:
        """Lets time pass."""
        ...


@dataclass(frozen=True)
class Setups:
    """How the source reads and pulses, how gate and biases source, and the gate of readings in V."""

    read: Setup
    pulse: Setup
    gate: Setup
    bias: Setup
    gate_read_v: float


@dataclass(frozen=True, eq=False)
class Sources:
    """The instruments' channels. verifier: of the source, where it has one that may be used."""

    cell: SourceMeter
    gate: SourceMeter
    bias: Sequence[SourceMeter]
    verifier: Verifier | None = None

    def all(self) -> list[SourceMeter]:
        """Every channel."""
        return [self.cell, self.gate, *self.bias]

    def hold_biases(self, level_v: float) -> None:
        """Each bias at its part of `level_v`."""
        for bias, share in zip(self.bias, _SHARES[len(self.bias)], strict=True):
            bias.hold(share * level_v)


@dataclass(frozen=True)
class Place:
    """Where the instrument of a role answers: VISA name, channel (None: its first)."""

    resource: str
    channel: str | None


def switch_on(source: SourceMeter, setup: Setup) -> None:
    """Sets it up and connects it, at 0 V. It is asked before: with another function it would drive the cell."""
    source.set_up(setup)
    if isinstance(source, AsksState):
        source.require_as_left()
    source.output(True)


def unsuitable_width(recipe: Recipe, source: SourceMeter) -> str | None:
    """The reason why `source` cannot make the pulses of `recipe`; None if it can."""
    can = source.abilities
    widths_s = {"set": recipe.set.width_s, "reset": recipe.reset.width_s, "form": recipe.form.width_s}
    for key, width_s in widths_s.items():
        if not can.pulse_min_s <= width_s <= can.pulse_max_s:
            return (
                f"recipe.{key}.width_s: {width_s:.3g} s; the {source.identity.model} makes pulses of "
                f"{can.pulse_min_s:.3g} s to {can.pulse_max_s:.3g} s; write recipe: {SmuConfig.default_recipe}, with "
                "pulses of 2 ms and longer"
            )
    return None


def require_widths(width_s: FloatArray, source: SourceMeter) -> None:
    """Raises UnsupportedError for a width that `source` cannot make."""
    can = source.abilities
    wrong = np.flatnonzero((width_s < can.pulse_min_s) | (width_s > can.pulse_max_s))
    if wrong.size:
        raise UnsupportedError(
            f"{source.identity.maker} {source.identity.model}: a pulse of {width_s[wrong[0]]:.3g} s asked; it can do "
            f"{can.pulse_min_s:.3g} s to {can.pulse_max_s:.3g} s"
        )
