"""A probe station: sources on buses, crosspoints between buses and lines, and an array of the twin at the lines.

The circuit is solved as it stands, so what is wired wrongly or left at a voltage has the consequences that it would
have on the bench: unselected cells are disturbed, a shorted position draws current, a source limits.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Set
from dataclasses import dataclass, field

import numpy as np

from eapu_drivers.simulated.instruments.circuit import GROUND, Solution, Wired, leak, nodal
from eapu_hil.hal import FloatArray, Polarity
from eapu_hil.twin.array import TwinArray
from eapu_hil.twin.state import BenchClock

_MESSAGE_MAX_s = 10.0
_ROUNDS = 8  # of finding out which sources limit
_AT_LIMIT = 0.999  # of the limit: a SET that the limit ended draws just that, up to rounding


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
class StationFaults:
    """The faults of the station. shorts: (row, column) -> ohm, past the transistor. gate_shorts: rows whose gate
    leaks into the row line, ohm. open_lines: names of lines without contact, `row3`, `column0`, `gate2`.
    """

    shorts: dict[tuple[int, int], float] = field(default_factory=dict)
    gate_shorts: dict[int, float] = field(default_factory=dict)
    open_lines: set[str] = field(default_factory=set)


class MessageTooLong(Exception):  # noqa: N818 - of the instruments, which put an error into their queue
    """A message keeps the station busy for longer than others may have to wait."""


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
        self.faults = StationFaults()
        self.clock = clock
        self._array = array
        self._lines = dict(lines)
        self._sources: dict[str, Source] = {}
        self._closed: frozenset[str] = frozenset()
        self._wiring: Wired | None = None
        self._message = (0, math.inf)  # thread that carries it out, and its processor time at the end
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
        self._wiring = None

    def begin_message(self) -> None:
        """From now on it may take 10 s of the processor until the next one begins."""
        self._message = (threading.get_ident(), time.thread_time() + _MESSAGE_MAX_s)

    def catch_up(self) -> None:
        """Lets the time pass that really did, where the station keeps real time."""
        if self._real_s is not None:
            now_s = time.monotonic()
            self.elapse(now_s - self._real_s)
            self._real_s = now_s

    def elapse(self, duration_s: float) -> None:
        """Lets time pass with everything as it is; the cells suffer the voltages at them. Raises MessageTooLong."""
        thread, end_s = self._message
        if time.thread_time() > end_s and threading.get_ident() == thread:
            raise MessageTooLong
        if self._may_disturb():
            self._stress(duration_s)
        self.clock.advance(duration_s)

    def measure(self, source: Source, aperture_s: float) -> float:
        """The current out of `source`, A, integrated over `aperture_s`; 0 where it is off."""
        self.elapse(aperture_s)
        if not source.on:
            return 0.0
        solved = self._solve()
        for bus in solved.limits:
            self._sources[bus].limited = True
        [bus] = [name for name, one in self._sources.items() if one is source]
        return solved.current_a[bus]

    def terminal_v(self, source: Source) -> float:
        """The voltage at `source` now: its level, unless it limits; 0 where it is off."""
        if not source.on:
            return 0.0
        [bus] = [name for name, one in self._sources.items() if one is source]
        return self._solve().source_v[bus]

    def _may_disturb(self) -> bool:
        """Whether some cell may see as much as moves it: cheap, and asked at every message."""
        levels = [
            0.0,
            *(self._sources[bus].level_v for bus in self._wired().at_cells if self._sources[bus].on),
        ]
        return max(levels) - min(levels) >= self._disturbs_v

    def _stress(self, duration_s: float) -> None:
        solved = self._solve()
        for bus in solved.limits:
            self._sources[bus].limited = True
        across_v = solved.columns_v - solved.rows_v[:, None]  # positive is the direction of SET
        columns = self._array.shape[1]
        gate_v = np.repeat(self._gate_v(), columns)
        hit = np.flatnonzero((np.abs(across_v.ravel()) >= self._disturbs_v) & (gate_v > 0.0))
        for row, column in self.faults.shorts:
            hit = hit[hit != row * columns + column]  # a short takes the voltage off its cell
        if not (hit.size and duration_s > 0.0):
            return
        volts_v = across_v.ravel()[hit]
        limits_a = {
            bus: self._sources[bus].i_limit_a for bus in self._wired().at_cells if self._sources[bus].on
        }
        strictest = min(limits_a, key=lambda bus: limits_a[bus])
        peak_a = self._array.stress(
            hit,
            np.where(volts_v > 0, int(Polarity.SET), int(Polarity.RESET)),
            np.abs(volts_v),
            gate_v[hit],
            np.full(hit.size, duration_s),
            limits_a[strictest],
        )
        if peak_a.sum() >= _AT_LIMIT * limits_a[strictest]:
            self._sources[strictest].limited = True

    def _wired(self) -> Wired:
        """The connections of the closed crosspoints; kept until they, the sources or the faults change."""
        key = (len(self._sources), frozenset(self.faults.open_lines))
        if self._wiring is None or self._wiring.key != key:
            wires = (self._lines[name] for name in sorted(self._closed) if name in self._lines)
            live = [(bus, line) for bus, line in wires if line not in self.faults.open_lines]
            self._wiring = Wired.of(live, list(self._sources), self._array.shape, key)
        return self._wiring

    def _gate_v(self) -> FloatArray:
        """Of each row; a gate that floats, leaks, or is tied to two buses, counts as closed."""
        gate_v = np.zeros(self._array.shape[0])
        for row, buses in self._wired().gates.items():
            if len(buses) == 1 and buses[0] != GROUND and row not in self.faults.gate_shorts:
                source = self._sources[buses[0]]
                gate_v[row] = source.level_v if source.on else 0.0
        return gate_v

    def _solve(self) -> Solution:
        """Nodal analysis of rows, columns and sources. A source that limits becomes a current."""
        wired = self._wired()
        rows, columns = self._array.shape
        g_S = self._array.conducting_S(self._gate_v())
        for (row, column), ohm in self.faults.shorts.items():
            g_S[row, column] += 1.0 / ohm
        matrix = wired.matrix.copy()
        lines = rows + columns
        matrix[:rows, rows:lines] -= g_S
        matrix[rows:lines, :rows] -= g_S.T
        diagonal = np.einsum("ii->i", matrix)
        diagonal[:rows] += g_S.sum(axis=1)
        diagonal[rows:lines] += g_S.sum(axis=0)
        for row, ohm in self.faults.gate_shorts.items():
            for bus in wired.gates.get(row, []):
                leak(matrix, row, wired.node.get(bus), 1.0 / ohm)
        return self._find_limits(
            matrix, {bus: one for bus, one in self._sources.items() if one.on}, wired.node
        )

    def _find_limits(self, matrix: FloatArray, on: Mapping[str, Source], node: Mapping[str, int]) -> Solution:
        limiting: dict[str, float] = {}
        rows, columns = self._array.shape
        for _ in range(_ROUNDS):
            injected_a = np.zeros(len(matrix))
            for bus, limit_a in limiting.items():
                injected_a[node[bus]] = limit_a
            fixed = [bus for bus in on if bus not in limiting]
            voltages_v = nodal(matrix, injected_a, [node[b] for b in fixed], [on[b].level_v for b in fixed])
            current_a = {bus: float(matrix[node[bus]] @ voltages_v) for bus in on}
            over = {bus: i for bus, i in current_a.items() if bus in fixed and abs(i) > on[bus].i_limit_a}
            if not over:
                break
            worst = max(over, key=lambda bus: abs(over[bus]) / on[bus].i_limit_a)
            limiting[worst] = float(np.copysign(on[worst].i_limit_a, over[worst]))
        near = {bus for bus, i in current_a.items() if abs(i) >= _AT_LIMIT * on[bus].i_limit_a}
        source_v = {bus: float(voltages_v[node[bus]]) for bus in on}
        return Solution(voltages_v[:rows], voltages_v[rows : rows + columns], source_v, current_a, near)
