"""An array behind source-measure units and a switch matrix, as a `Crossbar`.

One cell at a time: its column (bit line) at the source, its row (source line) at ground, its gate (word line) at the
gate's source. A positive voltage is a SET.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from eapu_drivers.visa.contacts import find_faults
from eapu_drivers.visa.lines import SwitchedLines
from eapu_drivers.visa.proofs import prove
from eapu_drivers.visa.selection import Selection
from eapu_drivers.visa.smu.contract import CellWrite
from eapu_drivers.visa.sources import Clock, Setups, Sources, require_widths, switch_on, unsuitable_width
from eapu_hil.hal import (
    Cells,
    CellStatus,
    DeviceProof,
    Direction,
    FloatArray,
    Identity,
    InstrumentError,
    IntArray,
    LimitError,
    Limits,
    LineFault,
    Polarity,
    PulseOutcome,
    Pulses,
    Reading,
    Targets,
    Unattended,
    UnsupportedError,
    WearAccount,
    WriteOutcome,
)
from eapu_hil.hal.recipe import Recipe
from eapu_hil.hal.writeverify import repeat_epochs, write_verify

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


def _request(
    method: Callable[Concatenate[SmuArray, _Arguments], _Answer],
) -> Callable[Concatenate[SmuArray, _Arguments], _Answer]:
    """A request ends with an error before its next cell once another thread has grounded the array."""

    def ending(self: SmuArray, /, *args: _Arguments.args, **named: _Arguments.kwargs) -> _Answer:
        with self._selection.request():
            return method(self, *args, **named)

    update_wrapper(ending, method)
    return ending


class SmuArray:
    """The array. recipe: what a program request uses when it names none.

    Requests raise UnsupportedError (a LimitError) for what the instruments cannot do, before anything is sent, and
    TransportError, ProtocolError or InstrumentError where one fails. Positions that the channel map calls bad see no
    voltage: they read NaN with status STUCK, add nothing to a product, are not written; a pulse to one is refused.
    """

    def __init__(
        self,
        sources: Sources,
        lines: SwitchedLines,
        setups: Setups,
        recipe: Recipe,
        identity: Identity,
        clock: Clock,
    ) -> None:
        self.unattended: Unattended | None = None  # until a guard watches
        self._sources = sources
        self._lines = lines
        self._setups = setups
        self._recipe = recipe
        self._identity = identity
        self._clock = clock
        self._instruments = lines.wiring.instruments
        self._bad = np.zeros(lines.wiring.shape, np.bool_)
        for row, column in self._instruments.map.bad:
            self._bad[row, column] = True
        self._selection = Selection(sources, lines, setups)
        self._account: WearAccount | None = None

    def account_to(self, account: WearAccount) -> None:
        """See `AccountsForWear`. One cell is pulsed at a time, so one cell is under way at most."""
        self._account = account

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def shape(self) -> tuple[int, int]:
        return self._lines.wiring.shape

    @property
    def is_at_rest(self) -> bool:
        """Whether every output is off, as the instruments said at the last ground."""
        return self._selection.is_at_rest

    @property
    def limits(self) -> Limits:
        """The limits of the instruments; a bench file may not ask for more."""
        cell, gate = self._sources.cell.abilities, self._sources.gate.abilities
        return Limits(
            v_max_v=cell.v_max_v,
            v_gate_max_v=gate.v_max_v,
            i_max_a=cell.i_limit_max_a,
            width_max_s=cell.pulse_max_s,
            pulses_per_cell_max=2**31 - 1,
            v_read_max_v=cell.v_max_v,
        )

    def clock_s(self) -> float:
        return self._clock.now_s()

    def wait(self, duration_s: float) -> None:
        self._clock.wait(duration_s)

    @_request
    def read(self, cells: Cells, v_read_v: float) -> Reading:
        """Cell after cell; each takes a change of crosspoints and one reading."""
        g_S, status = np.full(len(cells), np.nan), np.full(len(cells), CellStatus.STUCK, np.uint8)
        for index in np.flatnonzero(~self._bad[cells.row, cells.col]):
            self._selection.select(int(cells.row[index]), int(cells.col[index]))
            self._selection.ready(self._setups.read, self._setups.gate_read_v)
            seen = self._sources.cell.sweep(np.array([v_read_v]))
            g_S[index] = seen.current_a[0] / v_read_v
            beyond = bool(seen.limited[0] or seen.overflow[0])
            status[index] = CellStatus.SATURATED if beyond else CellStatus.OK
        return Reading(g_S, status)

    @_request
    def vmm(
        self,
        v_in_v: NDArray[np.floating],
        direction: Direction,
        lines_in: IntArray | None = None,
        lines_out: IntArray | None = None,
    ) -> FloatArray:
        """Products by superposition: every driven line with every measured line, one cell after another.

        The cost is one change of crosspoints a cell and one reading for each of its voltages that is not 0:
        lines in x lines out x batch readings, where a board takes one conversion a line and vector. What many
        lines do to each other through the resistance of the wires is not in the result. A cell that draws the
        compliance has no current that could be added: InstrumentError.
        """
        forward = direction is Direction.FORWARD
        count_in, count_out = self.shape if forward else self.shape[::-1]
        driven = np.arange(count_in) if lines_in is None else np.asarray(lines_in)
        measured = np.arange(count_out) if lines_out is None else np.asarray(lines_out)
        volts_v = np.asarray(v_in_v, dtype=np.float64)
        total_a = np.zeros((volts_v.shape[0], measured.size))
        for place, line in enumerate(driven):
            vectors = np.flatnonzero(volts_v[:, place])
            if not vectors.size:
                continue
            for out, other in enumerate(measured):
                row, column = (int(line), int(other)) if forward else (int(other), int(line))
                if not self._bad[row, column]:
                    levels_v = volts_v[vectors, place] * (-1.0 if forward else 1.0)
                    total_a[vectors, out] += self._swept(row, column, levels_v) * (-1.0 if forward else 1.0)
        return total_a

    def _swept(self, row: int, column: int, levels_v: FloatArray) -> FloatArray:
        """Currents out of the column of a cell for voltages at its column, A."""
        self._selection.select(row, column)
        self._selection.ready(self._setups.read, self._setups.gate_read_v)
        most = self._sources.cell.abilities.points_max
        parts = [levels_v[first : first + most] for first in range(0, levels_v.size, most)]
        swept = [self._sources.cell.sweep(part) for part in parts]
        beyond = np.concatenate([part.limited | part.overflow for part in swept])
        if beyond.any():
            level_v, limit_a = levels_v[np.flatnonzero(beyond)[0]], self._setups.read.i_limit_a
            raise InstrumentError(
                0,
                f"cell ({row}, {column}): at {level_v:.3g} V it draws the compliance of readings, {limit_a:.3g} A "
                "(instruments.i_read_max_a), so its part of a product was not measured",
                "a product",
                self._identity.model,
            )
        return np.concatenate([part.current_a for part in swept])

    @_request
    def pulse(self, pulses: Pulses) -> PulseOutcome:
        self._require_possible(pulses)
        status = np.full(len(pulses.cells), CellStatus.OK, np.uint8)
        for index in range(len(pulses.cells)):
            row, column = int(pulses.cells.row[index]), int(pulses.cells.col[index])
            down = pulses.polarity[index] == Polarity.RESET
            reverse = bool(down) and self._instruments.reset == "reversed"
            level_v = float(pulses.amplitude_v[index]) * (-1.0 if down and not reverse else 1.0)
            self._selection.select(row, column, reverse)
            self._selection.ready(self._setups.pulse, float(pulses.gate_v[index]))
            self._sources.hold_biases(level_v)
            if self._account is not None:
                self._account.expect(pulses.cells[index : index + 1], int(pulses.count[index]))
            hit = self._sources.cell.pulse(level_v, float(pulses.width_s[index]), int(pulses.count[index]))
            self._sources.hold_biases(0.0)
            if hit:
                status[index] = CellStatus.COMPLIANCE
        return PulseOutcome(status)

    @_request
    def program(self, targets: Targets, recipe: Recipe | None = None) -> WriteOutcome:
        """Write-verify, cell after cell, so that crosspoints move once a cell; `time_max_s` is for each cell.

        Runs in the instrument where that has a script for it (2600B), else from here.
        """
        used = recipe or self._recipe
        wrong = unsuitable_width(used, self._sources.cell)
        if wrong is not None:
            raise UnsupportedError(wrong)
        return repeat_epochs(self.wait, targets, used, self._one_epoch)

    def _one_epoch(self, targets: Targets, recipe: Recipe) -> WriteOutcome:
        n = len(targets)
        total = WriteOutcome(
            np.full(n, np.nan),
            np.full(n, np.nan),
            np.zeros(n, np.int64),
            np.zeros(n, np.int64),
            np.zeros(n),
            np.full(n, CellStatus.STUCK, np.uint8),
        )
        once = recipe.model_copy(update={"epochs": 1})
        write = self._write_there if self._sources.verifier is not None else self._write_from_here
        for index in np.flatnonzero(~self._bad[targets.cells.row, targets.cells.col]):
            one = slice(index, index + 1)
            done = write(Targets(targets.cells[one], targets.g_target_S[one]), once)
            for name, values in vars(total).items():
                values[index] = getattr(done, name)
        return total

    def _write_from_here(self, target: Targets, recipe: Recipe) -> CellWrite:
        done = write_verify(self, target, recipe)
        return CellWrite(**{name: values[0].item() for name, values in vars(done).items()})

    def _write_there(self, target: Targets, recipe: Recipe) -> CellWrite:
        assert self._sources.verifier is not None
        setups = self._setups
        self._selection.select(int(target.cells.row[0]), int(target.cells.col[0]))
        self._selection.ready(setups.read, 0.0)
        self._selection.left_at(None)  # not known while the script runs; it ends as it began
        if self._account is not None:
            self._account.expect(target.cells, recipe.pulses_max)
        done = self._sources.verifier.write(
            float(target.g_target_S[0]), recipe, setups.read, setups.pulse, setups.gate_read_v
        )
        if self._account is not None:
            self._account.settle(target.cells, recipe.pulses_max, done.pulses)
        self._selection.left_at(setups.read)
        return done

    def ground(self) -> None:
        """Every source to 0 V and off, then every line to the ground bus. Tries all, whatever fails."""
        self._selection.ground()

    def prove_limits(self) -> list[DeviceProof]:
        """What the sources hold by themselves (see `proofs.py`); every output stays off."""
        self.ground()
        try:
            return prove(self._sources, self._setups)
        finally:
            self.ground()

    @_request
    def test_contacts(self) -> list[LineFault]:
        """Shorted positions, leaking gates, lines without contact (see `contacts.py`); grounds afterwards."""
        self._selection.is_at_rest = False
        gate, setups = self._sources.gate, self._setups
        self._selection.rest()
        switch_on(gate, setups.gate)
        cell, nplc = self._sources.cell, setups.read.nplc
        faults = find_faults(cell, gate, self._lines, self._bad, setups.gate_read_v, nplc)
        self.ground()
        return faults

    def _require_possible(self, pulses: Pulses) -> None:
        """Before anything is sent."""
        bad = np.flatnonzero(self._bad[pulses.cells.row, pulses.cells.col])
        if bad.size:
            row, column = pulses.cells.row[bad[0]], pulses.cells.col[bad[0]]
            raise LimitError(
                f"cell ({row}, {column}): a pulse asked; the channel map calls it bad (instruments.map.bad)"
            )
        require_widths(pulses.width_s, self._sources.cell)
