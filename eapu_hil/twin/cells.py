"""Physics of 1T1R cells: forming, SET, RESET, relaxation, wear.

A cell is a conductance, or so many binary elements in parallel. A SET pulse moves it towards the conductance that the
gate voltage allows, a RESET pulse towards the floor; how far depends on amplitude and width. Each step has
cycle-to-cycle spread, each cell its own thresholds. After a step the cell relaxes (`relaxing.py`). What one pulse does
is in `kernels/cells.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.kernels.compiling import record
from eapu_hil.hal import CellStatus, FloatArray, IntArray, StatusArray
from eapu_hil.twin.kernels.cells import CellState, pulse_cells
from eapu_hil.twin.kernels.noise import Noise
from eapu_hil.twin.preset import TwinPreset
from eapu_hil.twin.relaxing import RelaxingCells, log_start
from eapu_hil.twin.state import StateFiles

BoolArray = NDArray[np.bool_]


class CellArray:
    """The cells of all arrays of a chip, addressed by flat index: array after array, row after row.

    The quantities that identify a device (thresholds, slopes, lifetimes) follow from the seeds alone; what changes
    (conductance, time of the last write, wear) lives in `files`.
    """

    def __init__(
        self, preset: TwinPreset, g_of_lines_S: FloatArray, files: StateFiles, seeds: Sequence[list[int]]
    ) -> None:
        """g_of_lines_S: what faults of the lines fix the cells of each array to, shape (cells,), S; NaN where nothing.

        seeds: of each array.
        """
        devices = [_device(preset, g_of_lines_S, seed) for seed in seeds]
        one = {name: np.concatenate([device[name] for device in devices]) for name in devices[0]}
        count = one["g_S"].size
        self.g_S: FloatArray = files.array("g_S", one.pop("g_S"))
        dead = one.pop("dead")
        relaxing = RelaxingCells(preset.relaxation, self.g_S, files)
        self._relaxing = relaxing
        self.state = CellState(
            g_S=self.g_S,
            formed=files.array("formed", np.full(count, not preset.forming.enabled)),
            dead=files.array("dead", dead),
            wear=files.zeros("wear", (count,), np.float64),
            written_s=relaxing.written_s,
            g_written_S=relaxing.g_written_S,
            log_age=relaxing.log_age,
            moved_S=relaxing.moved_S,
            passing_S=relaxing.passing_S,
            slow=np.zeros(count, np.float32),
            walk_g_S=np.array(preset.relaxation.g_S),
            walk_start=log_start(preset.relaxation),
            **one,
        )
        self._law = _law(preset)

    @property
    def law(self) -> NDArray[np.void]:
        """The preset's numbers as the kernels take them."""
        return self._law

    def relax(
        self,
        now_s: float,
        rng: np.random.Generator,
        *,
        exactly: bool,
        parts: Sequence[slice] = (slice(None),),
    ) -> None:
        """Brings the cells of `parts` up to date with the bench time: all of them if `exactly`, else those due."""
        self._relaxing.advance(self.g_S, now_s, rng, exactly, parts)

    def gate_open(self, index: IntArray, gate_v: FloatArray) -> BoolArray:
        """Whether the access transistor of each cell of `index` conducts."""
        return np.asarray(gate_v > self.state.gate_threshold_v[index])

    def pulse(
        self,
        index: IntArray,
        polarity: IntArray,
        amplitude_v: FloatArray,
        gate_v: FloatArray,
        width_s: FloatArray,
        now_s: float,
        noise: Noise,
        i_limit_a: float = np.inf,
    ) -> FloatArray:
        """One pulse to each cell of `index` (unique). Returns the peak current of each in A, shape (n,).

        See `kernels.cells.pulse_cell`.
        """
        return pulse_cells(
            self.state,
            self._law,
            np.ascontiguousarray(index, np.int64),
            np.ascontiguousarray(polarity, np.int64),
            np.ascontiguousarray(amplitude_v, np.float64),
            np.ascontiguousarray(gate_v, np.float64),
            np.ascontiguousarray(width_s, np.float64),
            now_s,
            i_limit_a,
            noise,
        )


def _device(preset: TwinPreset, g_of_lines_S: FloatArray, seed: list[int]) -> dict[str, NDArray[np.generic]]:
    """What identifies the cells of one array, and what they hold when they are new."""
    count = g_of_lines_S.size
    device = np.random.default_rng([*seed, 0])
    variation, form, faults = preset.variation, preset.forming, preset.faults
    normal = device.standard_normal((4, count)) * float(variation.enabled)
    slope = preset.gate.slope_S_per_v * np.maximum(1 + variation.gate_slope_relative * normal[1], 0.1)
    v_form_v = form.v_form_v + form.v_form_sd_v * device.standard_normal(count)
    fresh = form.g_fresh_S * np.exp(form.g_fresh_log_sd * device.standard_normal(count))
    stuck_draw, high_draw, fail_draw = device.random((3, count))
    stuck = stuck_draw < faults.stuck_fraction
    high = stuck & (high_draw < faults.stuck_high_share)
    if not form.enabled:
        fresh = np.full(count, preset.window.g_min_S)
    fresh[stuck] = faults.g_stuck_low_S
    fresh[high] = faults.g_stuck_high_S
    line_fault = np.isfinite(g_of_lines_S)
    fresh[line_fault] = g_of_lines_S[line_fault]
    single = {
        "gate_threshold_v": preset.gate.threshold_v + variation.gate_threshold_v * normal[0],
        "gate_slope": slope,
        "v_set_v": preset.set.v_half_v + variation.v_set_v * normal[2],
        "v_reset_v": preset.reset.v_half_v + variation.v_reset_v * normal[3],
        "v_form_v": v_form_v,
        "life": np.exp(preset.endurance.log_sd * device.standard_normal(count)),
    }
    return {
        "g_S": fresh,
        "dead": stuck | line_fault,
        "fails_high": fail_draw < preset.endurance.fails_high_share,
        **{name: values.astype(np.float32) for name, values in single.items()},
    }


def _law(preset: TwinPreset) -> NDArray[np.void]:
    noise, wear = preset.write_noise, preset.endurance
    return record(
        {
            "g_min_S": preset.window.g_min_S,
            "g_max_S": preset.window.g_max_S,
            "floor_S": preset.window.floor_S,
            "ceiling_S": preset.window.ceiling_S,
            "elements": preset.elements or 0,
            "set_slope_v": preset.set.v_slope_v,
            "set_tau_s": preset.set.tau_s,
            "set_threshold_v": preset.set.v_threshold_v,
            "reset_slope_v": preset.reset.v_slope_v,
            "reset_tau_s": preset.reset.tau_s,
            "reset_threshold_v": preset.reset.v_threshold_v,
            "write_noise": noise.enabled,
            "set_absolute_S": noise.set_absolute_S,
            "set_relative": noise.set_relative,
            "reset_absolute_S": noise.reset_absolute_S,
            "reset_relative": noise.reset_relative,
            "g_after_log_sd": preset.forming.g_after_log_sd,
            "relaxes": preset.relaxation.enabled,
            "wears": wear.enabled,
            "weakest_step": wear.weakest_step,
            "wear_exponent": wear.exponent,
            "cycles": wear.cycles,
            "g_stuck_high_S": preset.faults.g_stuck_high_S,
            "g_stuck_low_S": preset.faults.g_stuck_low_S,
        }
    )


def compliance(peak_a: FloatArray, i_max_a: float) -> StatusArray:
    """`COMPLIANCE` where the peak current of a pulse reached the limit."""
    return np.where(peak_a >= i_max_a, CellStatus.COMPLIANCE, CellStatus.OK).astype(np.uint8)
