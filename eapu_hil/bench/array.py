"""One array of an open bench: each request is checked, sent, corrected and counted; what was written is recorded."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from eapu_hil.bench import books
from eapu_hil.bench.books import ArrayBooks, Part
from eapu_hil.bench.corrections import Corrections
from eapu_hil.bench.forming_record import FormingRecord
from eapu_hil.bench.interlock import Interlock, close_all
from eapu_hil.bench.ledger import ArrayLedger
from eapu_hil.bench.programmed import Recorder, recording
from eapu_hil.hal import (
    AccountsForWear,
    Cells,
    ContactTest,
    CountsLink,
    Crossbar,
    DeviceProof,
    Direction,
    GroundsUnattended,
    Identity,
    IntArray,
    Limits,
    LineFault,
    LinkCounts,
    ProductRequest,
    ProvesLimits,
    PulseOutcome,
    Pulses,
    Reading,
    Targets,
    Unattended,
    WriteOutcome,
)
from eapu_hil.hal.recipe import Recipe

_ALL = slice(None)


class BenchArray:
    """A `Crossbar` around that of a device. Also a context manager: the way out grounds and closes.

    All requests raise LimitError when they are refused or after `close`, and ground the array before they pass on any
    exception of the device. Readings, targets and products are those of the cells: `corrections` stand between them and
    the device. The ledger counts what is sent, and pulses before they are sent.
    """

    def __init__(
        self,
        device: Crossbar,
        interlock: Interlock,
        recipe: Recipe,
        ledger: ArrayLedger,
        corrections: Corrections,
        recorder: Recorder | None = None,
        forming: FormingRecord | None = None,
    ) -> None:
        """recipe: what `device` uses when a program request names none. recorder: is told of each write.

        forming: which cells were formed (`eapu_hil.bench.forming` asks it, and tells it).
        """
        self.forming = forming
        self._device = device
        self._shape = device.shape
        self._identity = device.identity
        self._recipe = recipe
        self._recorder = recorder
        accounts = isinstance(device, AccountsForWear)
        if isinstance(device, AccountsForWear):
            device.account_to(ledger)
        self.books = ArrayBooks(interlock, ledger, corrections, accounts)

    @property
    def interlock(self) -> Interlock:
        """What refuses its requests, and grounds."""
        return self.books.interlock

    @property
    def corrections(self) -> Corrections:
        """Those of its readings, targets and products."""
        return self.books.corrections

    @property
    def name(self) -> str:
        """Its name in messages."""
        return self.interlock.name

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    @property
    def limits(self) -> Limits:
        return self.interlock.check.limits

    @property
    def records_writes(self) -> bool:
        """Whether `record` notes anything."""
        return self._recorder is not None

    def without_record(self) -> Self:
        """The same array without the record of writes, for callers that keep their own or need none.

        Its `program` leaves no entry in the passport. Interlock, ledger and corrections are the same ones.
        """
        same = copy.copy(self)
        same._recorder = None
        return same

    def pulses(self, cells: Cells) -> IntArray:
        """Pulses of each of `cells` so far, by the ledger."""
        return self.books.ledger.pulses(cells)

    def clock_s(self) -> float:
        self.interlock.refuse_when_closed()
        return self._device.clock_s()

    def wait(self, duration_s: float) -> None:
        self.interlock.refuse_when_closed()
        duration_s = self.interlock.check.wait(duration_s)
        with self.interlock.grounding_on_error():
            self._device.wait(duration_s)

    def read(self, cells: Cells, v_read_v: float) -> Reading:
        self.interlock.refuse_when_closed()
        cells, v_read_v = self.interlock.check.read(cells, v_read_v)
        part = Part(self.books, cells, _ALL)
        return books.read([part], cells, v_read_v, lambda: self._device.read(cells, v_read_v))

    def vmm(
        self,
        v_in_v: NDArray[np.floating],
        direction: Direction,
        lines_in: IntArray | None = None,
        lines_out: IntArray | None = None,
    ) -> NDArray[np.floating]:
        self.interlock.refuse_when_closed()
        check = self.interlock.product_check
        asked = check.one(self.name, v_in_v, direction, lines_in, lines_out)
        [current_a] = books.products([self.books], [asked], self._products)
        alone_a: NDArray[np.floating] = current_a[0, 0]
        return alone_a

    def _products(self, asked: Sequence[ProductRequest]) -> list[NDArray[np.floating]]:
        """Sends requests to this array alone."""
        return [
            self._device.vmm(one.v_in_v[0], one.direction, one.driven(0, 0), one.measured(0, 0))[None, None]
            for one in asked
        ]

    def pulse(self, pulses: Pulses) -> PulseOutcome:
        self.interlock.refuse_when_closed()
        pulses = self.interlock.check.pulses(pulses, self.books.ledger.g_last_S)
        return books.pulse(Part(self.books, pulses.cells, _ALL), pulses, lambda: self._device.pulse(pulses))

    def program(self, targets: Targets, recipe: Recipe | None = None) -> WriteOutcome:
        self.interlock.refuse_when_closed()
        targets, used = self.interlock.check.program(targets, recipe or self._recipe)
        part = Part(self.books, targets.cells, _ALL)
        outcome = books.program([part], targets, used, lambda adjusted: self._device.program(adjusted, used))
        with recording(outcome):
            self.record(targets, outcome)
        return outcome

    def record(self, targets: Targets, outcome: WriteOutcome) -> None:
        """Tells the recorder, if there is one, what was written. Raises StorageError."""
        if self._recorder is not None:
            self._recorder(targets, outcome, self.pulses(targets.cells), self.clock_s())

    def test_contacts(self) -> list[LineFault] | None:
        """See `ContactTest`; None where the array cannot tell."""
        self.interlock.refuse_when_closed()
        if not isinstance(self._device, ContactTest):
            return None
        with self.interlock.sending():
            return self._device.test_contacts()

    def prove_limits(self) -> list[DeviceProof] | None:
        """See `ProvesLimits`: past the interlock, the device itself. None where it holds no limits of its own."""
        self.interlock.refuse_when_closed()
        if not isinstance(self._device, ProvesLimits):
            return None
        with self.interlock.sending():
            return self._device.prove_limits()

    def link_counts(self) -> LinkCounts | None:
        """See `CountsLink`; None where the device counts nothing."""
        return self._device.link_counts() if isinstance(self._device, CountsLink) else None

    @property
    def unattended(self) -> Unattended | None:
        """See `GroundsUnattended`."""
        return self._device.unattended if isinstance(self._device, GroundsUnattended) else None

    def ground(self) -> None:
        self.interlock.ground()

    def close(self) -> None:
        """See `Interlock.close`."""
        self.interlock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        close_all([self.interlock], error)
