"""One request in the ledgers of all arrays that its cells are on.

What can be found for all cells at once is found once; each counter of an array is then touched once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from eapu_hil.bench.ledger import ArrayLedger
from eapu_hil.hal import Cells, FloatArray, IntArray, Reading, WriteOutcome

Value = TypeVar("Value", bound=np.generic)


class Booking:
    """The cells of one request, array after array; so are vectors that go in and out, unless they are of the contract.

    Only in a reading may a cell stand more than once.
    """

    def __init__(
        self, ledgers: Sequence[ArrayLedger], cells: Cells, places: Sequence[IntArray] | None = None
    ) -> None:
        """ledgers: of arrays of one shape. places: where the cells of each are among `cells`; None for a single one."""
        self._ledgers = list(ledgers)
        self._order = None if places is None else np.concatenate([np.zeros(0, np.int64), *places])
        edges = (
            [0, len(cells)] if places is None else [0, *np.cumsum([here.size for here in places]).tolist()]
        )
        self._starts = edges[:-1]
        self._slices = [slice(start, end) for start, end in pairwise(edges)]
        row, col = self._sorted(cells.row), self._sorted(cells.col)
        at = row * (ledgers[0].shape[1] if ledgers else 1) + col
        self._row, self._col, self._at = ([part[its] for its in self._slices] for part in (row, col, at))
        self._not_booked = list(range(len(self._ledgers)))

    def pulses(self) -> IntArray:
        """Pulses of each cell so far."""
        return self._gathered(lambda ledger, at: ledger.counted("pulses", at), np.int64)

    def record_reading(self, reading: Reading, v_read_v: float) -> None:
        """Counts one verify read of each cell."""
        g_S = self._sorted(reading.g_S)
        power_w = self._sums(_power_w(g_S, v_read_v))
        times = np.empty(g_S.size, np.int64)
        for number, ledger in enumerate(self._ledgers):
            at, its = self._at[number], self._slices[number]
            before = ledger.counted("verify_reads", at)
            ledger.count("verify_reads", at, 1, at.size)
            times[its] = ledger.counted("verify_reads", at) - before
            ledger.add("verify_power_w", power_w[number])
        self._remember(g_S, times)

    def record_writes(
        self, outcome: WriteOutcome, v_read_v: float, line_v2: float, counted: IntArray | int = 0
    ) -> None:
        """Counts one write-verify request. counted: how many pulses of it are counted already (`expect`).

        line_v2: amplitude^2 + gate^2 of its strongest pulse, V^2.
        """
        pulses, reads = self._sorted(outcome.pulses), self._sorted(outcome.reads)
        g_S, energy_j = self._sorted(outcome.g_after_S), self._sorted(outcome.energy_j)
        between_S = (self._sorted(outcome.g_before_S) + g_S) / 2
        too_many, wrote = counted - pulses, (pulses > 0).astype(np.int64)
        all_too_many, all_wrote, all_reads, all_pulses, power_w = (
            self._sums(values)
            for values in (too_many, wrote, reads, pulses, _power_w(between_S * reads, v_read_v))
        )
        changed = bool(too_many.any())
        for number, ledger in enumerate(self._ledgers):
            at, its = self._at[number], self._slices[number]
            if changed:
                ledger.take_back("pulses", at, too_many[its], all_too_many[number])
            ledger.count("writes", at, wrote[its], all_wrote[number])
            ledger.count("verify_reads", at, reads[its], all_reads[number])
            ledger.add_energy(at, energy_j[its])
            ledger.add("verify_power_w", power_w[number])
            ledger.add("pulse_line_v2", all_pulses[number] * line_v2)
            self._not_booked.remove(number)
        self._remember(g_S, 1)

    def record_cut_short(self, applied: IntArray) -> None:
        """A write-verify request ended early: `applied` pulses a cell are counted; what they cost is not known.

        Arrays of which `record_writes` counted its writes are left as they are.
        """
        wrote = (applied > 0).astype(np.int64)
        for number in self._not_booked:
            its = wrote[self._slices[number]]
            self._ledgers[number].count("writes", self._at[number], its, int(its.sum()))

    def forget(self) -> None:
        """The conductances of the cells are not known any more: a request that changes them was cut short."""
        gone_S = self._known_S()
        for number, ledger in enumerate(self._ledgers):
            ledger.remember(self._at[number], np.nan)
            ledger.add_to_lines(self._row[number], self._col[number], -gone_S[self._slices[number]])

    def _remember(self, g_S: FloatArray, times: IntArray | int) -> None:
        """times: how often each cell stands there; its last known conductance counts, once."""
        known, before_S = np.isfinite(g_S), self._known_S()
        everywhere = bool(known.all())
        for ledger, at, its in zip(self._ledgers, self._at, self._slices, strict=True):
            if everywhere:
                ledger.remember(at, g_S[its])
            else:
                ledger.remember(at[known[its]], g_S[its][known[its]])
        change_S = (self._known_S() - before_S) / times
        for number, ledger in enumerate(self._ledgers):
            ledger.add_to_lines(self._row[number], self._col[number], change_S[self._slices[number]])

    def _known_S(self) -> FloatArray:
        """Last known conductances, S; 0 for cells that were never read."""
        g_S = self._gathered(lambda ledger, at: ledger.g_S(at), np.float64)
        g_S[np.isnan(g_S)] = 0.0
        return g_S

    def _gathered(
        self, of: Callable[[ArrayLedger, IntArray], NDArray[Value]], kind: type[Value]
    ) -> NDArray[Value]:
        found = [of(ledger, at) for ledger, at in zip(self._ledgers, self._at, strict=True)]
        return np.concatenate(found) if found else np.zeros(0, kind)

    def _sorted(self, values: NDArray[Value]) -> NDArray[Value]:
        return values if self._order is None else values[self._order]

    def _sums(self, values: NDArray[Value]) -> list[float]:
        """Of the cells of each array; whole numbers of whole numbers."""
        if not values.size:  # then there is one array, or none
            return [0] * len(self._slices)
        sums: list[float] = np.add.reduceat(values, self._starts).tolist()
        return sums


def _power_w(g_S: FloatArray, v_read_v: float) -> FloatArray:
    power_w: FloatArray = np.fmax(g_S, 0.0) * v_read_v**2  # of NaN and 0 it takes 0
    return power_w
