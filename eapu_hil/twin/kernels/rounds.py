"""The rounds of write-verify on the twin's cells: pulses, the readings after them, and the next decisions.

Between two stretches of rounds the pulses of the next are counted, and cells that are due relax and fluctuate.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.kernels.compiling import compiled
from eapu_hil.hal import CellStatus, Polarity
from eapu_hil.twin.kernels.cells import CellState, pulse_cell
from eapu_hil.twin.kernels.noise import Noise
from eapu_hil.twin.kernels.rows import Senses, read_cells
from eapu_hil.twin.kernels.verify import CONFIRM, Writing, decide_cells

_COMPLIANCE, _SET = int(CellStatus.COMPLIANCE), int(Polarity.SET)


@compiled
def pulse_round(
    cells: CellState,
    cell_law: NDArray[np.void],
    law: NDArray[np.void],
    w: Writing,
    active: int,
    now_s: float,
    pulse_overhead_s: float,
    i_max_a: float,
    noise: Noise,
) -> float:
    """The pulses that were decided. Returns the bench time that they take, s."""
    its, took_s = law[0], 0.0
    for at in range(active):
        k = w.active[at]
        if w.action[k] == CONFIRM:
            continue
        width_s = its["set_width_s"] if w.action[k] == _SET else its["reset_width_s"]
        peak_a = pulse_cell(
            cells,
            cell_law,
            w.cell[k],
            w.action[k],
            w.amplitude_v[k],
            w.gate_v[k],
            width_s,
            now_s,
            np.inf,
            noise,
        )
        took_s += width_s + pulse_overhead_s
        if peak_a >= i_max_a:
            w.status[k] = _COMPLIANCE
    return took_s


@compiled
def read_round(
    cells: CellState,
    senses: Senses,
    law: NDArray[np.void],
    w: Writing,
    active: int,
    v_row_v: float,
    noise: Noise,
) -> tuple[int, float]:
    """Reads the cells that were pulsed or wait for a second reading, those at the current limit too.

    Returns how many go on, and the bench time that it takes, s.
    """
    its = law[0]
    index, g_S = np.empty(active, np.int64), np.empty(active)
    for at in range(active):
        index[at] = w.cell[w.active[at]]
    took_s = read_cells(cells, senses, index, active, v_row_v, noise, g_S, np.empty(active, np.bool_))
    going = 0
    for at in range(active):
        k = w.active[at]
        w.reads[k] += 1
        w.g_after_S[k] = g_S[at]
        if w.action[k] != CONFIRM:
            mean_S = 0.5 * (max(w.g_now_S[k], 0.0) + max(g_S[at], 0.0))
            width_s = its["set_width_s"] if w.action[k] == _SET else its["reset_width_s"]
            w.energy_j[k] += w.amplitude_v[k] ** 2 * mean_S * width_s
        w.g_now_S[k] = g_S[at]
        if w.status[k] != _COMPLIANCE:
            w.active[going] = k
            going += 1
    return going, took_s


@compiled
def write_rounds(
    cells: CellState,
    cell_law: NDArray[np.void],
    senses: Senses,
    law: NDArray[np.void],
    w: Writing,
    active: int,
    rounds: int,
    times_s: tuple[float, float, float, float],
    v_row_v: float,
    i_max_a: float,
    noise: Noise,
) -> tuple[int, float]:
    """Up to `rounds` rounds: decisions, the pulses that were decided, and the readings after them.

    times_s: now; when no round begins any more; when the cells are due to relax; and of a pulse besides its width.
    Returns how many cells go on, and the time at the end, s.
    """
    now_s, end_s, due_s, pulse_overhead_s = times_s
    for _ in range(rounds):
        active = decide_cells(law, w, active)
        if not active:
            break
        now_s += pulse_round(cells, cell_law, law, w, active, now_s, pulse_overhead_s, i_max_a, noise)
        active, took_s = read_round(cells, senses, law, w, active, v_row_v, noise)
        now_s += took_s
        if now_s >= end_s:
            return 0, now_s
        if now_s >= due_s:
            break
    return active, now_s
