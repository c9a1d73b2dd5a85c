"""The twin as a `Crossbar`: cells, wires and converters put together, with their cost in bench time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import (
    Cells,
    CellStatus,
    Direction,
    FloatArray,
    Identity,
    IntArray,
    LimitError,
    Limits,
    PulseOutcome,
    Pulses,
    Reading,
    Targets,
    WriteOutcome,
)
from eapu_hil.recipe import Recipe
from eapu_hil.twin.cells import CellArray, compliance
from eapu_hil.twin.circuit import LineNetwork, row_read
from eapu_hil.twin.converters import InputConverter, OutputConverters
from eapu_hil.twin.noise import SlowNoise, white_sd_s
from eapu_hil.twin.preset import TwinPreset
from eapu_hil.twin.state import BenchClock, StateFiles
from eapu_hil.writeverify import write_verify

FloatND = NDArray[np.floating]


class TwinCrossbar:
    """One simulated array. Everything that uses it goes through the contract; it reveals no true conductance."""

    def __init__(
        self,
        preset: TwinPreset,
        recipe: Recipe,
        shape: tuple[int, int],
        limits: Limits,
        clock: BenchClock,
        files: StateFiles,
        identity: Identity,
        seed: list[int],
    ) -> None:
        self._preset = preset
        self._recipe = recipe
        self._shape = shape
        self._limits = limits
        self._clock = clock
        self._identity = identity
        # A restart goes on with fresh randomness; the number of starts keeps it reproducible.
        starts = files.zeros("starts", (1,), np.int64)
        # SFC64 draws the normals of large products fastest of numpy's generators.
        self._rng = np.random.Generator(np.random.SFC64([*seed, 1, int(starts[0])]))
        starts[0] += 1
        count = shape[0] * shape[1]
        self._cells = CellArray(preset, count, files, seed)
        self._slow_noise = SlowNoise(preset, count, seed, self._rng)
        self._network = LineNetwork(
            shape, preset.circuit.line_resistance_ohm, preset.circuit.line_resistance_ohm
        )
        device = np.random.default_rng([*seed, 3])
        self._dac = InputConverter(preset.dac)
        adc = preset.adc
        self._read_adc = OutputConverters(adc, [adc.read_full_scale_a], shape[1], device)
        self._column_adc = OutputConverters(adc, adc.product_ranges_a, shape[1], device)
        self._row_adc = OutputConverters(adc, adc.product_ranges_a, shape[0], device)
        self._attenuation = _LaggingAttenuation(shape, preset.circuit.line_resistance_ohm)
        self._updated_s = -np.inf
        self._products: _ProductMatrices | None = None

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    @property
    def limits(self) -> Limits:
        return self._limits

    def clock_s(self) -> float:
        """Simulated bench time, s."""
        return self._clock.now_s()

    def wait(self, duration_s: float) -> None:
        """Advances the clock by `duration_s` and lets the cells relax. Raises ValueError when negative."""
        self._clock.advance(duration_s)
        long = duration_s >= self._preset.relaxation.update_interval_s
        self._update(waited=True, exactly=long)

    def ground(self) -> None:
        """Nothing is driven between requests; the twin's lines are at 0 V already."""

    def read(self, cells: Cells, v_read_v: float) -> Reading:
        """Verify read, a row at a time: its gates on, its line driven, all columns virtual grounds.

        Raises LimitError for a voltage that the input converter cannot give, or that it rounds to 0 V.
        """
        v_row_v = float(self._dac.convert(np.array([v_read_v]))[0])
        if v_row_v == 0.0:
            raise LimitError(
                f"twin: a read at {v_read_v} V asked; allowed is at least half a step of the input converter "
                "(dac.bits, dac.v_full_scale_v)"
            )
        self._update()
        rows, position = np.unique(cells.row, return_inverse=True)
        flat = (rows[:, None] * self._shape[1] + np.arange(self._shape[1])).ravel()
        stored = self._cells.g_s[flat]
        sampled = stored * (1.0 + self._slow_noise.relative()[flat])
        sampled += white_sd_s(self._preset.read_noise, stored) * self._rng.standard_normal(flat.size)
        r_ohm = self._preset.circuit.line_resistance_ohm
        row_g_s = np.maximum(sampled, 0.0).reshape(rows.size, self._shape[1])
        seen = row_read(row_g_s, rows, r_ohm, r_ohm, self._shape)
        current = seen[position, cells.col] * self._read_adc.gain[cells.col] * v_row_v
        current = np.asarray(self._read_adc.convert(current, None, cells.col, self._rng), dtype=np.float64)
        status = np.where(self._read_adc.saturated(current), CellStatus.SATURATED, CellStatus.OK)
        self._clock.advance(rows.size * self._preset.timing.read_row_s)
        return Reading(current / v_row_v, status.astype(np.uint8))

    def vmm(
        self,
        v_in_v: FloatND,
        direction: Direction,
        lines_in: IntArray | None = None,
        lines_out: IntArray | None = None,
    ) -> FloatArray:
        """Products of all vectors of the batch with the array as it is now, wires and noise included.

        The noise of the cells is drawn at the outputs: for independent cells the sum over a line is normal with
        variance sum V^2 sd^2, so this is exact in law for ideal wires. With wires each cell's share is weighted
        by its own attenuation, which leaves out only the part that leaks into other lines.
        """
        v_v = self._dac.convert(v_in_v)
        self._update()
        if self._products is None:
            self._products = self._matrices()
        forward = direction is Direction.FORWARD
        adc = self._column_adc if forward else self._row_adc
        driven, measured_lines = _chosen(lines_in), _chosen(lines_out)
        transfer, white = self._products.select(driven, measured_lines, forward, adc.gain)
        variance_a2 = np.square(v_v) @ np.square(white) if self._preset.read_noise.enabled else None
        measured = adc.convert(v_v @ transfer, variance_a2, measured_lines, self._rng)
        self._clock.advance(v_in_v.shape[0] * self._preset.timing.product_s)
        return np.asarray(measured, dtype=np.float64)

    def pulse(self, pulses: Pulses) -> PulseOutcome:
        """Applies the pulses, cell after cell; each advances the clock."""
        self._update()
        index = pulses.cells.row * self._shape[1] + pulses.cells.col
        peak = np.zeros(index.size)
        overhead = self._preset.timing.pulse_overhead_s
        for number in range(int(pulses.count.max(initial=0))):
            now = pulses.count > number
            peak[now] = np.maximum(
                peak[now],
                self._cells.pulse(
                    index[now],
                    pulses.polarity[now],
                    pulses.amplitude_v[now],
                    pulses.gate_v[now],
                    pulses.width_s[now],
                    self._clock.now_s(),
                    self._rng,
                ),
            )
            self._clock.advance(float((pulses.width_s[now] + overhead).sum()))
        self._products = None
        return PulseOutcome(compliance(peak, self._limits.i_max_a))

    def program(self, targets: Targets, recipe: Recipe | None = None) -> WriteOutcome:
        """Write-verify with `recipe` or the bench's own."""
        return write_verify(self, targets, recipe or self._recipe)

    def _update(self, waited: bool = False, exactly: bool = False) -> None:
        """Lets cells relax and fluctuate up to now: once per update interval, and after a wait.

        exactly: brings all cells up to date, not only those that are due.
        """
        now_s = self._clock.now_s()
        elapsed_s = now_s - self._updated_s
        interval_s = self._preset.relaxation.update_interval_s
        if elapsed_s < interval_s and not waited:
            return
        if self._preset.relaxation.enabled:
            self._cells.relax(now_s, self._rng, exactly=exactly)
            self._products = None
        if self._slow_noise.enabled:
            self._slow_noise.advance(elapsed_s, self._rng)
            self._products = None
        self._updated_s = now_s

    def _matrices(self) -> _ProductMatrices:
        g_s = self._cells.g_s.reshape(self._shape)
        transfer = self._network.transfer(g_s)
        share = self._attenuation.of(g_s)
        slow: FloatArray | float = 0.0
        if self._slow_noise.enabled:
            slow = self._slow_noise.relative().reshape(self._shape) * g_s * share
        white = white_sd_s(self._preset.read_noise, g_s) * share
        dtype = np.float64 if self._dac.exact else np.float32
        return _ProductMatrices((transfer + slow).astype(dtype), white.astype(np.float32))


class _LaggingAttenuation:
    """How much of each cell's noise arrives at its line, computed anew only when it has changed by a percent.

    It costs as much as a factorisation of the wires. To first order it falls by what the cells draw along their
    two lines: a change of the conductances moves it by at most the segment resistance times the number of
    segments times the largest sum of changes up to any point of a line.
    """

    TOLERANCE = 0.01

    def __init__(self, shape: tuple[int, int], segment_ohm: float) -> None:
        self._shape = shape
        self._segment_ohm = segment_ohm
        self._known: tuple[FloatArray, FloatArray] | None = None  # conductances and their attenuation

    def of(self, g_s: FloatArray) -> FloatArray:
        """Attenuation (rows, columns) for the conductances `g_s`, S, off by less than `TOLERANCE`."""
        if self._known is not None:
            change_s = g_s - self._known[0]
            drawn_s = sum(
                length * float(np.abs(change_s.cumsum(axis=axis)).max())
                for axis, length in enumerate(self._shape)
            )
            if drawn_s * self._segment_ohm < self.TOLERANCE:
                return self._known[1]
        # Its own circuit: the one that makes the products factorises at other times, and lags in its own way.
        fresh = LineNetwork(self._shape, self._segment_ohm, self._segment_ohm)
        self._known = g_s.copy(), fresh.attenuation(g_s)
        return self._known[1]


def _chosen(lines: IntArray | None) -> IntArray | slice:
    return slice(None) if lines is None else np.asarray(lines)


class _ProductMatrices:
    """Transfer matrix with the slow noise of the moment, and the white noise of each cell, both (rows, columns)."""

    def __init__(self, transfer: FloatND, white: FloatND) -> None:
        self._transfer = transfer
        self._white = white

    def select(
        self, driven: IntArray | slice, lines: IntArray | slice, forward: bool, gain: FloatArray
    ) -> tuple[FloatND, FloatND]:
        """Both for the driven lines and the lines to be measured, shape (driven, measured), times their gain."""
        transfer = self._transfer if forward else self._transfer.T
        white = self._white if forward else self._white.T
        line_gain = gain[lines].astype(transfer.dtype)
        return (
            np.ascontiguousarray(transfer[driven][:, lines] * line_gain),
            np.ascontiguousarray(white[driven][:, lines] * line_gain),
        )
