"""Products of the arrays of a chip with the voltages at their lines, wires and noise included.

The noise of the cells is drawn at the outputs: for independent cells the sum over a line is normal with variance
sum V^2 sd^2, so this is exact in law for ideal wires. With wires each cell's share is weighted by its own attenuation,
which leaves out only the part that leaks into other lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.threads import Workers
from eapu_hil.hal import IntArray
from eapu_hil.twin.chip import TwinChip
from eapu_hil.twin.circuit import LineNetwork
from eapu_hil.twin.converters import FullScale
from eapu_hil.twin.kernels.products import current_matrices

FloatND = NDArray[np.floating]
Real = TypeVar("Real", bound=np.floating)
CodeArray = NDArray[np.int16]
_Variance = NDArray[np.float32] | None
_VECTORS = 2048  # of a batch, in one piece of a matrix product


@dataclass(frozen=True, eq=False)
class Grid:
    """Which lines of which arrays a product drives and measures.

    arrays: numbers, (k, m). forward: drives rows, measures columns. driven, measured: lines of each array,
    (k, m, lines); None for all.
    """

    arrays: IntArray
    forward: bool
    driven: IntArray | None = None
    measured: IntArray | None = None

    def of(self, matrices: NDArray[Real]) -> NDArray[Real]:
        """What these products need of matrices (arrays, rows, columns): (k, m, driven, measured)."""
        rows, columns = (self.driven, self.measured) if self.forward else (self.measured, self.driven)
        if rows is None and columns is None:
            chosen = matrices[self.arrays]
        else:
            row = np.arange(matrices.shape[1])[:, None] if rows is None else rows[..., None]
            column = np.arange(matrices.shape[2]) if columns is None else columns[..., None, :]
            chosen = matrices[self.arrays[..., None, None], row, column]
        return chosen if self.forward else chosen.swapaxes(-1, -2)


class ChipProducts:
    """Products of the arrays of `chip`: the matrices of the moment are kept until an array changes."""

    def __init__(self, chip: TwinChip) -> None:
        self._chip = chip
        segment_ohm = chip.preset.circuit.line_resistance_ohm
        self._networks = [LineNetwork(chip.shape, segment_ohm, segment_ohm) for _ in range(chip.arrays)]
        stacked = (chip.arrays, *chip.shape)
        # A page of memory is taken when an array is first asked for a product.
        self._product_S: FloatND = np.zeros(stacked, np.float64 if chip.dac.exact else np.float32)
        self._variance_S2 = np.zeros(stacked, np.float32)
        self._workers = Workers()
        self._known = np.full(chip.arrays, -1, np.int64)  # the changes that the matrices know of

    def measured_a(self, grid: Grid, v_v: FloatND) -> FloatND:
        """Currents as measured, (k, m, batch, measured), A, for line voltages `v_v` (k, batch, driven).

        They are those of the arrays as they are now.
        """
        current_a, variance_a2 = self._currents(grid, v_v)
        adc = self._chip.column_adc if grid.forward else self._chip.row_adc
        return adc.convert(current_a, variance_a2, grid.arrays, grid.measured, self._chip.noise)

    def codes(self, grid: Grid, v_v: FloatND, full_scale: FullScale) -> CodeArray:
        """The same as codes of the range `full_scale`."""
        current_a, variance_a2 = self._currents(grid, v_v)
        adc = self._chip.column_adc if grid.forward else self._chip.row_adc
        return adc.codes(current_a, variance_a2, grid.arrays, grid.measured, full_scale, self._chip.noise)

    def _currents(self, grid: Grid, v_v: FloatND) -> tuple[FloatND, _Variance]:
        """Before the converters, (k, m, batch, measured), A, and the variance of their noise, A^2."""
        self._update(grid.arrays)
        current_a = self._multiplied(v_v, grid.of(self._product_S))
        variance_a2: _Variance = None
        if self._chip.preset.read_noise.enabled:
            variance_a2 = self._multiplied(v_v, grid.of(self._variance_S2), squared=True)
        self._chip.clock.advance(grid.arrays.size * v_v.shape[1] * self._chip.preset.timing.product_s)
        return current_a, variance_a2

    def _multiplied(self, v_v: FloatND, right: NDArray[Real], *, squared: bool = False) -> NDArray[Real]:
        """(k, batch, driven) times (k, m, driven, measured): (k, m, batch, measured), of the precision of `right`.

        squared: of the squares of the voltages.
        """
        batch = v_v.shape[1]
        found = np.empty((*right.shape[:2], batch, right.shape[3]), right.dtype)

        def multiply(piece: slice) -> None:
            part_v = v_v[:, None, piece]
            left = np.square(part_v, dtype=right.dtype) if squared else part_v
            np.matmul(left, right, out=found[:, :, piece])

        self._workers.each(multiply, [slice(at, at + _VECTORS) for at in range(0, batch, _VECTORS)])
        return found

    def _update(self, arrays: IntArray) -> None:
        """Brings the matrices of these arrays up to date."""
        numbers = np.unique(arrays)
        self._chip.update(numbers)
        changes = self._chip.changes[numbers]
        for number, version in zip(numbers.tolist(), changes.tolist(), strict=True):
            if self._known[number] != version:
                self._make_matrices(number)
                self._known[number] = version

    def _make_matrices(self, number: int) -> None:
        chip, law = self._chip, self._chip.preset.read_noise
        state, own = chip.cells.state, slice(number * chip.count, (number + 1) * chip.count)
        g_S = state.g_S[own]
        transfer_S, attenuation = self._networks[number].matrices(g_S.reshape(chip.shape))
        current_matrices(
            transfer_S.reshape(-1),
            attenuation.reshape(-1),
            g_S,
            state.slow[own],
            law.white_absolute_S**2 * law.enabled,
            law.white_relative**2 * law.enabled,
            self._product_S[number].reshape(-1),
            self._variance_S2[number].reshape(-1),
        )
