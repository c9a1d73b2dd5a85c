"""Write-verify: one pure decision function, and one engine that drives any `Crossbar` with it.

The scheme joins what published systems do: gate-controlled SET first, an amplitude ramp for RESET that restarts
when the direction flips, a second read that confirms, and caps on pulses, flips and time (NeuRRAM,
doi 10.1038/s41586-022-04992-8; a survey of code is behind every default of the recipe).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import partial

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal.crossbar import (
    Cells,
    CellStatus,
    Crossbar,
    Polarity,
    Pulses,
    StatusArray,
    Targets,
    WriteOutcome,
)
from eapu_hil.hal.recipe import Recipe
from eapu_hil.hal.vectors import FloatArray, IntArray

BoolArray = NDArray[np.bool_]


class Action(IntEnum):
    """The next step for a cell. SET and RESET have the values of `Polarity`."""

    RESET = -1
    CONFIRM = 0  # read again; nothing is pulsed
    SET = 1
    STOP = 2


@dataclass(frozen=True, eq=False)
class History:
    """The state of write-verify for each cell between readings; arrays of shape (n,).

    g_first_S: the first reading. direction: of the last pulse (0: none yet).
    gate_v: of the last SET, lowered by what it overshot; the next SET starts from it (0: no SET yet).
    set_amplitude_v, reset_amplitude_v: of the last pulse of each kind.
    pulses, flips, at_cap: pulses so far, changes of direction, strongest pulses in a row.
    confirming: the last reading was inside the band and the next one confirms it.
    moved: some reading lay more than a band from the first. probed: the strongest pulse against the direction
    that did not move the cell was tried.
    """

    g_first_S: FloatArray
    direction: IntArray
    gate_v: FloatArray
    set_amplitude_v: FloatArray
    reset_amplitude_v: FloatArray
    pulses: IntArray
    flips: IntArray
    at_cap: IntArray
    confirming: BoolArray
    moved: BoolArray
    probed: BoolArray

    @classmethod
    def start(cls, g_first_S: FloatArray) -> History:
        """The history of cells that were read once and not pulsed yet."""
        n = g_first_S.size
        whole, real, no = np.zeros(n, np.int64), np.zeros(n), np.zeros(n, bool)
        return cls(g_first_S, whole, real, real, real, whole, whole, whole, no, no, no)

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
    recipe: Recipe, g_target_S: FloatArray, g_read_S: FloatArray, history: History
) -> tuple[Decision, History]:
    """Decides the next step of each cell from its target, its last reading and its history. Pure.

    All arrays have shape (n,); conductances in S. A cell inside its band is read once more and then done.
    Outside it is pulsed towards the target: SET with the gate voltage that the nominal G(Vg) line gives,
    corrected by what the previous SET missed; RESET with an amplitude that grows while the direction stays.
    A flip restarts the ramp of the new direction. A ramp at its end stops as LIMIT; if nothing has moved the
    cell yet, the strongest pulse the other way decides whether it is STUCK.
    """
    error = g_read_S - g_target_S
    wanted = np.where(error < 0, Polarity.SET, Polarity.RESET)
    gate_v, set_v, set_strongest = _next_set(recipe, g_target_S, error, history)
    reset_v, reset_strongest = _next_reset(recipe, history)
    strongest = np.where(wanted == Polarity.SET, set_strongest, reset_strongest)
    at = _assess(recipe, error, g_read_S, wanted, strongest, history)

    kind = np.where(at.probe, -wanted, wanted)
    rising = kind == Polarity.SET
    pulsed = ~at.stop & ~at.confirm
    up, down = pulsed & rising, pulsed & ~rising
    gate_v = np.where(at.probe, recipe.set.gate.stop_v, gate_v)
    set_v = np.where(at.probe, recipe.set.amplitude.stop_v, set_v)
    reset_v = np.where(at.probe, recipe.reset.amplitude.stop_v, reset_v)
    after_set = history.direction == Polarity.SET
    overshot_v = np.where(at.flipped & after_set, error / recipe.set.gate_slope_S_per_v, 0.0)
    after = replace(
        history,
        direction=np.where(pulsed, kind, history.direction),
        gate_v=np.where(up, gate_v, history.gate_v - overshot_v),
        set_amplitude_v=np.where(up, set_v, history.set_amplitude_v),
        reset_amplitude_v=np.where(down, reset_v, history.reset_amplitude_v),
        pulses=history.pulses + pulsed,
        flips=np.where(pulsed, at.flips, history.flips),
        at_cap=np.where(pulsed, np.where(strongest & ~at.flipped, history.at_cap + 1, 0), history.at_cap),
        confirming=at.confirm,
        moved=at.moved,
        probed=history.probed | at.probe,
    )
    action = np.where(at.stop, Action.STOP, np.where(at.confirm, Action.CONFIRM, kind))
    decision = Decision(
        action=action.astype(np.int64),
        amplitude_v=np.where(rising, set_v, reset_v),
        gate_v=np.where(rising, gate_v, recipe.reset.gate_v),
        width_s=np.where(rising, recipe.set.width_s, recipe.reset.width_s),
        status=at.status,
    )
    return decision, after


@dataclass(frozen=True, eq=False)
class _Assessment:
    """Where each cell stands: arrays of shape (n,). status: of the cells that stop."""

    stop: BoolArray
    confirm: BoolArray
    probe: BoolArray
    flipped: BoolArray
    flips: IntArray
    moved: BoolArray
    status: StatusArray


def _assess(
    recipe: Recipe,
    error_S: FloatArray,
    g_read_S: FloatArray,
    wanted: IntArray,
    strongest: BoolArray,
    history: History,
) -> _Assessment:
    """Whether a cell is in place, has met a cap, or goes on. strongest: no pulse stronger than the next."""
    size_S = np.abs(error_S)
    in_band = size_S <= recipe.band_S
    if recipe.rewrite_in_band:
        in_band &= history.pulses > 0
    turned = (history.direction != 0) & (wanted != history.direction)
    flips = history.flips + (turned & ~in_band)
    spent = strongest & ~turned & (history.at_cap >= recipe.pulses_at_cap_max)
    over = (history.pulses >= recipe.pulses_max) | (flips > recipe.flips_max)
    # A ramp goes on to the middle half of the band: cells that just crossed its edge would bias the result.
    on_the_way = (history.direction != 0) & ~turned & ~history.confirming & (size_S > recipe.band_S / 2)
    inside = in_band & (~on_the_way | spent | over)

    moved = history.moved | (np.abs(g_read_S - history.g_first_S) > recipe.band_S)
    stuck = ~in_band & history.probed & ~moved
    probe = ~inside & spent & ~moved & ~history.probed & ~over
    limit = ~inside & spent & ~probe & ~stuck
    capped = ~inside & over & ~limit & ~stuck
    status = np.select(
        [stuck, limit, capped],
        [CellStatus.STUCK, CellStatus.LIMIT, CellStatus.NOT_CONVERGED],
        CellStatus.OK,
    ).astype(np.uint8)
    stop = (inside & history.confirming) | (status != CellStatus.OK)
    return _Assessment(stop, inside & ~history.confirming, probe, turned & ~inside, flips, moved, status)


def _next_set(
    recipe: Recipe, g_target_S: FloatArray, error_S: FloatArray, history: History
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Gate voltage and amplitude of the next SET, and whether it is the strongest there is."""
    law = recipe.set
    first = history.gate_v == 0.0
    nominal_v = law.gate_offset_v + g_target_S / law.gate_slope_S_per_v
    again = history.direction == Polarity.SET
    # The last SET left the cell low by -error: raise the gate by what the line says, at least by one step.
    raised_v = history.gate_v + np.maximum(-error_S / law.gate_slope_S_per_v, law.gate.step_v)
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
    """Programs all cells of `targets` side by side until each has converged or met a cap, epoch after epoch."""
    return repeat_epochs(array.wait, targets, recipe, partial(_one_epoch, array))


def repeat_epochs(
    wait: Callable[[float], None],
    targets: Targets,
    recipe: Recipe,
    one_epoch: Callable[[Targets, Recipe], WriteOutcome],
) -> WriteOutcome:
    """Runs `one_epoch` as often as the recipe says; a backend may bring its own, nearer to the cells.

    wait: `Crossbar.wait`.

    Further epochs (`recipe.epochs`) repeat it after `epoch_wait_s`, for the cells that relaxed out of their
    band or did not converge; those that cannot be written are left alone. Returns totals over all epochs; the
    status is that of the last epoch of each cell.
    """
    total = one_epoch(targets, recipe)
    for _ in range(recipe.epochs - 1):
        wait(recipe.epoch_wait_s)
        again = np.flatnonzero((total.status & ~np.uint8(CellStatus.NOT_CONVERGED)) == 0)
        chosen = Targets(targets.cells[again], targets.g_target_S[again])
        last = one_epoch(chosen, _without_rewrite(recipe))
        total.g_after_S[again] = last.g_after_S
        total.status[again] = last.status
        for sums, more in (
            (total.pulses, last.pulses),
            (total.reads, last.reads),
            (total.energy_j, last.energy_j),
        ):
            sums[again] += more
    return total


def _without_rewrite(recipe: Recipe) -> Recipe:
    """The recipe for later epochs: cells inside their band are left alone."""
    return recipe.model_copy(update={"rewrite_in_band": False})


def _one_epoch(array: Crossbar, targets: Targets, recipe: Recipe) -> WriteOutcome:
    cells, n = targets.cells, len(targets)
    end_s = array.clock_s() + recipe.time_max_s
    g_now = array.read(cells, recipe.v_read_v).g_S
    g_before, g_after = g_now, g_now.copy()
    energy, status = np.zeros(n), np.full(n, CellStatus.NOT_CONVERGED, np.uint8)
    pulses, reads = np.zeros(n, np.int64), np.ones(n, np.int64)
    active, history = np.arange(n), History.start(g_now)
    while active.size:
        decision, history = decide(recipe, targets.g_target_S[active], g_now, history)
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
            g_seen = array.read(cells[active[seen]], recipe.v_read_v).g_S
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
    g_was_S: FloatArray,
    g_seen_S: FloatArray,
    seen: IntArray,
) -> None:
    """Energy in the cell: V^2 times the mean conductance before and after times the width."""
    g_is = g_was_S.copy()
    g_is[seen] = g_seen_S
    mean_S = 0.5 * (np.maximum(g_was_S[pulsed], 0.0) + np.maximum(g_is[pulsed], 0.0))
    energy_j[active[pulsed]] += decision.amplitude_v[pulsed] ** 2 * mean_S * decision.width_s[pulsed]
