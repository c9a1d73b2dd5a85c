"""The analog front end of a simulated board: line drivers and converters around arrays of the twin, codes only.

It has no opinion about limits but those it is armed with: they are the firmware's business, and the twin's cells
suffer what reaches them. It refuses what no board could do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eapu_drivers.controller.messages import ARRAYS_MAX, LINES_MAX, RANGES_MAX
from eapu_drivers.simulated.board.linerecord import LineRecorder
from eapu_hil.bench.chip_id import chip_id
from eapu_hil.bench.config import TwinBenchConfig
from eapu_hil.hal import ConfigError, HilError, IntArray, Polarity
from eapu_hil.twin.array import TwinArray
from eapu_hil.twin.cells import compliance
from eapu_hil.twin.converters import FullScale
from eapu_hil.twin.driver import simulated_arrays
from eapu_hil.twin.preset import TwinPreset
from eapu_hil.twin.state import BenchClock, StateFiles, state_directory

# What the board itself can stand; the full scales of its drivers of pulses and gates.
V_MAX_V, V_GATE_MAX_V, I_MAX_A, WIDTH_MAX_s = 5.0, 6.0, 5e-3, 10e-3
# The largest code there is: of those drivers, and of converters that a preset makes ideal.
LARGEST_TOP = 2**15 - 1
IDEAL_READ_FULL_SCALE_V = 1.0


class FrontEndError(HilError):
    """A request that no front end can carry out."""


@dataclass(frozen=True)
class Scales:
    """Full scales and top codes of a board; +-top code is +-full scale. read_range: of verify reads."""

    read_full_scale_v: float
    read_top: int
    adc_top: int
    ranges_a: tuple[float, ...]
    read_range: int

    @classmethod
    def of(cls, preset: TwinPreset, config: TwinBenchConfig) -> Scales:
        """A board that suits the twin of `config`. Raises ConfigError for what the protocol cannot say."""
        rows, columns = config.shape
        if max(rows, columns) > LINES_MAX or config.arrays > ARRAYS_MAX:
            raise ConfigError(
                f"{config.where}: arrays, shape: {config.arrays} of {rows} x {columns}; "
                f"a controller has at most {ARRAYS_MAX} arrays of {LINES_MAX} x {LINES_MAX}"
            )
        dac, adc = preset.dac, preset.adc
        for name, bits in (("dac.bits", dac.bits), ("adc.bits", adc.bits)):
            if bits is not None and not 2 <= bits <= 16:
                raise ConfigError(
                    f"{config.where}: preset: {name}: {bits}; a controller has converters of 2 to 16 bits"
                )
        if adc.bits is None:
            # Nothing an ideal converter measures may saturate: a whole line of cells at the top, a stuck cell.
            v_max_v = config.limits.v_read_max_v
            line_a = max(rows, columns) * preset.window.ceiling_S * v_max_v
            ranges = np.geomspace(adc.product_ranges_a[0], max(adc.product_ranges_a[-1], line_a), RANGES_MAX)
            cell_a = max(preset.window.ceiling_S, preset.faults.g_stuck_high_S) * v_max_v
            read_range = min(int(np.searchsorted(ranges, cell_a)), RANGES_MAX - 1)
        else:
            ranges = np.array([adc.read_full_scale_a, *adc.product_ranges_a])
            read_range = 0
        if len(ranges) > RANGES_MAX:
            raise ConfigError(
                f"{config.where}: preset: adc.product_ranges_a: {len(ranges) - 1} ranges; "
                f"a controller has at most {RANGES_MAX - 1}"
            )
        return cls(
            IDEAL_READ_FULL_SCALE_V if dac.bits is None else dac.v_full_scale_v,
            LARGEST_TOP if dac.bits is None else 2 ** (dac.bits - 1) - 1,
            LARGEST_TOP if adc.bits is None else 2 ** (adc.bits - 1) - 1,
            tuple(float(value) for value in ranges.astype(np.float32)),
            read_range,
        )


class _Selected(NamedTuple):
    """What the products that follow drive and measure; `forward`: rows are driven."""

    array: TwinArray
    forward: bool
    driven: IntArray
    measured: IntArray
    full_scale: FullScale


class FrontEnd:
    """Line drivers, gates, selectors and converters of all arrays of a board.

    Requests raise FrontEndError when they are impossible; none of it has happened then.
    """

    def __init__(
        self, arrays: Sequence[TwinArray], clock: BenchClock, scales: Scales, files: StateFiles
    ) -> None:
        """files: keep the record of the lines."""
        self.scales = scales
        self.shape = arrays[0].shape
        self.count = len(arrays)
        self._arrays = arrays
        self._clock = clock
        self._ranges = [FullScale(value, scales.adc_top) for value in scales.ranges_a]
        self._read_step_v = scales.read_full_scale_v / scales.read_top
        self._armed: tuple[float, int, int] | None = None
        self._selected: _Selected | None = None
        self._record = LineRecorder(files)
        self.ground()  # as after power-up

    @classmethod
    def open(cls, config: TwinBenchConfig, chip_dir: Path) -> FrontEnd:
        """The front end of a simulated bench; its state lives in `chip_dir`/twin. Raises ConfigError."""
        clock, arrays = simulated_arrays(config, chip_dir)
        files = StateFiles(state_directory(chip_dir), chip_id(chip_dir))
        return cls(arrays, clock, Scales.of(arrays[0].preset, config), files)

    def time_ns(self) -> int:
        """Bench time."""
        return round(1e9 * self._clock.now_s())

    @property
    def grounded(self) -> bool:
        """Whether every line is at 0 V."""
        return self._record.grounded

    def arm(self, i_max_a: float, width_max_ns: int, v_gate_max_v: float) -> None:
        """Sets limits of pulses: current, the longest that the hardware timer lets through, gate voltage."""
        gate_max_code = int(np.floor(v_gate_max_v / (V_GATE_MAX_V / LARGEST_TOP) + 0.5))  # as firmware rounds
        self._armed = i_max_a, width_max_ns, gate_max_code

    def ground(self) -> None:
        """Every line of every array to 0 V."""
        self._record.grounds()

    def skip(self, until_ns: int) -> None:
        """Lets bench time pass; nothing happens where it has passed already."""
        duration_s = 1e-9 * until_ns - self._clock.now_s()
        if duration_s <= 0:
            return
        self._clock.advance(duration_s)
        for array in self._arrays:
            array.waited(duration_s)

    def read(self, array: int, row: IntArray, col: IntArray, code: IntArray) -> NDArray[np.int16]:
        """Reads cells, each with its row at `code`; codes of the read range, shape (n,)."""
        chosen = self._array(array)
        self._require_cells(row, col)
        self._require_codes(code, -self.scales.read_top, self.scales.read_top, "row driver")
        full_scale = self._ranges[self.scales.read_range]
        self._record.driven(int(np.abs(code).max()), LARGEST_TOP)
        self._record.count("reads")
        first = int(code[0])
        if (code == first).all():
            return chosen.read_codes(row, col, first * self._read_step_v, full_scale)
        measured = np.empty(code.size, np.int16)
        for one in np.unique(code):
            at = code == one
            measured[at] = chosen.read_codes(row[at], col[at], float(one) * self._read_step_v, full_scale)
        return measured

    def pulse(
        self,
        array: int,
        row: IntArray,
        col: IntArray,
        polarity: IntArray,
        line_code: IntArray,
        gate_code: IntArray,
        width_ns: IntArray,
    ) -> NDArray[np.uint8]:
        """One pulse for each cell, one after another. Returns 1 where one reached the current limit.

        The line goes back to 0 V when its pulse ends; the gate stays as it is until it is grounded.
        """
        chosen = self._array(array)
        self._require_cells(row, col)
        index = row * self.shape[1] + col
        if len(set(index.tolist())) != index.size:
            raise FrontEndError("pulse: a cell twice")
        if not _POLARITIES.issuperset(polarity.tolist()):
            raise FrontEndError("pulse: polarity not -1, 1 or 2")
        if self._armed is None:
            raise FrontEndError("pulse: not armed")
        i_max_a, width_max_ns, gate_max_code = self._armed
        if not (int(width_ns.min()) > 0 and int(width_ns.max()) <= width_max_ns):
            raise FrontEndError(f"pulse: width {int(width_ns.max())} ns, timer armed for {width_max_ns} ns")
        if int(gate_code.max()) > gate_max_code:
            raise FrontEndError(f"pulse: gate code {int(gate_code.max())}, armed for {gate_max_code}")
        self._record.driven(int(line_code.max()), int(gate_code.max()))
        self._record.count("pulse_requests")
        peak_a = chosen.pulse(
            index,
            polarity,
            np.multiply(line_code, V_MAX_V / LARGEST_TOP, dtype=np.float64),
            np.multiply(gate_code, V_GATE_MAX_V / LARGEST_TOP, dtype=np.float64),
            np.divide(width_ns, 1e9, dtype=np.float64),
        )
        self._record.count("pulses", index.size)
        self._record.released(int(gate_code[-1]))
        reached: NDArray[np.uint8] = (compliance(peak_a, i_max_a) != 0).astype(np.uint8)
        return reached

    def select(self, array: int, direction: int, full_scale: int, lines: NDArray[np.uint8]) -> None:
        """Chooses array, direction (0 drives rows), range and lines of the products that follow.

        lines: a bit for each line, the driven ones first, each padded to bytes; lowest bit first.
        """
        chosen = self._array(array)
        if direction not in (0, 1) or full_scale >= len(self._ranges):
            raise FrontEndError(f"select: direction {direction}, range {full_scale}")
        inputs, outputs = self.shape if direction == 0 else self.shape[::-1]
        split = (inputs + 7) // 8
        if lines.size != split + (outputs + 7) // 8:
            raise FrontEndError(f"select: {lines.size} bytes of lines")
        driven = np.flatnonzero(np.unpackbits(lines[:split], bitorder="little"))
        measured = np.flatnonzero(np.unpackbits(lines[split:], bitorder="little"))
        if not (driven.size and measured.size and driven[-1] < inputs and measured[-1] < outputs):
            raise FrontEndError("select: no line, or one that is not there")
        self._selected = _Selected(chosen, direction == 0, driven, measured, self._ranges[full_scale])

    def product(self, vectors: int, codes: NDArray[np.signedinteger]) -> NDArray[np.int16]:
        """Products of the selected lines: codes (vectors, driven) in, (vectors, measured) out."""
        if self._selected is None:
            raise FrontEndError("product: nothing selected")
        array, forward, driven, measured, full_scale = self._selected
        if not vectors or codes.size != vectors * driven.size:
            raise FrontEndError(f"product: {codes.size} codes, {vectors} vectors of {driven.size} lines")
        top = self.scales.read_top
        largest = max(int(codes.max()), -int(codes.min()))
        if largest > top:
            raise FrontEndError(f"product: code {largest} of a driver, its top is {top}")
        self._record.driven(largest, LARGEST_TOP)
        self._record.count("products")
        v_v: NDArray[np.floating] = np.multiply(
            codes.reshape(vectors, driven.size),
            self._read_step_v,
            dtype=np.float64 if array.dac.exact else np.float32,
        )
        return array.product_codes(forward, driven, measured, v_v, full_scale)

    def _array(self, number: int) -> TwinArray:
        if not 0 <= number < self.count:
            raise FrontEndError(f"array {number}, the board has {self.count}")
        return self._arrays[number]

    def _require_cells(self, row: IntArray, col: IntArray) -> None:
        if not row.size:
            raise FrontEndError("no cells")
        rows, columns = self.shape
        if int(row.min()) < 0 or int(row.max()) >= rows or int(col.min()) < 0 or int(col.max()) >= columns:
            raise FrontEndError(f"a cell outside {rows} x {columns}")

    @staticmethod
    def _require_codes(code: IntArray, low: int, high: int, what: str) -> None:
        if int(code.min()) < low or int(code.max()) > high:
            raise FrontEndError(f"{what}: a code outside {low} to {high}")


_POLARITIES = frozenset(int(polarity) for polarity in Polarity)
