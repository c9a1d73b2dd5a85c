"""Requests on the way between an open bench and its devices: sent, corrected, counted.

Each function does that for a request to one array or to several at once. What is passed on to a device was checked
before (`eapu_hil.bench.limits`, `product_check`). An exception grounds all arrays of the request before it goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eapu_hil.bench.booking import Booking
from eapu_hil.bench.corrections import Corrections
from eapu_hil.bench.driven import Driven
from eapu_hil.bench.interlock import Interlock, sending
from eapu_hil.bench.ledger import ArrayLedger
from eapu_hil.bench.recipe_limits import most_pulses, strongest_v2
from eapu_hil.hal import (
    Cells,
    FloatArray,
    IntArray,
    LimitError,
    ProductRequest,
    PulseOutcome,
    Pulses,
    Reading,
    Targets,
    WriteOutcome,
)
from eapu_hil.hal.recipe import Recipe

Currents = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class ArrayBooks:
    """What stands between the requests to one array and its device.

    device_accounts: whether the device counts its pulses in the ledger itself (`AccountsForWear`).
    """

    interlock: Interlock
    ledger: ArrayLedger
    corrections: Corrections
    device_accounts: bool


@dataclass(frozen=True, eq=False)
class Part:
    """The cells of a request that are on one array: those at `here` among `whole`."""

    books: ArrayBooks
    whole: Cells
    here: slice | IntArray

    @cached_property
    def cells(self) -> Cells:
        """Those on this array."""
        return self.whole[self.here]

    def offset_S(self, v_read_v: float) -> FloatArray:
        """What the reads of the array add to the conductance of each of its cells, S."""
        return self.books.corrections.offset_S(self.whole.col[self.here], v_read_v)

    def targets(self, whole: Targets) -> Targets:
        """The part of the targets that is of these cells."""
        return Targets(self.cells, whole.g_target_S[self.here])

    def outcome(self, whole: WriteOutcome) -> WriteOutcome:
        """The part of an outcome that is of these cells."""
        return WriteOutcome(*(values[self.here] for values in vars(whole).values()))


def _booking(parts: Sequence[Part], cells: Cells) -> Booking:
    """Of a request for `cells`, which are on one array, or split."""
    places = [part.here for part in parts if not isinstance(part.here, slice)]
    ledgers = [part.books.ledger for part in parts]
    return Booking(ledgers, cells, places if len(places) == len(parts) else None)


def read(parts: Sequence[Part], cells: Cells, v_read_v: float, send: Callable[[], Reading]) -> Reading:
    """Sends a read of `cells`; see `Crossbar.read`."""
    booking = _booking(parts, cells)
    with sending([part.books.interlock for part in parts]):
        found = send()
        reading = Reading(found.g_S - _offset_S(parts, len(cells), v_read_v), found.status)
        booking.record_reading(reading, v_read_v)
    return reading


def products(
    books: Sequence[ArrayBooks],
    asked: Sequence[ProductRequest],
    send: Callable[[Sequence[ProductRequest]], list[Currents]],
) -> list[Currents]:
    """Sends product requests; see `BenchWide.products`. books: of all arrays, by number."""
    with sending([books[number].interlock for number in concerned(asked)]):
        applied = [_with_gains(books, one) for one in asked]
        found = send(applied)
        for one, current_a in zip(applied, found, strict=True):
            driven = [Driven.of(v_in_v) for v_in_v in one.v_in_v]
            for k, m, number in one.grid():
                books[number].ledger.record_products(
                    driven[k], one.direction, one.driven(k, m), current_a.shape[3]
                )
    return [_corrected(books, one, current_a) for one, current_a in zip(asked, found, strict=True)]


def concerned(asked: Sequence[ProductRequest]) -> list[int]:
    """The numbers of the arrays of some requests, once each."""
    return list(dict.fromkeys(number for one in asked for *_, number in one.grid()))


def _with_gains(books: Sequence[ArrayBooks], asked: ProductRequest) -> ProductRequest:
    """What to apply; on lines with gains it is each array's own, and the grid then has a single column."""
    gains = [books[number].corrections.gains for *_, number in asked.grid()]
    if not any(gains):
        return asked
    applied_v = []
    for (k, m, _), gain in zip(asked.grid(), gains, strict=True):
        v_v = asked.v_in_v[k]
        applied_v.append(gain.volts(v_v, asked.direction, asked.driven(k, m)) if gain else v_v)
    lines = [
        None if of_grid is None else of_grid.reshape(len(gains), 1, -1)
        for of_grid in (asked.lines_in, asked.lines_out)
    ]
    return ProductRequest(asked.arrays.reshape(-1, 1), np.stack(applied_v), asked.direction, *lines)


def _corrected(books: Sequence[ArrayBooks], asked: ProductRequest, measured_a: Currents) -> Currents:
    """The currents that were asked for, from those of `_with_gains`, in their place."""
    current_a = measured_a.reshape(*asked.arrays.shape, *measured_a.shape[2:])
    for k, m, number in asked.grid():
        gain = books[number].corrections.gains
        if gain is not None:
            lines = asked.driven(k, m), asked.measured(k, m)
            gain.currents(current_a[k, m], asked.v_in_v[k], asked.direction, *lines)
    return current_a


def pulse(part: Part, pulses: Pulses, send: Callable[[], PulseOutcome]) -> PulseOutcome:
    """Sends pulses to one array; see `Crossbar.pulse`."""
    ledger = part.books.ledger
    before = ledger.pulses(part.cells)
    try:
        with _pulsing([part], pulses.count):
            outcome = send()
    except BaseException:
        ledger.record_pulses(pulses, ledger.pulses(part.cells) - before)
        _booking([part], part.cells).forget()
        raise
    ledger.record_pulses(pulses, ledger.pulses(part.cells) - before)
    return outcome


def program(
    parts: Sequence[Part], targets: Targets, recipe: Recipe, send: Callable[[Targets], WriteOutcome]
) -> WriteOutcome:
    """Sends a write-verify request; see `Crossbar.program`."""
    booking = _booking(parts, targets.cells)
    before = booking.pulses()
    try:
        with _pulsing(parts, most_pulses(recipe)):
            offset_S = _offset_S(parts, len(targets), recipe.v_read_v)
            found = send(Targets(targets.cells, targets.g_target_S + offset_S))
            outcome = replace(
                found, g_before_S=found.g_before_S - offset_S, g_after_S=found.g_after_S - offset_S
            )
            counted = booking.pulses() - before
            booking.record_writes(outcome, recipe.v_read_v, strongest_v2(recipe), counted)
    except BaseException:
        booking.record_cut_short(booking.pulses() - before)
        booking.forget()
        raise
    return outcome


@contextmanager
def _pulsing(parts: Sequence[Part], at_most: IntArray | int) -> Iterator[None]:
    """Around a request that gives each cell up to `at_most` pulses: they are counted before it is sent."""
    counted_here = [part for part in parts if not part.books.device_accounts]
    with sending([part.books.interlock for part in parts]):
        for part in counted_here:
            part.books.ledger.expect(part.cells, at_most)
        try:
            yield
        except LimitError:  # refused whole, before anything was sent
            for part in counted_here:
                part.books.ledger.settle(part.cells, at_most, 0)
            raise


def _offset_S(parts: Sequence[Part], count: int, v_read_v: float) -> FloatArray:
    offset_S = np.empty(count)
    for part in parts:
        offset_S[part.here] = part.offset_S(v_read_v)
    return offset_S
