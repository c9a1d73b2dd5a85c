"""A probe station: sources on buses, crosspoints between buses and lines, and an array of the twin at the lines.

The circuit is solved as it stands, so what is wired wrongly or left at a voltage has the consequences that it would
have on the bench: unselected cells are disturbed, a shorted position draws current, a source limits.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

import numpy as np

from eapu_hil.hal import FloatArray, IntArray, Polarity
from eapu_hil.twin.array import TwinArray
from eapu_hil.twin.state import BenchClock

CONTACT_S = 2.0  # a closed crosspoint with its cables, half an ohm
_LEAK_S = 1e-13  # of a line that nothing is connected to; keeps the circuit solvable
_ROUNDS = 8  # of finding out which sources limit
GROUND = "ground"


@dataclass
class Source:
    """One terminal of a simulated instrument, at a bus: an ideal voltage that gives way at its current limit.

    Change it only through `Probe.drive`. limited: whether it ran into its limit since that was last asked.
    """

    level_v: float = 0.0
    on: bool = False
    i_limit_a: float = 1e-4
    limited: bool = False


@dataclass
class Faults:
    """What is wrong with the station. shorts: (row, column) -> ohm, past the transistor. gate_shorts: rows whose gate
    leaks into the row line, ohm. open_lines: names of lines without contact, `row3`, `column0`, `gate2`.
    """

    shorts: dict[tuple[int, int], float] = field(default_factory=dict)
    gate_shorts: dict[int, float] = field(default_factory=dict)
    open_lines: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Solved:
    """Voltages of rows and columns, V; the current out of each source, A; who limits."""

    rows_v: FloatArray
    columns_v: FloatArray
    current_a: dict[str, float]
    limits: set[str]


class Probe:
    """The station. faults may be changed at any time.

    lines: crosspoint -> (bus, line), lines named `row0`, `column0`, `gate0`. The bus `ground` is at 0 V; every other is
    a `Source` that an instrument takes with `source`.
    """

    def __init__(
        self,
        array: TwinArray,
        clock: BenchClock,
        lines: Mapping[str, tuple[str, str]],
        *,
        real_time: bool = False,
    ) -> None:
        """real_time: the clock also goes on by itself, as for clients that wait by sleeping."""
        self.faults = Faults()
        self.clock = clock
        self._array = array
        self._lines = dict(lines)
        self._sources: dict[str, Source] = {}
        self._closed: frozenset[str] = frozenset()
        self._real_s = time.monotonic() if real_time else None
        preset = array.preset
        self._disturbs_v = min(preset.set.v_threshold_v, preset.reset.v_threshold_v)

    @property
    def crosspoints(self) -> Set[str]:
        """Those that are wired to something; the instrument may have more."""
        return self._lines.keys()

    @property
    def sources(self) -> list[Source]:
        """All that were taken so far."""
        return list(self._sources.values())

    def source(self, bus: str) -> Source:
        """The source at `bus`, a new one where there is none yet."""
        return self._sources.setdefault(bus, Source())

    def drive(
        self,
        source: Source,
        *,
        level_v: float | None = None,
        on: bool | None = None,
        i_limit_a: float | None = None,
    ) -> None:
        """Changes a source at this moment."""
        if level_v is not None:
            source.level_v = level_v
        if on is not None:
            source.on = on
        if i_limit_a is not None:
            source.i_limit_a = i_limit_a

    def close_crosspoints(self, closed: Set[str]) -> None:
        """Exactly these are closed from now on; those that nothing is wired to do nothing."""
        self._closed = frozenset(closed)

    def catch_up(self) -> None:
        """Lets the time pass that really did, where the station keeps real time."""
        if self._real_s is not None:
            now_s = time.monotonic()
            self.elapse(now_s - self._real_s)
            self._real_s = now_s

    def elapse(self, duration_s: float) -> None:
        """Lets time pass with everything as it is; the cells suffer the voltages at them."""
        if self._may_disturb():
            self._stress(duration_s)
        self.clock.advance(duration_s)

    def measure(self, source: Source, aperture_s: float) -> float:
        """The current out of `source`, A, integrated over `aperture_s`; 0 where it is off."""
        self.elapse(aperture_s)
        if not source.on:
            return 0.0
        solved = self._solve(self._conductances())
        for bus in solved.limits:
            self._sources[bus].limited = True
        [bus] = [name for name, one in self._sources.items() if one is source]
        return solved.current_a[bus]

    def _may_disturb(self) -> bool:
        levels = [source.level_v for source in self._sources.values() if source.on] + [0.0]
        return max(levels) - min(levels) >= self._disturbs_v

    def _stress(self, duration_s: float) -> None:
        solved = self._solve(self._conductances())
        across_v = solved.columns_v - solved.rows_v[:, None]  # positive is the direction of SET
        columns = self._array.shape[1]
        gate_v = np.repeat(self._gate_v(), columns)
        hit = np.flatnonzero((np.abs(across_v.ravel()) >= self._disturbs_v) & (gate_v > 0.0))
        for row, column in self.faults.shorts:
            hit = hit[hit != row * columns + column]  # a short takes the voltage off its cell
        if hit.size and duration_s > 0.0:
            volts_v = across_v.ravel()[hit]
            to_cells = self._to_cells()
            limits_a = [one.i_limit_a for bus, one in self._sources.items() if one.on and bus in to_cells]
            self._array.stress(
                hit,
                np.where(volts_v > 0, int(Polarity.SET), int(Polarity.RESET)),
                np.abs(volts_v),
                gate_v[hit],
                np.full(hit.size, duration_s),
                min(limits_a, default=np.inf),
            )
            after = self._solve(self._conductances())
            solved.limits.update(after.limits)
        for bus in solved.limits:
            self._sources[bus].limited = True

    def _to_cells(self) -> set[str]:
        """Buses that are connected to a row or a column."""
        return {bus for bus, line in self._wires() if not line.startswith("gate")}

    def _wires(self) -> list[tuple[str, str]]:
        wires = (self._lines[crosspoint] for crosspoint in sorted(self._closed) if crosspoint in self._lines)
        return [(bus, line) for bus, line in wires if line not in self.faults.open_lines]

    def _gate_v(self) -> FloatArray:
        """Of each row; a gate that floats, or is tied to two buses, counts as closed."""
        gate_v = np.zeros(self._array.shape[0])
        tied: dict[str, set[str]] = {}
        for bus, line in self._wires():
            if line.startswith("gate"):
                tied.setdefault(line, set()).add(bus)
        for line, buses in tied.items():
            [bus, *more] = buses
            row = int(line.removeprefix("gate"))
            if bus != GROUND and not more and row not in self.faults.gate_shorts:
                source = self._sources.get(bus)
                gate_v[row] = source.level_v if source is not None and source.on else 0.0
        return gate_v

    def _conductances(self) -> FloatArray:
        g_s = self._array.conducting_s(self._gate_v())
        for (row, column), ohm in self.faults.shorts.items():
            g_s[row, column] += 1.0 / ohm
        return g_s

    def _solve(self, g_s: FloatArray) -> _Solved:
        """Nodal analysis: rows, columns and gates, then one node a source. A source that limits becomes a current."""
        rows, columns = self._array.shape
        names = [*self._sources]
        first_gate, first_source = rows + columns, 2 * rows + columns
        node = {f"row{i}": i for i in range(rows)} | {f"column{j}": rows + j for j in range(columns)}
        node |= {f"gate{i}": first_gate + i for i in range(rows)}
        node |= {bus: first_source + k for k, bus in enumerate(names)}
        size = first_source + len(names)
        matrix = np.zeros((size, size))
        matrix[np.arange(size), np.arange(size)] = _LEAK_S
        _connect(
            matrix, np.arange(rows).repeat(columns), np.tile(rows + np.arange(columns), rows), g_s.ravel()
        )
        for row, ohm in self.faults.gate_shorts.items():
            _connect(matrix, np.array([first_gate + row]), np.array([row]), np.array([1.0 / ohm]))
        for bus, line in self._wires():
            if bus == GROUND:
                matrix[node[line], node[line]] += CONTACT_S
            elif bus in node:
                _connect(matrix, np.array([node[bus]]), np.array([node[line]]), np.array([CONTACT_S]))
        on = {bus: self._sources[bus] for bus in names if self._sources[bus].on}
        return self._find_limits(matrix, on, {bus: node[bus] for bus in on})

    def _find_limits(self, matrix: FloatArray, on: Mapping[str, Source], node: Mapping[str, int]) -> _Solved:
        limiting: dict[str, float] = {}
        rows, columns = self._array.shape
        for _ in range(_ROUNDS):
            injected_a = np.zeros(len(matrix))
            for bus, limit_a in limiting.items():
                injected_a[node[bus]] = limit_a
            fixed = [bus for bus in on if bus not in limiting]
            voltages_v = _nodal(matrix, injected_a, [node[b] for b in fixed], [on[b].level_v for b in fixed])
            current_a = {bus: float(matrix[node[bus]] @ voltages_v) for bus in on}
            over = {bus: i for bus, i in current_a.items() if bus in fixed and abs(i) > on[bus].i_limit_a}
            if not over:
                break
            worst = max(over, key=lambda bus: abs(over[bus]) / on[bus].i_limit_a)
            limiting[worst] = float(np.copysign(on[worst].i_limit_a, over[worst]))
        # A SET that the limit ended draws just the limit, up to noise of the solver.
        near = {bus for bus, i in current_a.items() if abs(i) >= 0.999 * on[bus].i_limit_a}
        return _Solved(voltages_v[:rows], voltages_v[rows : rows + columns], current_a, near)


def _connect(matrix: FloatArray, a: IntArray, b: IntArray, g_s: FloatArray) -> None:
    np.add.at(matrix, (a, a), g_s)
    np.add.at(matrix, (b, b), g_s)
    np.subtract.at(matrix, (a, b), g_s)
    np.subtract.at(matrix, (b, a), g_s)


def _nodal(
    matrix: FloatArray, injected_a: FloatArray, fixed: Sequence[int], levels_v: Sequence[float]
) -> FloatArray:
    """Voltages of all nodes where those of `fixed` are given."""
    given, given_v = np.array(fixed, dtype=np.int64), np.array(levels_v, dtype=np.float64)
    voltages_v = np.zeros(len(matrix))
    voltages_v[given] = given_v
    free = np.setdiff1d(np.arange(len(matrix)), given)
    drawn_a = injected_a[free] - matrix[np.ix_(free, given)] @ given_v
    voltages_v[free] = np.linalg.solve(matrix[np.ix_(free, free)], drawn_a)
    return voltages_v
