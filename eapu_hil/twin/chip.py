"""The physics of all simulated arrays of a chip: cells, wires and converters put together, with their bench time.

A cell is named by its index over all arrays: array after array, row after row. Line voltages, currents and converter
codes are known here; `array.py` shows one array to what stands at its lines.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.kernels.compiling import record
from eapu_hil.base.stopping import raise_if_stopped
from eapu_hil.hal import Cells, FloatArray, IntArray, WriteOutcome
from eapu_hil.hal.recipe import Recipe
from eapu_hil.twin.cells import CellArray
from eapu_hil.twin.converters import InputConverter, OutputConverters
from eapu_hil.twin.kernels import noise as random
from eapu_hil.twin.kernels.rounds import write_rounds
from eapu_hil.twin.kernels.rows import Senses, read_cells, sense
from eapu_hil.twin.kernels.verify import recipe_law, writing
from eapu_hil.twin.noise import SlowNoise
from eapu_hil.twin.preset import TwinPreset
from eapu_hil.twin.state import BenchClock, StateFiles

# Of write-verify between two looks at whether to stop: rounds, and cells times rounds. As many pulses of a cell, and of
# all, are counted too high where the process is killed in between.
_ROUNDS, _CELL_ROUNDS = 16, 20_000


class Account(Protocol):
    """`WearAccount` of cells as they are counted over all arrays."""

    def expect(self, index: IntArray, at_most: IntArray) -> None:
        """See `WearAccount`."""
        ...

    def settle(self, index: IntArray, at_most: IntArray, pulses: IntArray) -> None:
        """See `WearAccount`."""
        ...


class TwinChip:
    """All arrays of one shape. dac: the converter of the driven lines."""

    def __init__(
        self,
        preset: TwinPreset,
        shape: tuple[int, int],
        arrays: int,
        files: tuple[StateFiles, StateFiles],
        seed: int,
    ) -> None:
        """files: of the clock, and of the cells."""
        self.preset, self.shape, self.arrays = preset, shape, arrays
        of_bench, of_cells = files
        self.clock = BenchClock(of_bench)
        # A restart goes on with fresh randomness; the number of starts keeps it reproducible.
        starts = of_cells.zeros("starts", (1,), np.int64)
        self.rng = np.random.Generator(np.random.SFC64([seed, 1, int(starts[0])]))
        self.noise = random.seeded([seed, 2, int(starts[0])])
        starts[0] += 1
        seeds = [[seed, number] for number in range(arrays)]
        self.count = shape[0] * shape[1]
        self.cells = CellArray(preset, preset.faults.g_of_lines_S(shape).ravel(), of_cells, seeds)
        self.slow = SlowNoise(preset, self.cells.state.slow, seeds, self.rng)
        self.dac = InputConverter(preset.dac)
        devices = [np.random.default_rng([*its, 3]) for its in seeds]
        adc = preset.adc
        # In this order: what each array's converters are like is drawn one after the other.
        self.read_adc = OutputConverters(adc, [adc.read_full_scale_a], shape[1], devices)
        self.column_adc = OutputConverters(adc, adc.product_ranges_a, shape[1], devices)
        self.row_adc = OutputConverters(adc, adc.product_ranges_a, shape[0], devices)
        self._senses = self._make_senses()
        self._updated_s = np.full(arrays, -np.inf)
        self._interval_s = preset.relaxation.update_interval_s
        self.changes = np.zeros(arrays, np.int64)  # of each array's conductances, so far

    def _make_senses(self) -> Senses:
        read, adc = self.preset.read_noise, self.read_adc
        law = {
            "ohm": self.preset.circuit.line_resistance_ohm,
            "noisy": read.enabled,
            "white_S": read.white_absolute_S * read.enabled,
            "white": read.white_relative * read.enabled,
            "read_row_s": self.preset.timing.read_row_s,
            **adc.sensing,
        }
        slot = np.full(self.arrays * self.shape[0], -1, np.int64)
        return Senses(*self.shape, record(law), adc.gain.ravel(), adc.offset.ravel(), slot)

    def index(self, array: IntArray, cells: Cells) -> IntArray:
        """Cells as they are counted over all arrays. array: number of the array of each."""
        return np.asarray(array * self.count + cells.row * self.shape[1] + cells.col)

    def update(self, numbers: IntArray, *, waited: bool = False, exactly: bool = False) -> None:
        """Lets the cells of some arrays relax and fluctuate up to now: once per update interval, and after a wait.

        exactly: brings all cells up to date, not only those that are due.
        """
        now_s = self.clock.now_s()
        elapsed_s = now_s - self._updated_s[numbers]
        if not waited:
            due = elapsed_s >= self._interval_s
            numbers, elapsed_s = numbers[due], elapsed_s[due]
        if not numbers.size:
            return
        if self.preset.relaxation.enabled:
            parts = [slice(number * self.count, (number + 1) * self.count) for number in numbers.tolist()]
            self.cells.relax(now_s, self.rng, exactly=exactly, parts=parts)
            self.changes[numbers] += 1
        if self.slow.enabled:
            for number, since_s in zip(numbers.tolist(), elapsed_s.tolist(), strict=True):
                self.slow.advance(number, since_s, self.rng, self.noise)
            self.changes[numbers] += 1
        self._updated_s[numbers] = now_s

    def waited(self, numbers: IntArray, duration_s: float) -> None:
        """Lets the cells of some arrays relax after `duration_s` in which nothing else happened."""
        self.update(numbers, waited=True, exactly=duration_s >= self._interval_s)

    def read(self, index: IntArray, v_row_v: float) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Cells read at `v_row_v`: conductances as measured, S, and where a converter was at its end."""
        self.update(np.unique(index // self.count))
        g_S, saturated = np.empty(index.size), np.empty(index.size, np.bool_)
        took_s = read_cells(
            self.cells.state, self._senses, index, index.size, v_row_v, self.noise, g_S, saturated
        )
        self.clock.advance(took_s)
        return g_S, saturated

    def sensed_S(self, index: IntArray) -> FloatArray:
        """Current per volt of cells in front of their columns' converters, S; each row is read once."""
        self.update(np.unique(index // self.count))
        current_S = np.empty(index.size)
        rows = sense(self.cells.state, self._senses, index, index.size, self.noise, current_S)
        self.clock.advance(rows * self.preset.timing.read_row_s)
        return current_S

    def stress(
        self,
        index: IntArray,
        polarity: IntArray,
        amplitude_v: FloatArray,
        gate_v: FloatArray,
        width_s: FloatArray,
        i_limit_a: float = np.inf,
    ) -> FloatArray:
        """Applies voltages to all cells at once; the caller advances the clock. Returns peak currents in A.

        i_limit_a: where the source of the voltages limits the current.
        """
        numbers = np.unique(index // self.count)
        self.update(numbers)
        self._strike(index)
        now_s = self.clock.now_s()
        try:
            return self.cells.pulse(
                index, polarity, amplitude_v, gate_v, width_s, now_s, self.noise, i_limit_a
            )
        finally:
            self.changes[numbers] += 1  # again: a product of another thread may have come in between

    def write(
        self,
        index: IntArray,
        g_target_S: FloatArray,
        recipe: Recipe,
        v_row_v: float,
        i_max_a: float,
        account: Account,
    ) -> WriteOutcome:
        """Write-verify of cells (unique) side by side, one epoch; as `eapu_hil.hal.writeverify` has it."""
        numbers = np.unique(index // self.count)
        end_s = self.clock.now_s() + recipe.time_max_s * numbers.size  # as if they were asked in turn
        g_before_S, _ = self.read(index, v_row_v)
        w = writing(index, np.ascontiguousarray(g_target_S), g_before_S)
        law, active = recipe_law(recipe), index.size
        while active:
            raise_if_stopped()
            self.update(numbers)
            chosen = w.active[:active].copy()
            its, before = index[chosen], w.pulses[chosen]
            rounds = min(max(_CELL_ROUNDS // active, 1), _ROUNDS)
            at_most = np.minimum(recipe.pulses_max - before, rounds)
            due_s = float(self._updated_s[numbers].min()) + self._interval_s
            account.expect(its, at_most)
            began_s = self.clock.now_s()
            try:
                self._strike(its)
                active, now_s = write_rounds(
                    self.cells.state,
                    self.cells.law,
                    self._senses,
                    law,
                    w,
                    active,
                    rounds,
                    (began_s, end_s, due_s, self.preset.timing.pulse_overhead_s),
                    v_row_v,
                    i_max_a,
                    self.noise,
                )
                self.clock.advance(now_s - began_s)  # of another thread, too, it may have gone on
            finally:
                self.changes[numbers] += 1  # again: a product of another thread may have come in between
                account.settle(its, at_most, w.pulses[chosen] - before)
        return WriteOutcome(g_before_S, w.g_after_S, w.pulses, w.reads, w.energy_j, w.status)

    def _strike(self, index: IntArray) -> None:
        """These cells are pulsed now: whatever is known of their arrays' products is of the past."""
        self.changes[index // self.count] += 1  # once each: numpy adds up no repetitions here
