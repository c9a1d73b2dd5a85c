"""Write-verify in compiled form: `eapu_hil.hal.writeverify.decide` cell by cell.

A test compares the two forms over random states. Its rounds on the twin's cells are in `rounds.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.kernels.compiling import compiled, inlined, record
from eapu_hil.hal import CellStatus, FloatArray, IntArray
from eapu_hil.hal.recipe import Recipe
from eapu_hil.hal.writeverify import Action

STOP, CONFIRM = int(Action.STOP), int(Action.CONFIRM)  # a pulse has the value of its polarity
_OK, _NOT_CONVERGED = int(CellStatus.OK), int(CellStatus.NOT_CONVERGED)
_LIMIT, _STUCK = int(CellStatus.LIMIT), int(CellStatus.STUCK)


class Writing(NamedTuple):
    """Cells that are being written, each array of shape (n,); `active`: those not done yet, the first ones of it count.

    See `History` and `Decision` of `eapu_hil.hal.writeverify`.
    """

    cell: IntArray
    g_target_S: FloatArray
    g_now_S: FloatArray
    g_after_S: FloatArray
    energy_j: FloatArray
    status: NDArray[np.uint8]
    pulses: IntArray
    reads: IntArray
    active: IntArray
    g_first_S: FloatArray
    direction: IntArray
    last_gate_v: FloatArray
    last_set_v: FloatArray
    last_reset_v: FloatArray
    flips: IntArray
    at_cap: IntArray
    confirming: NDArray[np.bool_]
    moved: NDArray[np.bool_]
    probed: NDArray[np.bool_]
    action: IntArray
    amplitude_v: FloatArray
    gate_v: FloatArray


def writing(cell: IntArray, g_target_S: FloatArray, g_first_S: FloatArray) -> Writing:
    """Cells that were read once, and not pulsed yet."""
    n = cell.size

    def real() -> FloatArray:
        return np.zeros(n)

    def whole() -> IntArray:
        return np.zeros(n, np.int64)

    def no() -> NDArray[np.bool_]:
        return np.zeros(n, np.bool_)

    return Writing(
        cell=cell,
        g_target_S=g_target_S,
        g_now_S=g_first_S.copy(),
        g_after_S=g_first_S.copy(),
        energy_j=real(),
        status=np.full(n, _NOT_CONVERGED, np.uint8),
        pulses=whole(),
        reads=np.ones(n, np.int64),
        active=np.arange(n),
        g_first_S=g_first_S,
        direction=whole(),
        last_gate_v=real(),
        last_set_v=real(),
        last_reset_v=real(),
        flips=whole(),
        at_cap=whole(),
        confirming=no(),
        moved=no(),
        probed=no(),
        action=whole(),
        amplitude_v=real(),
        gate_v=real(),
    )


def recipe_law(recipe: Recipe) -> NDArray[np.void]:
    """The numbers of a recipe that decide."""
    up, down = recipe.set, recipe.reset
    return record(
        {
            "band_S": recipe.band_S,
            "rewrite": recipe.rewrite_in_band,
            "pulses_max": recipe.pulses_max,
            "flips_max": recipe.flips_max,
            "at_cap_max": recipe.pulses_at_cap_max,
            "offset_v": up.gate_offset_v,
            "slope_S_per_v": up.gate_slope_S_per_v,
            "gate_start_v": up.gate.start_v,
            "gate_step_v": up.gate.step_v,
            "gate_stop_v": up.gate.stop_v,
            "set_start_v": up.amplitude.start_v,
            "set_step_v": up.amplitude.step_v,
            "set_stop_v": up.amplitude.stop_v,
            "set_width_s": up.width_s,
            "reset_gate_v": down.gate_v,
            "reset_start_v": down.amplitude.start_v,
            "reset_step_v": down.amplitude.step_v,
            "reset_stop_v": down.amplitude.stop_v,
            "reset_width_s": down.width_s,
        }
    )


@compiled
def _next_set(law: NDArray[np.void], w: Writing, k: int, error_S: float) -> tuple[float, float]:
    """Gate voltage and amplitude of the next SET."""
    its, again = law[0], w.direction[k] == 1
    if w.last_gate_v[k] == 0.0:
        gate_v = its["offset_v"] + w.g_target_S[k] / its["slope_S_per_v"]
    elif again:
        gate_v = w.last_gate_v[k] + max(-error_S / its["slope_S_per_v"], its["gate_step_v"])
    else:
        gate_v = w.last_gate_v[k]
    gate_v = min(max(gate_v, its["gate_start_v"]), its["gate_stop_v"])
    if again and w.last_gate_v[k] >= its["gate_stop_v"]:
        return gate_v, min(w.last_set_v[k] + its["set_step_v"], its["set_stop_v"])
    return gate_v, its["set_start_v"]


@inlined
def decide_cell(law: NDArray[np.void], w: Writing, k: int) -> None:
    """The next step of cell `k`: `action`, `amplitude_v`, `gate_v`, and `status` where it stops."""
    its = law[0]
    error_S = w.g_now_S[k] - w.g_target_S[k]
    size_S = abs(error_S)
    wanted = 1 if error_S < 0 else -1
    gate_v, set_v = _next_set(law, w, k, error_S)
    reset_v = its["reset_start_v"]
    if w.direction[k] == -1:
        reset_v = min(w.last_reset_v[k] + its["reset_step_v"], its["reset_stop_v"])
    if wanted == 1:
        strongest = gate_v >= its["gate_stop_v"] and set_v >= its["set_stop_v"]
    else:
        strongest = reset_v >= its["reset_stop_v"]

    in_band = size_S <= its["band_S"] and (its["rewrite"] == 0 or w.pulses[k] > 0)
    begun = w.direction[k] != 0
    turned = begun and wanted != w.direction[k]
    flips = w.flips[k] + (1 if turned and not in_band else 0)
    spent = strongest and not turned and w.at_cap[k] >= its["at_cap_max"]
    over = w.pulses[k] >= its["pulses_max"] or flips > its["flips_max"]
    on_the_way = begun and not turned and not w.confirming[k] and size_S > its["band_S"] / 2
    inside = in_band and (not on_the_way or spent or over)
    moved = w.moved[k] or abs(w.g_now_S[k] - w.g_first_S[k]) > its["band_S"]
    stuck = not in_band and w.probed[k] and not moved
    probe = not inside and spent and not moved and not w.probed[k] and not over
    limit = not inside and spent and not probe and not stuck
    capped = not inside and over and not limit and not stuck
    w.moved[k] = moved

    status = _STUCK if stuck else _LIMIT if limit else _NOT_CONVERGED if capped else _OK
    if status != _OK or (inside and w.confirming[k]):
        w.action[k], w.status[k] = STOP, status
        return
    if inside:
        w.action[k], w.confirming[k] = CONFIRM, True
        return
    kind = -wanted if probe else wanted
    if probe:
        gate_v, set_v, reset_v = its["gate_stop_v"], its["set_stop_v"], its["reset_stop_v"]
        w.probed[k] = True
    if kind == 1:
        w.last_gate_v[k], w.last_set_v[k] = gate_v, set_v
        w.amplitude_v[k], w.gate_v[k] = set_v, gate_v
    else:
        if turned:  # after a SET, which overshot by so much
            w.last_gate_v[k] -= error_S / its["slope_S_per_v"]
        w.last_reset_v[k] = reset_v
        w.amplitude_v[k], w.gate_v[k] = reset_v, its["reset_gate_v"]
    w.direction[k], w.action[k], w.confirming[k] = kind, kind, False
    w.flips[k] = flips
    w.at_cap[k] = w.at_cap[k] + 1 if strongest and not turned else 0
    w.pulses[k] += 1


@compiled
def decide_cells(law: NDArray[np.void], w: Writing, active: int) -> int:
    """Decides for the first `active` of `w.active`, and leaves those that go on in front. Returns how many."""
    going = 0
    for at in range(active):
        k = w.active[at]
        decide_cell(law, w, k)
        if w.action[k] != STOP:
            w.active[going] = k
            going += 1
    return going
