"""One simulated array, as what stands at its lines sees it.

`crossbar.py` makes a `Crossbar` of it, the front end of a simulated board and simulated instruments use it as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import FloatArray, IntArray
from eapu_hil.twin.chip import TwinChip
from eapu_hil.twin.circuit import LineNetwork
from eapu_hil.twin.converters import FullScale, OutputConverters
from eapu_hil.twin.kernels.cells import CellState
from eapu_hil.twin.kernels.products import current_matrices

FloatND = NDArray[np.floating]
Real = TypeVar("Real", bound=np.floating)
CodeArray = NDArray[np.int16]
_BY_STATE = ("walk_g_S", "walk_start")  # what of `CellState` does not belong to single cells


class TwinArray:
    """One simulated array; it reveals no true conductance.

    preset: its parameters. shape: rows, columns. dac: the converter of its driven lines.
    """

    def __init__(self, chip: TwinChip, number: int) -> None:
        self.preset, self.shape, self.dac = chip.preset, chip.shape, chip.dac
        self._chip, self._number, self._own = chip, number, np.array([number])
        self._first = number * chip.count
        self._column_adc, self._row_adc = chip.column_adc[number], chip.row_adc[number]
        own = slice(self._first, self._first + chip.count)
        state = chip.cells.state._asdict()
        self._cells = CellState(**{k: v if k in _BY_STATE else v[own] for k, v in state.items()})
        segment_ohm = self.preset.circuit.line_resistance_ohm
        self._network = LineNetwork(self.shape, segment_ohm, segment_ohm)
        self._matrices: tuple[int, FloatND, NDArray[np.float32]] | None = None

    def waited(self, duration_s: float) -> None:
        """Lets the cells relax after `duration_s` in which the clock went on and nothing else happened."""
        self._chip.waited(self._own, duration_s)

    def index(self, row: IntArray, col: IntArray) -> IntArray:
        """Cells as the chip counts them."""
        return np.asarray(self._first + row * self.shape[1] + col)

    def read_codes(self, row: IntArray, col: IntArray, v_row_v: float, full_scale: FullScale) -> CodeArray:
        """What the columns' converters measure in a read, as codes of the range `full_scale`."""
        current_a = self._chip.sensed_S(self.index(row, col)) * v_row_v
        adc = self._chip.read_adc[self._number]
        codes: CodeArray = adc.codes(current_a[None], None, col, full_scale, self._chip.noise)[0]
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

    def select(
        self, forward: bool, driven: IntArray | None = None, measured: IntArray | None = None
    ) -> Selection:
        """The lines of the products that follow; all by default. forward: drives rows, measures columns."""
        adc = self._column_adc if forward else self._row_adc
        return Selection(adc, forward, _neighbours(driven), _neighbours(measured))

    def products(self, selection: Selection, v_v: FloatND) -> FloatND:
        """Measured currents (batch, measured lines) in A for line voltages `v_v` (batch, driven lines).

        They are those of the array as it is now, wires and noise included. The noise of the cells is drawn at
        the outputs: for independent cells the sum over a line is normal with variance sum V^2 sd^2, so this is
        exact in law for ideal wires. With wires each cell's share is weighted by its own attenuation, which
        leaves out only the part that leaks into other lines.
        """
        current_a, variance_a2 = self._product_currents(selection, v_v)
        return selection.adc.convert(current_a, variance_a2, selection.measured, self._chip.noise)

    def product_codes(self, selection: Selection, v_v: FloatND, full_scale: FullScale) -> CodeArray:
        """The same as codes of the range `full_scale`."""
        current_a, variance_a2 = self._product_currents(selection, v_v)
        return selection.adc.codes(current_a, variance_a2, selection.measured, full_scale, self._chip.noise)

    def _product_currents(
        self, selection: Selection, v_v: FloatND
    ) -> tuple[FloatND, NDArray[np.float32] | None]:
        self._chip.update(self._own)
        product_S, variance_S2 = self._current_matrices()
        variance_a2 = None
        if self.preset.read_noise.enabled:
            variance_a2 = np.square(v_v, dtype=np.float32) @ selection.of(variance_S2)
        self._chip.clock.advance(v_v.shape[0] * self.preset.timing.product_s)
        return v_v @ selection.of(product_S), variance_a2

    def _current_matrices(self) -> tuple[FloatND, NDArray[np.float32]]:
        """See `current_matrices`; (rows, columns)."""
        version = int(self._chip.changes[self._number])
        if self._matrices is None or self._matrices[0] != version:
            transfer_S, attenuation = self._network.matrices(self._cells.g_S.reshape(self.shape))
            law = self.preset.read_noise
            product_S: FloatND = np.empty(self.shape, np.float64 if self.dac.exact else np.float32)
            variance_S2 = np.empty(self.shape, np.float32)
            current_matrices(
                transfer_S.reshape(-1),
                attenuation.reshape(-1),
                self._cells.g_S,
                self._cells.slow,
                law.white_absolute_S**2 * law.enabled,
                law.white_relative**2 * law.enabled,
                product_S.reshape(-1),
                variance_S2.reshape(-1),
            )
            self._matrices = version, product_S, variance_S2
        return self._matrices[1:]


@dataclass(frozen=True, eq=False)
class Selection:
    """The driven and the measured lines of products. adc: of the measured lines."""

    adc: OutputConverters
    forward: bool
    driven: IntArray | slice
    measured: IntArray | slice

    def of(self, matrix: NDArray[Real]) -> NDArray[Real]:
        """What these products need of a matrix (rows, columns): (driven, measured), where it can be without a copy."""
        return (matrix if self.forward else matrix.T)[self.driven][:, self.measured]


def _neighbours(lines: IntArray | None) -> IntArray | slice:
    """Lines as a slice where each is the next of the one before."""
    if lines is None:
        return slice(None)
    if lines.size == 0:
        return lines
    begin, end = int(lines[0]), int(lines[-1]) + 1
    if end - begin == lines.size and (lines == np.arange(begin, end)).all():
        return slice(begin, end)
    return lines
