"""The physics of one simulated array: cells, wires and converters put together, with their cost in bench time.

It knows line voltages, currents and converter codes. `crossbar.py` makes a `Crossbar` of it, `afe.py` the analog
front end of a controller.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import FloatArray, IntArray
from eapu_hil.twin.cells import CellArray
from eapu_hil.twin.circuit import LineNetwork, row_read
from eapu_hil.twin.converters import FullScale, InputConverter, OutputConverters
from eapu_hil.twin.noise import SlowNoise, white_sd_S
from eapu_hil.twin.preset import TwinPreset
from eapu_hil.twin.state import BenchClock, StateFiles

FloatND = NDArray[np.floating]
CodeArray = NDArray[np.int16]


class TwinArray:
    """One simulated array, as what stands at its lines sees it; it reveals no true conductance.

    preset: its parameters. shape: rows, columns. dac: the converter of its driven lines.
    """

    def __init__(
        self,
        preset: TwinPreset,
        shape: tuple[int, int],
        clock: BenchClock,
        files: StateFiles,
        seed: list[int],
    ) -> None:
        """clock: shared by the arrays of a bench. files: keep the state of this array."""
        self.preset = preset
        self.shape = shape
        self._clock = clock
        # A restart goes on with fresh randomness; the number of starts keeps it reproducible.
        starts = files.zeros("starts", (1,), np.int64)
        # SFC64 draws the normals of large products fastest of numpy's generators.
        self._rng = np.random.Generator(np.random.SFC64([*seed, 1, int(starts[0])]))
        starts[0] += 1
        count = shape[0] * shape[1]
        self._cells = CellArray(preset, preset.faults.g_of_lines_S(shape).ravel(), files, seed)
        self._slow_noise = SlowNoise(preset, count, seed, self._rng)
        self._network = LineNetwork(
            shape, preset.circuit.line_resistance_ohm, preset.circuit.line_resistance_ohm
        )
        device = np.random.default_rng([*seed, 3])
        self.dac = InputConverter(preset.dac)
        adc = preset.adc
        self.read_adc = OutputConverters(adc, [adc.read_full_scale_a], shape[1], device)
        self._column_adc = OutputConverters(adc, adc.product_ranges_a, shape[1], device)
        self._row_adc = OutputConverters(adc, adc.product_ranges_a, shape[0], device)
        self._updated_s = -np.inf
        self._products: _ProductMatrices | None = None

    def waited(self, duration_s: float) -> None:
        """Lets the cells relax after `duration_s` in which the clock went on and nothing else happened."""
        long = duration_s >= self.preset.relaxation.update_interval_s
        self._update(waited=True, exactly=long)

    def read(self, row: IntArray, col: IntArray, v_row_v: float) -> FloatArray:
        """Cells read at `v_row_v`: what their columns' converters measure, A, shape (n,)."""
        current_a = self._sensed(row, col, v_row_v)
        return np.asarray(self.read_adc.convert(current_a, None, col, self._rng), dtype=np.float64)

    def read_codes(self, row: IntArray, col: IntArray, v_row_v: float, full_scale: FullScale) -> CodeArray:
        """The same as codes of the range `full_scale`."""
        return self.read_adc.codes(self._sensed(row, col, v_row_v), None, col, full_scale, self._rng)

    def _sensed(self, row: IntArray, col: IntArray, v_row_v: float) -> FloatArray:
        """Currents into the columns' converters, a row at a time: its gates on, all columns virtual grounds."""
        self._update()
        used = np.zeros(self.shape[0], np.bool_)
        used[row] = True
        rows = np.flatnonzero(used)
        position = used.cumsum()[row] - 1
        flat = (rows[:, None] * self.shape[1] + np.arange(self.shape[1])).ravel()
        stored = self._cells.g_S[flat]
        sampled = stored * (1.0 + self._slow_noise.relative[flat])
        sampled += white_sd_S(self.preset.read_noise, stored) * self._rng.standard_normal(flat.size)
        r_ohm = self.preset.circuit.line_resistance_ohm
        row_g_S = np.maximum(sampled, 0.0).reshape(rows.size, self.shape[1])
        seen = row_read(row_g_S, rows, r_ohm, r_ohm, self.shape)
        self._clock.advance(rows.size * self.preset.timing.read_row_s)
        current_a: FloatArray = seen[position, col] * self.read_adc.gain[col] * v_row_v
        return current_a

    def pulse(
        self,
        index: IntArray,
        polarity: IntArray,
        amplitude_v: FloatArray,
        gate_v: FloatArray,
        width_s: FloatArray,
    ) -> FloatArray:
        """One pulse for each cell of `index` (flat, unique). Returns their peak currents in A, shape (n,)."""
        peak_a = self.stress(index, polarity, amplitude_v, gate_v, width_s)
        self._clock.advance(float((width_s + self.preset.timing.pulse_overhead_s).sum()))
        return peak_a

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
        self._update()
        now_s = self._clock.now_s()
        peak_a = self._cells.pulse(index, polarity, amplitude_v, gate_v, width_s, now_s, self._rng, i_limit_a)
        self._products = None
        return peak_a

    def conducting_S(self, gate_v: FloatArray) -> FloatArray:
        """Conductance of each cell at this moment as ideal meters at the ends of its two lines see it, S.

        gate_v: of each row, shape (rows,). Cells whose gate does not open them conduct nothing. Shape (rows, columns);
        white noise is that of one sample, and the wires are those of a cell measured alone.
        """
        self._update()
        rows, columns = self.shape
        index = np.arange(rows * columns)
        is_open = self._cells.gate_open(index, np.repeat(gate_v, columns))
        stored = self._cells.g_S
        g_S = stored * (1.0 + self._slow_noise.relative)
        g_S += white_sd_S(self.preset.read_noise, stored) * self._rng.standard_normal(index.size)
        segments = 1 + index % columns + rows - index // columns
        g_S = np.where(is_open, np.maximum(g_S, 0.0), 0.0)
        g_S /= 1.0 + g_S * segments * self.preset.circuit.line_resistance_ohm
        return g_S.reshape(self.shape)

    def select(
        self, forward: bool, driven: IntArray | slice = slice(None), measured: IntArray | slice = slice(None)
    ) -> Selection:
        """The lines of the products that follow. forward: drives rows, measures columns."""
        adc = self._column_adc if forward else self._row_adc
        return Selection(adc, forward, driven, measured)

    def products(self, selection: Selection, v_v: FloatND) -> FloatND:
        """Measured currents (batch, measured lines) in A for line voltages `v_v` (batch, driven lines).

        They are those of the array as it is now, wires and noise included. The noise of the cells is drawn at
        the outputs: for independent cells the sum over a line is normal with variance sum V^2 sd^2, so this is
        exact in law for ideal wires. With wires each cell's share is weighted by its own attenuation, which
        leaves out only the part that leaks into other lines.
        """
        current_a, variance_a2 = self._product_currents(selection, v_v)
        return selection.adc.convert(current_a, variance_a2, selection.measured, self._rng)

    def product_codes(self, selection: Selection, v_v: FloatND, full_scale: FullScale) -> CodeArray:
        """The same as codes of the range `full_scale`."""
        current_a, variance_a2 = self._product_currents(selection, v_v)
        return selection.adc.codes(current_a, variance_a2, selection.measured, full_scale, self._rng)

    def _product_currents(self, selection: Selection, v_v: FloatND) -> tuple[FloatND, FloatND | None]:
        self._update()
        if self._products is None:
            self._products = self._matrices()
        transfer, white = selection.of(self._products)
        variance_a2 = np.square(v_v) @ np.square(white) if self.preset.read_noise.enabled else None
        self._clock.advance(v_v.shape[0] * self.preset.timing.product_s)
        return v_v @ transfer, variance_a2

    def _update(self, waited: bool = False, exactly: bool = False) -> None:
        """Lets cells relax and fluctuate up to now: once per update interval, and after a wait.

        exactly: brings all cells up to date, not only those that are due.
        """
        now_s = self._clock.now_s()
        elapsed_s = now_s - self._updated_s
        interval_s = self.preset.relaxation.update_interval_s
        if elapsed_s < interval_s and not waited:
            return
        if self.preset.relaxation.enabled:
            self._cells.relax(now_s, self._rng, exactly=exactly)
            self._products = None
        if self._slow_noise.enabled:
            self._slow_noise.advance(elapsed_s, self._rng)
            self._products = None
        self._updated_s = now_s

    def _matrices(self) -> _ProductMatrices:
        g_S = self._cells.g_S.reshape(self.shape)
        transfer = self._network.transfer(g_S)
        share = self._network.attenuation(g_S)
        slow: FloatArray | float = 0.0
        if self._slow_noise.enabled:
            slow = self._slow_noise.relative.reshape(self.shape) * g_S * share
        white = white_sd_S(self.preset.read_noise, g_S) * share
        dtype = np.float64 if self.dac.exact else np.float32
        return _ProductMatrices((transfer + slow).astype(dtype), white.astype(np.float32))


class _ProductMatrices:
    """Transfer matrix with the slow noise of the moment, and the white noise of each cell, both (rows, columns)."""

    def __init__(self, transfer: FloatND, white: FloatND) -> None:
        self.transfer = transfer
        self.white = white


class Selection:
    """The driven and the measured lines of products, with what their matrices were when they were last used."""

    def __init__(
        self, adc: OutputConverters, forward: bool, driven: IntArray | slice, measured: IntArray | slice
    ) -> None:
        self.adc = adc
        self.measured = measured
        self._forward = forward
        self._driven = driven
        self._matrices: _ProductMatrices | None = None
        self._chosen: tuple[FloatND, FloatND] | None = None

    def of(self, matrices: _ProductMatrices) -> tuple[FloatND, FloatND]:
        """Transfer and white noise for these lines, shape (driven, measured), times the gain of the measured."""
        if self._chosen is None or self._matrices is not matrices:
            transfer = matrices.transfer if self._forward else matrices.transfer.T
            white = matrices.white if self._forward else matrices.white.T
            gain = self.adc.gain[self.measured].astype(transfer.dtype)
            self._matrices = matrices
            self._chosen = (
                np.ascontiguousarray(transfer[self._driven][:, self.measured] * gain),
                np.ascontiguousarray(white[self._driven][:, self.measured] * gain),
            )
        return self._chosen
