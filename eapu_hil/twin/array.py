"""One simulated array, as what stands at its lines sees it.

`crossbar.py` makes a `Crossbar` of it, the front end of a simulated board and simulated instruments use it as it is.
"""

from __future__ import annotations

import numpy as np

from eapu_hil.hal import FloatArray, IntArray
from eapu_hil.twin.chip import TwinChip
from eapu_hil.twin.converters import FullScale
from eapu_hil.twin.kernels.cells import CellState
from eapu_hil.twin.products import ChipProducts, CodeArray, FloatND, Grid

_BY_STATE = ("walk_g_S", "walk_start")  # what of `CellState` does not belong to single cells


class TwinArray:
    """One simulated array; it reveals no true conductance.

    preset: its parameters. shape: rows, columns. dac: the converter of its driven lines.
    """

    def __init__(self, chip: TwinChip, number: int, products: ChipProducts) -> None:
        self.preset, self.shape, self.dac = chip.preset, chip.shape, chip.dac
        self._chip, self._number, self._own = chip, number, np.array([number])
        self._first = number * chip.count
        own = slice(self._first, self._first + chip.count)
        state = chip.cells.state._asdict()
        self._cells = CellState(**{k: v if k in _BY_STATE else v[own] for k, v in state.items()})
        self._products = products

    def waited(self, duration_s: float) -> None:
        """Lets the cells relax after `duration_s` in which the clock went on and nothing else happened."""
        self._chip.waited(self._own, duration_s)

    def index(self, row: IntArray, col: IntArray) -> IntArray:
        """Cells as the chip counts them."""
        return np.asarray(self._first + row * self.shape[1] + col)

    def read_codes(self, row: IntArray, col: IntArray, v_row_v: float, full_scale: FullScale) -> CodeArray:
        """What the columns' converters measure in a read, as codes of the range `full_scale`."""
        current_a = self._chip.sensed_S(self.index(row, col)) * v_row_v
        codes: CodeArray = self._chip.read_adc.codes(
            current_a[None], None, self._own, col, full_scale, self._chip.noise
        )[0]
        return codes

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
        self._chip.clock.advance(float((width_s + self.preset.timing.pulse_overhead_s).sum()))
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
        """See `TwinChip.stress`; `index` within the array."""
        return self._chip.stress(index + self._first, polarity, amplitude_v, gate_v, width_s, i_limit_a)

    def conducting_S(self, gate_v: FloatArray) -> FloatArray:
        """Conductance of each cell at this moment as ideal meters at the ends of its two lines see it, S.

        gate_v: of each row, shape (rows,). Cells whose gate does not open them conduct nothing. Shape (rows, columns);
        white noise is that of one sample, and the wires are those of a cell measured alone.
        """
        self._chip.update(self._own)
        rows, columns = self.shape
        index = np.arange(rows * columns)
        is_open = self._chip.cells.gate_open(index + self._first, np.repeat(gate_v, columns))
        stored, noise = self._cells.g_S, self.preset.read_noise
        g_S = stored * (1.0 + self._cells.slow)
        if noise.enabled:
            sd_S = np.hypot(noise.white_absolute_S, noise.white_relative * stored)
            g_S += sd_S * self._chip.rng.standard_normal(index.size)
        segments = 1 + index % columns + rows - index // columns
        g_S = np.where(is_open, np.maximum(g_S, 0.0), 0.0)
        g_S /= 1.0 + g_S * segments * self.preset.circuit.line_resistance_ohm
        return g_S.reshape(self.shape)

    def product_codes(
        self, forward: bool, driven: IntArray, measured: IntArray, v_v: FloatND, full_scale: FullScale
    ) -> CodeArray:
        """Products as codes of the range `full_scale`, (batch, measured lines), for voltages (batch, driven lines), V.

        forward: drives rows, measures columns.
        """
        grid = Grid(self._own[None], forward, driven[None, None], measured[None, None])
        codes: CodeArray = self._products.codes(grid, v_v[None], full_scale)[0, 0]
        return codes
