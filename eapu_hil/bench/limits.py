"""The checks of the interlock, each raising LimitError: one for each request of the contract but products, which have
`eapu_hil.bench.product_check`.

A message says array, cell, what was asked and what is allowed. Nothing here talks to an array. Each check copies the
request first and returns the copy: only that may be sent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eapu_hil.bench.recipe_limits import beyond, strongest_v
from eapu_hil.bench.requests import Numbered, own_cells, own_pulses, own_recipe, own_targets
from eapu_hil.bench.window import outside_window, unit_hint, window_text
from eapu_hil.hal import Cells, FloatArray, IntArray, LimitError, Limits, Polarity, Pulses, Targets
from eapu_hil.hal.recipe import Recipe
from eapu_hil.hal.vectors import real_number

_WAIT_MAX_s = 1e9


@dataclass(frozen=True)
class LimitCheck:
    """The limits of one array of `shape` (rows, columns); `name` is how messages call it.

    several: where the cells of the request are on several arrays of this shape and with these limits.
    """

    name: str
    shape: tuple[int, int]
    limits: Limits
    several: Numbered | None = None

    def wait(self, duration_s: float) -> float:
        """A time of 0 s or more, and at most some 30 years: the clock of a chip never goes back."""
        duration_s = real_number(duration_s, "a wait")
        if not 0.0 <= duration_s <= _WAIT_MAX_s:
            raise LimitError(
                f"{self.name}: a wait of {duration_s} s asked; allowed are 0 to {_WAIT_MAX_s:g} s"
            )
        return duration_s

    def read(self, cells: Cells, v_read_v: float) -> tuple[Cells, float]:
        """Cells of the array (repeated ones are fine) at a read voltage."""
        cells, v_read_v = own_cells(cells), real_number(v_read_v, "a read voltage")
        self._check_cells(cells)
        most_v = self.limits.v_read_max_v
        if not 0.0 < abs(v_read_v) <= most_v:
            raise LimitError(
                f"{self.name}: a read at {v_read_v} V asked; allowed is at most {most_v} V "
                "(limits.v_read_max_v), and not 0 V"
            )
        return cells, v_read_v

    def pulses(self, pulses: Pulses, g_last_S: Callable[[Cells], FloatArray]) -> Pulses:
        """Cells once each, pulses inside the limits; currents too, where `g_last_S` knows the cell (not NaN)."""
        pulses = own_pulses(pulses)
        limits, cells = self.limits, pulses.cells
        self._check_cells(cells)
        self._check_once(cells)
        known = np.isin(pulses.polarity, [int(polarity) for polarity in Polarity])
        allowed = ", ".join(f"{polarity.name} {polarity.value}" for polarity in Polarity)
        self._refuse(~known, cells, lambda i: f"polarity {pulses.polarity[i]} asked; allowed are {allowed}")
        for values, most, asked, unit, limit in (
            (pulses.amplitude_v, limits.v_max_v, "an amplitude of", "V", "v_max_v"),
            (pulses.width_s, limits.width_max_s, "a width of", "s", "width_max_s"),
            (pulses.count, limits.pulses_per_cell_max, "a count of", "pulses", "pulses_per_cell_max"),
        ):
            self._check_range(values, most, cells, asked, unit, limit)
        gate_v, most_v = pulses.gate_v, limits.v_gate_max_v
        self._refuse(
            ~((gate_v >= 0.0) & (gate_v <= most_v)),
            cells,
            lambda i: f"a gate of {gate_v[i]} V asked; allowed is 0 V to {most_v} V (limits.v_gate_max_v)",
        )
        self._check_current(pulses.amplitude_v, g_last_S(cells), cells, "its last reading")
        return pulses

    def program(self, targets: Targets, recipe: Recipe) -> tuple[Targets, Recipe]:
        """Cells once each, targets inside the window of `recipe`, and nothing in it beyond the limits."""
        targets, recipe = own_targets(targets), self.recipe(recipe)
        self._check_cells(targets.cells)
        self._check_once(targets.cells)
        self._check_targets(targets, recipe)
        self._check_window(targets, recipe)
        return targets, recipe

    def recipe(self, recipe: Recipe) -> Recipe:
        """A valid recipe, nothing in it beyond the limits."""
        try:
            recipe = own_recipe(recipe)
        except LimitError as error:
            raise LimitError(f"{self.name}: {error}") from error
        said = beyond(recipe, self.limits)
        if said:
            raise LimitError(f"{self.name}: {said}")
        return recipe

    def _check_cells(self, cells: Cells) -> None:
        rows, columns = self.shape
        outside = (cells.row < 0) | (cells.row >= rows) | (cells.col < 0) | (cells.col >= columns)
        self._refuse(
            outside, cells, lambda _: f"outside the array; allowed are {rows} rows and {columns} columns"
        )

    def _check_once(self, cells: Cells) -> None:
        flat = cells.row * self.shape[1] + cells.col
        if self.several is not None:
            flat += self.several.array * (self.shape[0] * self.shape[1])
        if not _has_repeated(flat):
            return
        _, first = np.unique(flat, return_index=True)
        repeated = np.ones(len(cells), dtype=bool)
        repeated[first] = False
        self._refuse(repeated, cells, lambda _: "asked twice in one request; allowed is once")

    def _check_targets(self, targets: Targets, recipe: Recipe) -> None:
        g_S, cells = targets.g_target_S, targets.cells
        wrong = ~(np.isfinite(g_S) & (g_S > 0.0))
        self._refuse(
            wrong, cells, lambda i: f"a target of {g_S[i]} S asked; allowed are finite targets above 0 S"
        )
        self._check_current(np.full(len(cells), strongest_v(recipe)), g_S, cells, "its target")

    def _check_window(self, targets: Targets, recipe: Recipe) -> None:
        g_S = targets.g_target_S
        self._refuse(
            outside_window(g_S, recipe),
            targets.cells,
            lambda i: (
                f"a target of {g_S[i]:g} S asked; allowed is {window_text(recipe)}"
                f"{unit_hint(float(g_S[i]), 'siemens', recipe)}"
            ),
        )

    def _check_current(self, amplitude_v: FloatArray, g_S: FloatArray, cells: Cells, source: str) -> None:
        """A cell that was never read (NaN) is left to the current limit of the bench itself."""
        most_a = self.limits.i_max_a
        with np.errstate(over="ignore"):  # beyond all numbers is beyond the limit
            current_a = amplitude_v * g_S
        self._refuse(
            current_a > most_a,
            cells,
            lambda i: (
                f"a pulse of {amplitude_v[i]} V asked, {current_a[i]:.4g} A at {source} of {g_S[i]:.4g} S; "
                f"allowed is at most {most_a} A (limits.i_max_a)"
            ),
        )

    def _check_range(
        self, values: FloatArray | IntArray, most: float, cells: Cells, asked: str, unit: str, limit: str
    ) -> None:
        """Above 0 and at most `most`; NaN is neither."""
        self._refuse(
            ~((values > 0) & (values <= most)),
            cells,
            lambda i: (
                f"{asked} {values[i]} {unit} asked; "
                f"allowed is above 0 and at most {most} {unit} (limits.{limit})"
            ),
        )

    def _refuse(self, wrong: NDArray[np.bool_], cells: Cells, why: Callable[[int], str]) -> None:
        """Raises for the first cell that is `wrong`; `why` says what was asked of it and what is allowed."""
        if not wrong.any():
            return
        first = int(np.argmax(wrong))
        others = int(np.count_nonzero(wrong)) - 1
        more = f" (and {others} more cells)" if others else ""
        name = self.name if self.several is None else self.several.names[self.several.array[first]]
        raise LimitError(f"{name}, cell ({cells.row[first]}, {cells.col[first]}): {why(first)}{more}")


def _has_repeated(numbers: IntArray) -> bool:
    """Faster than `np.unique`."""
    ordered = np.sort(numbers)
    return bool((ordered[1:] == ordered[:-1]).any())
