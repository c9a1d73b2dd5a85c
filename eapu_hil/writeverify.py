"""Write-verify: one pure decision function, and one engine that drives any `Crossbar` with it.

The scheme joins what published systems do: gate-controlled SET first, an amplitude ramp for RESET that restarts
when the direction flips, a second read that confirms, and caps on pulses, flips and time (NeuRRAM,
doi 10.1038/s41586-022-04992-8; a survey of code is behind every default of the recipe).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import (
    Cells,
    CellStatus,
    Crossbar,
    FloatArray,
    IntArray,
    Polarity,
    Pulses,
    StatusArray,
    Targets,
    WriteOutcome,
)
from eapu_hil.recipe import Recipe

BoolArray = NDArray[np.bool_]


class Action(IntEnum):
    """What to do next with a cell. SET and RESET have the values of `Polarity`."""

    RESET = -1
    CONFIRM = 0  # read again; nothing is pulsed
    SET = 1
    STOP = 2


@dataclass(frozen=True, eq=False)
class History:
    """What write-verify remembers of each cell between readings; arrays of shape (n,).

    g_first_s: the first reading. direction: of the last pulse (0: none yet).
    gate_v: of the last SET, lowered by what it overshot; the next SET starts from it (0: no SET yet).
    set_amplitude_v, reset_amplitude_v: of the last pulse of each kind.
    pulses, flips, at_cap: pulses so far, changes of direction, strongest pulses in a row.
    confirming: the last reading was inside the band and the next one confirms it.
    """

    g_first_s: FloatArray
    direction: IntArray
    gate_v: FloatArray
    set_amplitude_v: FloatArray
    reset_amplitude_v: FloatArray
    pulses: IntArray
    flips: IntArray
    at_cap: IntArray
    confirming: BoolArray

    @classmethod
    def start(cls, g_first_s: FloatArray) -> History:
        """The history of cells that were read once and not pulsed yet."""
        n = g_first_s.size
        whole, real = np.zeros(n, np.int64), np.zeros(n)
        return cls(g_first_s, whole, real, real, real, whole, whole, whole, np.zeros(n, bool))

    def take(self, index: NDArray[np.generic]) -> History:
        """The history of the chosen cells."""
        return History(**{name: values[index] for name, values in vars(self).items()})


@dataclass(frozen=True, eq=False)
class Decision:
    """The next step of each cell: an `Action`, the pulse it needs, and the status of those that stop."""

    action: IntArray
    amplitude_v: FloatArray
    gate_v: FloatArray
    width_s: FloatArray
    status: StatusArray


def decide(
    recipe: Recipe, g_target_s: FloatArray, g_read_s: FloatArray, history: History
) -> tuple[Decision, History]:
    """Decides the next step of each cell from its target, its last reading and its history. Pure.

    All arrays have shape (n,); conductances in S. A cell inside its band is read once more and then done.
    Outside it is pulsed towards the target: SET with the gate voltage that the nominal G(Vg) line gives,
    corrected by what the previous SET missed; RESET with an amplitude that grows while the direction stays.
    A flip restarts the ramp of the new direction.
    """
    error = g_read_s - g_target_s
    inside = np.abs(error) <= recipe.band_s
    # A ramp goes on to the middle half of the band: cells that just crossed its edge would bias the result.
    short = np.where(history.direction == Polarity.RESET, error, -error) > recipe.band_s / 2
    inside &= history.confirming | (history.direction == 0) | ~short
    if recipe.rewrite_in_band:
        inside &= history.pulses > 0
    done = inside & history.confirming
    confirm = inside & ~history.confirming
    wanted = np.where(error < 0, Polarity.SET, Polarity.RESET)
    flipped = ~inside & (history.direction != 0) & (wanted != history.direction)
    flips = history.flips + flipped

    gate_v, set_v, set_strongest = _next_set(recipe, g_target_s, error, history)
    reset_v, reset_strongest = _next_reset(recipe, history)
    rising = wanted == Polarity.SET
    strongest = np.where(rising, set_strongest, reset_strongest)
    exhausted = ~inside & strongest & (history.at_cap >= recipe.pulses_at_cap_max) & ~flipped
    capped = ~inside & ~exhausted & ((history.pulses >= recipe.pulses_max) | (flips > recipe.flips_max))
    unmoved = np.abs(g_read_s - history.g_first_s) <= recipe.band_s
    status = np.where(exhausted, np.where(unmoved, CellStatus.STUCK, CellStatus.LIMIT), CellStatus.OK)
    status = np.where(capped, CellStatus.NOT_CONVERGED, status).astype(np.uint8)

    stop = done | exhausted | capped
    after_set = history.direction == Polarity.SET
    overshot_v = np.where(flipped & after_set, error / recipe.set.gate_slope_s_per_v, 0.0)
    action = np.where(stop, Action.STOP, np.where(confirm, Action.CONFIRM, wanted))
    pulsed = ~stop & ~confirm
    up, down = pulsed & rising, pulsed & ~rising
    after = replace(
        history,
        direction=np.where(pulsed, wanted, history.direction),
        gate_v=np.where(up, gate_v, history.gate_v - overshot_v),
        set_amplitude_v=np.where(up, set_v, history.set_amplitude_v),
        reset_amplitude_v=np.where(down, reset_v, history.reset_amplitude_v),
        pulses=history.pulses + pulsed,
        flips=np.where(pulsed, flips, history.flips),
        at_cap=np.where(pulsed, np.where(strongest & ~flipped, history.at_cap + 1, 0), history.at_cap),
        confirming=confirm,
    )
    decision = Decision(
        action=action.astype(np.int64),
        amplitude_v=np.where(rising, set_v, reset_v),
        gate_v=np.where(rising, gate_v, recipe.reset.gate_v),
        width_s=np.where(rising, recipe.set.width_s, recipe.reset.width_s),
        status=status,
    )
    return decision, after


def _next_set(
    recipe: Recipe, g_target_s: FloatArray, error_s: FloatArray, history: History
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Gate voltage and amplitude of the next SET, and whether it is the strongest there is."""
    law = recipe.set
    first = history.gate_v == 0.0
    nominal_v = law.gate_offset_v + g_target_s / law.gate_slope_s_per_v
    again = history.direction == Polarity.SET
    # The last SET left the cell low by -error: raise the gate by what the line says, at least by one step.
    raised_v = history.gate_v + np.maximum(-error_s / law.gate_slope_s_per_v, law.gate.step_v)
    gate_v = np.where(first, nominal_v, np.where(again, raised_v, history.gate_v))
    gate_v = np.clip(gate_v, law.gate.start_v, law.gate.stop_v)
    gate_spent = again & (history.gate_v >= law.gate.stop_v)
    stepped_v = np.minimum(history.set_amplitude_v + law.amplitude.step_v, law.amplitude.stop_v)
    amplitude_v = np.where(gate_spent, stepped_v, law.amplitude.start_v)
    strongest = (gate_v >= law.gate.stop_v) & (amplitude_v >= law.amplitude.stop_v)
    return gate_v, amplitude_v, strongest


def _next_reset(recipe: Recipe, history: History) -> tuple[FloatArray, BoolArray]:
    """Amplitude of the next RESET, and whether it is the strongest there is."""
    ramp = recipe.reset.amplitude
    again = history.direction == Polarity.RESET
    stepped_v = np.minimum(history.reset_amplitude_v + ramp.step_v, ramp.stop_v)
    amplitude_v = np.where(again, stepped_v, ramp.start_v)
    return amplitude_v, amplitude_v >= ramp.stop_v


def write_verify(array: Crossbar, targets: Targets, recipe: Recipe) -> WriteOutcome:
    """Programs all cells of `targets` side by side until each has converged or met a cap.

    Further epochs (`recipe.epochs`) repeat this after `epoch_wait_s`, for the cells that relaxed out of their
    band. Returns totals over all epochs; the status is that of the last.
    """
    total = _one_epoch(array, targets, recipe)
    for _ in range(recipe.epochs - 1):
        array.wait(recipe.epoch_wait_s)
        last = _one_epoch(array, targets, _without_rewrite(recipe))
        total = WriteOutcome(
            g_before_s=total.g_before_s,
            g_after_s=last.g_after_s,
            pulses=total.pulses + last.pulses,
            reads=total.reads + last.reads,
            energy_j=total.energy_j + last.energy_j,
            status=last.status,
        )
    return total


def _without_rewrite(recipe: Recipe) -> Recipe:
    """The recipe for later epochs: cells inside their band are left alone."""
    return recipe.model_copy(update={"rewrite_in_band": False})


def _one_epoch(array: Crossbar, targets: Targets, recipe: Recipe) -> WriteOutcome:
    cells, n = targets.cells, len(targets)
    end_s = array.clock_s() + recipe.time_max_s
    g_now = array.read(cells, recipe.v_read_v).g_s
    g_before, g_after = g_now, g_now.copy()
    energy, status = np.zeros(n), np.full(n, CellStatus.NOT_CONVERGED, np.uint8)
    pulses, reads = np.zeros(n, np.int64), np.ones(n, np.int64)
    active, history = np.arange(n), History.start(g_now)
    while active.size:
        decision, history = decide(recipe, targets.g_target_s[active], g_now, history)
        go_on = decision.action != Action.STOP
        status[active[~go_on]] = decision.status[~go_on]
        pulsed = np.flatnonzero(np.abs(decision.action) == 1)
        if pulsed.size:
            compliance = _apply(array, cells[active[pulsed]], decision, pulsed)
            go_on[pulsed[compliance]] = False
            status[active[pulsed[compliance]]] = CellStatus.COMPLIANCE
            pulses[active[pulsed]] += 1
        # Cells that hit the current limit are read too: what they hold now belongs to the outcome.
        seen = np.flatnonzero(decision.action != Action.STOP)
        if seen.size:
            g_seen = array.read(cells[active[seen]], recipe.v_read_v).g_s
            reads[active[seen]] += 1
            g_after[active[seen]] = g_seen
            _add_energy(energy, active, decision, pulsed, g_now, g_seen, seen)
            g_now = g_now.copy()
            g_now[seen] = g_seen
        keep = np.flatnonzero(go_on)
        active, g_now, history = active[keep], g_now[keep], history.take(keep)
        if array.clock_s() >= end_s:
            break
    return WriteOutcome(g_before, g_after, pulses, reads, energy, status)


def _apply(array: Crossbar, cells: Cells, decision: Decision, pulsed: IntArray) -> BoolArray:
    outcome = array.pulse(
        Pulses(
            cells,
            polarity=decision.action[pulsed],
            amplitude_v=decision.amplitude_v[pulsed],
            gate_v=decision.gate_v[pulsed],
            width_s=decision.width_s[pulsed],
            count=np.ones(pulsed.size, np.int64),
        )
    )
    hit: BoolArray = (outcome.status & CellStatus.COMPLIANCE) != 0
    return hit


def _add_energy(
    energy_j: FloatArray,
    active: IntArray,
    decision: Decision,
    pulsed: IntArray,
    g_was_s: FloatArray,
    g_seen_s: FloatArray,
    seen: IntArray,
) -> None:
    """Energy in the cell: V^2 times the mean conductance before and after times the width."""
    g_is = g_was_s.copy()
    g_is[seen] = g_seen_s
    mean_s = 0.5 * (np.maximum(g_was_s[pulsed], 0.0) + np.maximum(g_is[pulsed], 0.0))
    energy_j[active[pulsed]] += decision.amplitude_v[pulsed] ** 2 * mean_s * decision.width_s[pulsed]
