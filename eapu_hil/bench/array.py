"""One array of an open bench: each request is checked, sent, corrected and counted; what was written is recorded."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.storage import StorageError
from eapu_hil.bench.corrections import Corrections
from eapu_hil.bench.forming_record import FormingRecord
from eapu_hil.bench.interlock import Interlock, close_all
from eapu_hil.bench.ledger import ArrayLedger
from eapu_hil.bench.programmed import NotRecordedError, Recorder
from eapu_hil.bench.recipe_limits import most_pulses, strongest_v2
from eapu_hil.hal import (
    AccountsForWear,
    Cells,
    ContactTest,
    Crossbar,
    DeviceProof,
    Direction,
    FloatArray,
    Identity,
    IntArray,
    LimitError,
    Limits,
    LineFault,
    ProvesLimits,
    PulseOutcome,
    Pulses,
    Reading,
    Targets,
    WriteOutcome,
)
from eapu_hil.hal.recipe import Recipe


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
        self.interlock = interlock
        self.corrections = corrections
        self._device = device
        self._shape = device.shape
        self._identity = device.identity
        self._recipe = recipe
        self._ledger = ledger
        self._recorder = recorder
        self._device_accounts = isinstance(device, AccountsForWear)
        if isinstance(device, AccountsForWear):
            device.account_to(ledger)

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

    def without_record(self) -> Self:
        """The same array without the record of writes, for callers that keep their own or need none.

        Its `program` leaves no entry in the passport. Interlock, ledger and corrections are the same ones.
        """
        same = copy.copy(self)
        same._recorder = None
        return same

    def pulses(self, cells: Cells) -> IntArray:
        """Pulses of each of `cells` so far, by the ledger."""
        return self._ledger.pulses(cells)

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
        with self.interlock.sending():
            reading = self.corrections.reading(self._device.read(cells, v_read_v), cells, v_read_v)
            self._ledger.record_reading(cells, reading, v_read_v)
        return reading

    def vmm(
        self,
        v_in_v: NDArray[np.floating],
        direction: Direction,
        lines_in: IntArray | None = None,
        lines_out: IntArray | None = None,
    ) -> FloatArray:
        self.interlock.refuse_when_closed()
        asked = self.interlock.check.product(v_in_v, direction, lines_in, lines_out)
        v_in_v, lines_in, lines_out = asked.v_in_v, asked.lines_in, asked.lines_out
        gains = self.corrections.gains
        with self.interlock.sending():
            applied_v = v_in_v if gains is None else gains.volts(v_in_v, direction, lines_in)
            currents_a = self._device.vmm(applied_v, direction, lines_in, lines_out)
            self._ledger.record_products(applied_v, direction, lines_in, currents_a.shape[1])
        if gains is None:
            return currents_a
        return gains.currents(currents_a, v_in_v, direction, lines_in, lines_out)

    def pulse(self, pulses: Pulses) -> PulseOutcome:
        self.interlock.refuse_when_closed()
        pulses = self.interlock.check.pulses(pulses, self._ledger.g_last_S)
        cells, ledger = pulses.cells, self._ledger
        before = ledger.pulses(cells)
        try:
            with self._pulsing(cells, pulses.count):
                outcome = self._device.pulse(pulses)
        except BaseException:
            ledger.record_pulses(pulses, ledger.pulses(cells) - before)
            ledger.forget(cells)
            raise
        ledger.record_pulses(pulses, ledger.pulses(cells) - before)
        return outcome

    def program(self, targets: Targets, recipe: Recipe | None = None) -> WriteOutcome:
        self.interlock.refuse_when_closed()
        targets, used = self.interlock.check.program(targets, recipe or self._recipe)
        cells, ledger = targets.cells, self._ledger
        before, at_most = ledger.pulses(cells), most_pulses(used)
        try:
            with self._pulsing(cells, at_most):
                found = self._device.program(self.corrections.targets(targets, used.v_read_v), used)
                outcome = self.corrections.outcome(found, cells, used.v_read_v)
                counted = ledger.pulses(cells) - before
                ledger.record_writes(cells, outcome, used.v_read_v, strongest_v2(used), counted)
        except BaseException:
            ledger.record_cut_short(cells, ledger.pulses(cells) - before)
            ledger.forget(cells)
            raise
        if self._recorder is not None:
            try:
                self._recorder(targets, outcome, ledger.pulses(cells), self.clock_s())
            except StorageError as error:
                raise NotRecordedError(str(error), outcome) from error
        return outcome

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

    @contextmanager
    def _pulsing(self, cells: Cells, at_most: IntArray | int) -> Iterator[None]:
        """Around a request that gives each of `cells` up to `at_most` pulses: they are counted before it is sent."""
        with self.interlock.sending():
            if self._device_accounts:
                yield
                return
            self._ledger.expect(cells, at_most)
            try:
                yield
            except LimitError:  # refused whole, before anything was sent
                self._ledger.settle(cells, at_most, 0)
                raise
