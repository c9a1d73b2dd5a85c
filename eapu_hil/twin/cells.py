"""Physics of 1T1R cells: forming, SET, RESET, relaxation, wear.

A cell is a conductance, or so many binary elements in parallel. A SET pulse moves it towards the conductance that the
gate voltage allows, a RESET pulse towards the floor; how far depends on amplitude and width. Each step has
cycle-to-cycle spread, each cell its own thresholds. After a step the cell relaxes (`relaxing.py`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import CellStatus, FloatArray, IntArray, Polarity, StatusArray
from eapu_hil.twin.preset import Endurance, Switching, TwinPreset
from eapu_hil.twin.relaxing import RelaxingCells
from eapu_hil.twin.state import StateFiles

BoolArray = NDArray[np.bool_]


def _progress(pulse_v: FloatArray, width_s: FloatArray, half_v: FloatArray, law: Switching) -> FloatArray:
    """Fraction of the way that one pulse covers, in [0, 1]."""
    exponent = np.minimum((pulse_v - half_v) / law.v_slope_v, 50.0)
    covered = -np.expm1(-(width_s / law.tau_s) * np.exp(exponent))
    return np.where(pulse_v < law.v_threshold_v, 0.0, covered)


class CellArray:
    """The cells of one array, addressed by flat index (row-major).

    The quantities that identify a device (thresholds, slopes, lifetimes) follow from `seed` alone; what changes
    (conductance, time of the last write, wear) lives in `files`.
    """

    def __init__(
        self, preset: TwinPreset, g_of_lines_S: FloatArray, files: StateFiles, seed: list[int]
    ) -> None:
        """g_of_lines_S: what faults of the lines fix each cell to, shape (cells,), S; NaN where nothing."""
        count = g_of_lines_S.size
        self._preset = preset
        device = np.random.default_rng([*seed, 0])
        variation = preset.variation
        spread = float(variation.enabled)
        normal = device.standard_normal((4, count)) * spread
        self._gate_threshold_v = preset.gate.threshold_v + variation.gate_threshold_v * normal[0]
        self._gate_slope = preset.gate.slope_S_per_v * np.maximum(
            1 + variation.gate_slope_relative * normal[1], 0.1
        )
        self._v_set_v = preset.set.v_half_v + variation.v_set_v * normal[2]
        self._v_reset_v = preset.reset.v_half_v + variation.v_reset_v * normal[3]
        form = preset.forming
        self._v_form_v = form.v_form_v + form.v_form_sd_v * device.standard_normal(count)
        fresh = form.g_fresh_S * np.exp(form.g_fresh_log_sd * device.standard_normal(count))
        stuck_draw, high_draw, fail_draw = device.random((3, count))
        stuck = stuck_draw < preset.faults.stuck_fraction
        high = stuck & (high_draw < preset.faults.stuck_high_share)
        if not form.enabled:
            fresh = np.full(count, preset.window.g_min_S)
        fresh[stuck] = preset.faults.g_stuck_low_S
        fresh[high] = preset.faults.g_stuck_high_S
        line_fault = np.isfinite(g_of_lines_S)
        fresh[line_fault] = g_of_lines_S[line_fault]
        self._fails_high = fail_draw < preset.endurance.fails_high_share
        self._life = np.exp(preset.endurance.log_sd * device.standard_normal(count))

        self.g_S: FloatArray = files.array("g_S", fresh)
        self._formed: BoolArray = files.array("formed", np.full(count, not form.enabled))
        self._dead: BoolArray = files.array("dead", stuck | line_fault)
        self._wear: FloatArray = files.zeros("wear", (count,), np.float64)
        self._relaxing = RelaxingCells(preset.relaxation, self.g_S, files)

    def relax(self, now_s: float, rng: np.random.Generator, exactly: bool) -> None:
        """Brings the conductances up to date with the bench time: all of them if `exactly`."""
        self._relaxing.advance(self.g_S, now_s, rng, exactly)

    def gate_open(self, index: IntArray, gate_v: FloatArray) -> BoolArray:
        """Whether the access transistor of each cell of `index` conducts."""
        return np.asarray(gate_v > self._gate_threshold_v[index])

    def pulse(
        self,
        index: IntArray,
        polarity: IntArray,
        amplitude_v: FloatArray,
        gate_v: FloatArray,
        width_s: FloatArray,
        now_s: float,
        rng: np.random.Generator,
        i_limit_a: float = np.inf,
    ) -> FloatArray:
        """One pulse to each cell of `index` (unique). Returns the peak current of each in A, shape (n,).

        Where the gate does not open the access transistor no current flows and nothing happens. i_limit_a: of a
        source that lowers its voltage when it is reached, so that a SET ends there.
        """
        before = self.g_S[index]
        gate_open = self.gate_open(index, gate_v)
        alive = gate_open & ~self._dead[index]
        rising = polarity != Polarity.RESET
        formable = alive & ~self._formed[index] & rising & (amplitude_v >= self._v_form_v[index])
        active = alive & self._formed[index]
        reach = self._gate_slope[index] * (gate_v - self._gate_threshold_v[index])
        reach = np.minimum(reach, i_limit_a / amplitude_v)
        reach = np.clip(reach, self._preset.window.floor_S, self._preset.window.ceiling_S)
        after = before.copy()
        up, down = active & rising, active & ~rising
        if up.any():
            after[up] = self._set(index[up], before[up], reach[up], amplitude_v[up], width_s[up], rng)
        if down.any():
            after[down] = self._reset(index[down], before[down], amplitude_v[down], width_s[down], rng)
        if formable.any():
            spread = self._preset.forming.g_after_log_sd * rng.standard_normal(int(formable.sum()))
            after[formable] = reach[formable] * np.exp(spread)
            self._formed[index[formable]] = True
        after = np.where(
            alive, np.clip(after, self._preset.window.floor_S, self._preset.window.ceiling_S), before
        )
        after = np.where(active | formable, after, before)
        self.g_S[index] = after
        moved = after != before
        self._relaxing.restart(index[moved], after[moved], now_s)
        self._wear_out(index[moved], (after - before)[moved])
        return np.where(gate_open, amplitude_v * np.maximum(before, after), 0.0)

    def _set(
        self,
        index: IntArray,
        g_S: FloatArray,
        reach_S: FloatArray,
        amplitude_v: FloatArray,
        width_s: FloatArray,
        rng: np.random.Generator,
    ) -> FloatArray:
        progress = _progress(amplitude_v, width_s, self._v_set_v[index], self._preset.set)
        change = progress * np.maximum(reach_S - g_S, 0.0)
        noise = self._preset.write_noise
        sd = np.sqrt(noise.set_absolute_S**2 * progress + (noise.set_relative * change) ** 2)
        # Where the transistor already limits the current below the cell's state nothing switches, noise included.
        sd = np.where(change > 0, sd * noise.enabled, 0.0)
        if self._preset.elements is not None:
            return self._switched(g_S, g_S + change, self._preset.elements, rng)
        return g_S + change + sd * rng.standard_normal(g_S.size)

    def _reset(
        self,
        index: IntArray,
        g_S: FloatArray,
        amplitude_v: FloatArray,
        width_s: FloatArray,
        rng: np.random.Generator,
    ) -> FloatArray:
        progress = _progress(amplitude_v, width_s, self._v_reset_v[index], self._preset.reset)
        change = progress * np.maximum(g_S - self._preset.window.floor_S, 0.0)
        noise = self._preset.write_noise
        sd = np.sqrt(noise.reset_absolute_S**2 * progress + (noise.reset_relative * change) ** 2)
        if self._preset.elements is not None:
            return self._switched(g_S, g_S - change, self._preset.elements, rng)
        return g_S - change + sd * noise.enabled * rng.standard_normal(g_S.size)

    def _switched(
        self, g_S: FloatArray, mean_S: FloatArray, elements: int, rng: np.random.Generator
    ) -> FloatArray:
        """Cells of binary elements after a pulse that leads to `mean_S` on average: each element switches or not."""
        low_S, high_S = self._preset.window.g_min_S, self._preset.window.g_max_S
        step_S = (high_S - low_S) / elements
        on = np.rint((g_S - low_S) / step_S).astype(np.int64)
        rising = mean_S > g_S
        free = np.where(rising, elements - on, on)
        probability = np.abs(mean_S - g_S) / (np.maximum(free, 1) * step_S)
        switched = rng.binomial(free, np.clip(probability, 0.0, 1.0))
        return np.asarray(low_S + step_S * (on + np.where(rising, switched, -switched)))

    def _wear_out(self, index: IntArray, change_S: FloatArray) -> None:
        law: Endurance = self._preset.endurance
        if not law.enabled or index.size == 0:
            return
        window = self._preset.window.g_max_S - self._preset.window.g_min_S
        step = np.maximum(np.abs(change_S) / window, law.weakest_step)
        self._wear[index] += step**law.exponent / law.cycles
        worn = index[self._wear[index] >= self._life[index]]
        faults = self._preset.faults
        self.g_S[worn] = np.where(self._fails_high[worn], faults.g_stuck_high_S, faults.g_stuck_low_S)
        self._dead[worn] = True
        self._relaxing.stop(worn)


def compliance(peak_a: FloatArray, i_max_a: float) -> StatusArray:
    """`COMPLIANCE` where the peak current of a pulse reached the limit."""
    return np.where(peak_a >= i_max_a, CellStatus.COMPLIANCE, CellStatus.OK).astype(np.uint8)
