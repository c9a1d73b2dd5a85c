"""Which lines of an array behind a switch matrix have contact, and which positions are shorted.

With 0.1 V and a compliance of 1 uA: too little to change a cell, or to burn a short.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eapu_drivers.visa.lines import SwitchedLines
from eapu_drivers.visa.smu.contract import Setup, SourceMeter
from eapu_drivers.visa.sources import switch_on
from eapu_hil.hal import LineFault

TEST_V = 0.1
LIMIT_A = 1e-6
_SHORTED_A = 1e-8  # more than this with all gates closed is no cell
_NO_CONTACT_A = 1e-9  # less than this through all cells of a line with their gates open is no contact


def find_faults(
    source: SourceMeter,
    gate: SourceMeter,
    lines: SwitchedLines,
    bad: NDArray[np.bool_],
    gate_read_v: float,
    nplc: float,
) -> list[LineFault]:
    """Tests every line. bad: positions that are left out, shape (rows, columns). gate: set up, output on.

    The source is set up here; both are at 0 V afterwards, the lines as the last test had them.
    """
    switch_on(source, Setup(TEST_V, LIMIT_A, nplc))
    test = _Test(source, gate, lines, bad, gate_read_v)
    faults = test.shorts()
    leaking, found = test.rows()
    return faults + found + test.columns(leaking)


class _Test:
    def __init__(
        self,
        source: SourceMeter,
        gate: SourceMeter,
        lines: SwitchedLines,
        bad: NDArray[np.bool_],
        gate_read_v: float,
    ) -> None:
        self._source, self._gate, self._lines = source, gate, lines
        self._good, self._gate_read_v = ~bad, gate_read_v
        self._rows, self._columns = bad.shape

    def shorts(self) -> list[LineFault]:
        """Columns that draw current with every gate closed, and the positions that it goes through."""
        faults = []
        for column in range(self._columns):
            rows = np.flatnonzero(self._good[:, column]).tolist()
            if self._current_a(rows, [column], []) <= _SHORTED_A:
                continue
            for row in rows:
                current_a = self._current_a([row], [column], [])
                if current_a > _SHORTED_A:
                    said = f"shorted: {_shown(current_a)} at {TEST_V} V with its gate closed"
                    faults.append(LineFault(f"cell ({row}, {column})", said))
        return faults

    def rows(self) -> tuple[set[int], list[LineFault]]:
        """Rows, each with its gate: the gates that leak, and what was found."""
        leaking, faults = set(), []
        for row in range(self._rows):
            columns = np.flatnonzero(self._good[row]).tolist()
            self._lines.connect(self._lines.wiring.together([row], columns, [row]))
            self._gate.hold(self._gate_read_v)
            seen = self._gate.held()
            if seen.limited[0] or seen.overflow[0]:
                leaking.add(row)
                said = f"leaks: it draws its compliance at {self._gate_read_v} V"
                faults.append(LineFault(f"gate {row}", said))
            elif columns:
                current_a = abs(float(self._source.sweep(np.array([TEST_V])).current_a[0]))
                if current_a < _NO_CONTACT_A:
                    faults.append(
                        LineFault(f"row {row}", f"no contact of the row or its gate: {_shown(current_a)}")
                    )
            self._gate.hold(0.0)
        return leaking, faults

    def columns(self, leaking: set[int]) -> list[LineFault]:
        """Columns without contact."""
        faults = []
        for column in range(self._columns):
            rows = [row for row in np.flatnonzero(self._good[:, column]).tolist() if row not in leaking]
            current_a = self._current_a(rows, [column], rows)
            if rows and current_a < _NO_CONTACT_A:
                faults.append(LineFault(f"column {column}", f"no contact: {_shown(current_a)}"))
        return faults

    def _current_a(self, rows: list[int], columns: list[int], gates: list[int]) -> float:
        """Magnitude at the test voltage; the compliance where that was reached."""
        self._lines.connect(self._lines.wiring.together(rows, columns, gates))
        if gates:
            self._gate.hold(self._gate_read_v)
        seen = self._source.sweep(np.array([TEST_V]))
        if gates:
            self._gate.hold(0.0)
        return LIMIT_A if seen.limited[0] or seen.overflow[0] else abs(float(seen.current_a[0]))


def _shown(current_a: float) -> str:
    return f"{'over ' if current_a >= LIMIT_A else ''}{1e9 * current_a:.3g} nA"
