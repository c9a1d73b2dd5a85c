"""One array of an open bench: each request is checked, sent, corrected and counted; what was written is recorded."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from eapu_hil.bench.corrections import Corrections
from eapu_hil.bench.forming_record import FormingRecord
from eapu_hil.bench.interlock import Interlock, close_all
from eapu_hil.bench.ledger import ArrayLedger
from eapu_hil.bench.programmed import Recorder
from eapu_hil.hal import (
    Cells,
    ContactTest,
    Crossbar,
    Direction,
    FloatArray,
    Identity,
    IntArray,
    Limits,
    LineFault,
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
    the device. The ledger counts what is sent.
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

    @property
    def name(self) -> str:
        """How messages call this array."""
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
        """How often each of `cells` was pulsed so far, by the ledger."""
        return self._ledger.pulses(cells)

    def clock_s(self) -> float:
        self.interlock.refuse_when_closed()
        return self._device.clock_s()

    def wait(self, duration_s: float) -> None:
        self.interlock.refuse_when_closed()
        self.interlock.check.wait(duration_s)
        with self.interlock.grounding_on_error():
            self._device.wait(duration_s)

    def read(self, cells: Cells, v_read_v: float) -> Reading:
        self.interlock.refuse_when_closed()
        self.interlock.check.read(cells, v_read_v)
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
        measured = self.interlock.check.product(v_in_v, direction, lines_in, lines_out)
        gains = self.corrections.gains
        with self.interlock.sending():
            applied_v = v_in_v if gains is None else gains.volts(v_in_v, direction, lines_in)
            currents_a = self._device.vmm(applied_v, direction, lines_in, lines_out)
            self._ledger.record_products(applied_v, direction, lines_in, measured)
        if gains is None:
            return currents_a
        return gains.currents(currents_a, v_in_v, direction, lines_in, lines_out)

    def pulse(self, pulses: Pulses) -> PulseOutcome:
        self.interlock.refuse_when_closed()
        self.interlock.check.pulses(pulses, self._ledger.g_last_S)
        with self.interlock.sending(), self._forgetting_on_error(pulses.cells):
            self._ledger.record_pulses(pulses)  # before: a request that is cut short counts in full
            return self._device.pulse(pulses)

    def program(self, targets: Targets, recipe: Recipe | None = None) -> WriteOutcome:
        self.interlock.refuse_when_closed()
        used = recipe or self._recipe
        self.interlock.check.program(targets, used)
        cells = targets.cells
        with self.interlock.sending(), self._forgetting_on_error(cells):
            found = self._device.program(self.corrections.targets(targets, used.v_read_v), recipe)
            outcome = self.corrections.outcome(found, cells, used.v_read_v)
            self._ledger.record_writes(cells, outcome, used.v_read_v, _strongest_v2(used))
        if self._recorder is not None:
            self._recorder(targets, outcome, self._ledger.pulses(cells), self.clock_s())
        return outcome

    def test_contacts(self) -> list[LineFault] | None:
        """See `ContactTest`; None where the array cannot tell."""
        self.interlock.refuse_when_closed()
        if not isinstance(self._device, ContactTest):
            return None
        with self.interlock.sending():
            return self._device.test_contacts()

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
    def _forgetting_on_error(self, cells: Cells) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._ledger.forget(cells)
            raise


def _strongest_v2(recipe: Recipe) -> float:
    up = recipe.set.amplitude.stop_v**2 + recipe.set.gate.stop_v**2
    down = recipe.reset.amplitude.stop_v**2 + recipe.reset.gate_v**2
    return max(up, down)
