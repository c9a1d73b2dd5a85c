"""What a pulse does to a cell, and what a reading of its row shows; see `eapu_hil.twin.cells` for the laws."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.kernels.compiling import compiled, inlined
from eapu_hil.hal import FloatArray, IntArray, Polarity
from eapu_hil.twin.kernels.noise import Noise, normal, uniform

RESET = int(Polarity.RESET)


class CellState(NamedTuple):
    """All cells of a chip: each shape (cells,), array after array, row after row.

    g_S to passing_S change and are kept in files; the others identify the device. slow: dG/G of the moment.
    walk_g_S, walk_start: by state, log10 of the age (s) at which relaxation begins.
    """

    g_S: FloatArray
    formed: NDArray[np.bool_]
    dead: NDArray[np.bool_]
    wear: FloatArray
    written_s: FloatArray
    g_written_S: NDArray[np.float32]
    log_age: NDArray[np.float32]
    moved_S: NDArray[np.float32]
    passing_S: NDArray[np.float32]
    gate_threshold_v: NDArray[np.float32]
    gate_slope: NDArray[np.float32]
    v_set_v: NDArray[np.float32]
    v_reset_v: NDArray[np.float32]
    v_form_v: NDArray[np.float32]
    life: NDArray[np.float32]
    fails_high: NDArray[np.bool_]
    slow: NDArray[np.float32]
    walk_g_S: FloatArray
    walk_start: FloatArray


@inlined
def progress(
    pulse_v: float, width_s: float, half_v: float, slope_v: float, tau_s: float, threshold_v: float
) -> float:
    """Fraction of the way that one pulse covers, in [0, 1]."""
    if pulse_v < threshold_v:
        return 0.0
    return float(-np.expm1(-(width_s / tau_s) * np.exp(min((pulse_v - half_v) / slope_v, 50.0))))


@inlined
def _switched(g_S: float, mean_S: float, law: NDArray[np.void], noise: Noise) -> float:
    """A cell of binary elements after a pulse that leads to `mean_S` on average: each element switches or not."""
    low_S, elements = law[0]["g_min_S"], int(law[0]["elements"])
    step_S = (law[0]["g_max_S"] - low_S) / elements
    on = int(np.rint((g_S - low_S) / step_S))
    rising = mean_S > g_S
    free = elements - on if rising else on
    chance = min(abs(mean_S - g_S) / (max(free, 1) * step_S), 1.0)
    switched = 0
    for _ in range(free):
        if uniform(noise) < chance:
            switched += 1
    return float(low_S + step_S * (on + switched if rising else on - switched))


@inlined
def _set(
    cells: CellState,
    law: NDArray[np.void],
    i: int,
    reach_S: float,
    amplitude_v: float,
    width_s: float,
    noise: Noise,
) -> float:
    its, g_S = law[0], cells.g_S[i]
    covered = progress(
        amplitude_v,
        width_s,
        cells.v_set_v[i],
        its["set_slope_v"],
        its["set_tau_s"],
        its["set_threshold_v"],
    )
    change_S = covered * max(reach_S - g_S, 0.0)
    if its["elements"] > 0:
        return _switched(g_S, g_S + change_S, law, noise)
    # Where the transistor already limits the current below the cell's state nothing switches, noise included.
    if change_S > 0 and its["write_noise"] > 0:
        sd_S = np.sqrt(its["set_absolute_S"] ** 2 * covered + (its["set_relative"] * change_S) ** 2)
        change_S += sd_S * normal(noise)
    return float(g_S + change_S)


@inlined
def _reset(
    cells: CellState, law: NDArray[np.void], i: int, amplitude_v: float, width_s: float, noise: Noise
) -> float:
    its, g_S = law[0], cells.g_S[i]
    covered = progress(
        amplitude_v,
        width_s,
        cells.v_reset_v[i],
        its["reset_slope_v"],
        its["reset_tau_s"],
        its["reset_threshold_v"],
    )
    change_S = covered * max(g_S - its["floor_S"], 0.0)
    if its["elements"] > 0:
        return _switched(g_S, g_S - change_S, law, noise)
    if its["write_noise"] > 0:
        sd_S = np.sqrt(its["reset_absolute_S"] ** 2 * covered + (its["reset_relative"] * change_S) ** 2)
        change_S -= sd_S * normal(noise)
    return float(g_S - change_S)


@inlined
def interpolated(x: float, known_x: FloatArray, known_y: FloatArray) -> float:
    """As `np.interp`, which makes arrays of a single number: x ascends, beyond its ends y stays."""
    if x <= known_x[0]:
        return float(known_y[0])
    for k in range(1, known_x.size):
        if x < known_x[k]:
            share = (x - known_x[k - 1]) / (known_x[k] - known_x[k - 1])
            return float(known_y[k - 1] + share * (known_y[k] - known_y[k - 1]))
    return float(known_y[-1])


@inlined
def _moved(cells: CellState, law: NDArray[np.void], i: int, before_S: float, now_s: float) -> None:
    """After a pulse that moved the cell: relaxation begins anew, and its life is shorter."""
    its, after_S = law[0], cells.g_S[i]
    if its["relaxes"] > 0:
        cells.written_s[i] = now_s
        cells.g_written_S[i] = after_S
        cells.moved_S[i] = 0.0
        cells.passing_S[i] = 0.0
        cells.log_age[i] = interpolated(after_S, cells.walk_g_S, cells.walk_start)
    if its["wears"] > 0:
        step = max(abs(after_S - before_S) / (its["g_max_S"] - its["g_min_S"]), its["weakest_step"])
        cells.wear[i] += step ** its["wear_exponent"] / its["cycles"]
        if cells.wear[i] >= cells.life[i]:
            cells.g_S[i] = its["g_stuck_high_S"] if cells.fails_high[i] else its["g_stuck_low_S"]
            cells.dead[i] = True
            cells.written_s[i] = np.inf


@inlined
def pulse_cell(
    cells: CellState,
    law: NDArray[np.void],
    i: int,
    polarity: int,
    amplitude_v: float,
    gate_v: float,
    width_s: float,
    now_s: float,
    i_limit_a: float,
    noise: Noise,
) -> float:
    """One pulse to cell `i`. Returns the peak current, A.

    Where the gate does not open the access transistor no current flows and nothing happens. i_limit_a: of a source that
    lowers its voltage when it is reached, so that a SET ends there.
    """
    its, before_S = law[0], cells.g_S[i]
    opened_v = gate_v - cells.gate_threshold_v[i]
    if not opened_v > 0:
        return 0.0
    rising = polarity != RESET
    if cells.dead[i] or (not cells.formed[i] and not (rising and amplitude_v >= cells.v_form_v[i])):
        return float(amplitude_v * before_S)
    reach_S = min(cells.gate_slope[i] * opened_v, i_limit_a / amplitude_v)
    reach_S = min(max(reach_S, its["floor_S"]), its["ceiling_S"])
    if not cells.formed[i]:
        cells.formed[i] = True
        after_S = reach_S
        if its["g_after_log_sd"] > 0:
            after_S *= np.exp(its["g_after_log_sd"] * normal(noise))
    elif rising:
        after_S = _set(cells, law, i, reach_S, amplitude_v, width_s, noise)
    else:
        after_S = _reset(cells, law, i, amplitude_v, width_s, noise)
    after_S = min(max(after_S, its["floor_S"]), its["ceiling_S"])
    if after_S != before_S:
        cells.g_S[i] = after_S
        _moved(cells, law, i, before_S, now_s)
    return float(amplitude_v * max(before_S, after_S))


@compiled
def pulse_cells(
    cells: CellState,
    law: NDArray[np.void],
    index: IntArray,
    polarity: IntArray,
    amplitude_v: FloatArray,
    gate_v: FloatArray,
    width_s: FloatArray,
    now_s: float,
    i_limit_a: float,
    noise: Noise,
) -> FloatArray:
    """One pulse to each cell of `index` (unique), all at `now_s`. Returns their peak currents, A."""
    peak_a = np.empty(index.size)
    for k in range(index.size):
        peak_a[k] = pulse_cell(
            cells,
            law,
            index[k],
            polarity[k],
            amplitude_v[k],
            gate_v[k],
            width_s[k],
            now_s,
            i_limit_a,
            noise,
        )
    return peak_a
