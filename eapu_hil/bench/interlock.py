"""The interlock: a `Crossbar` around a `Crossbar` that refuses what the bench's limits forbid.

A request is checked whole before any of it is sent, and refused, never clamped. Whatever ends the session (an
error, Ctrl-C, SIGTERM, the end of the process) puts every line to 0 V.
"""

from __future__ import annotations

import atexit
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.stopping import raise_if_stopped
from eapu_hil.bench.ledger import ArrayLedger
from eapu_hil.bench.limits import LimitCheck
from eapu_hil.hal import (
    Cells,
    ContactTest,
    Crossbar,
    Direction,
    FloatArray,
    HilError,
    Identity,
    IntArray,
    LimitError,
    Limits,
    LineFault,
    PulseOutcome,
    Pulses,
    Reading,
    Targets,
    WriteOutcome,
)
from eapu_hil.hal.recipe import Recipe

_LOG = logging.getLogger(__name__)


class InterlockedCrossbar:
    """One array behind the limits of its bench. Also a context manager: the way out grounds and closes.

    Counts what is sent in `ledger`. All requests raise LimitError when they are refused or after `close`, and
    ground the array before they pass on any exception of the array itself.

    read_offset_a: what the converter of each column adds to a current, A, shape (columns,); 0 at first. Readings and
        targets are those of the cells: it is taken off the one and added to the other on their way.
    """

    def __init__(
        self, inner: Crossbar, limits: Limits, recipe: Recipe, ledger: ArrayLedger, name: str
    ) -> None:
        """recipe: what `inner` uses when a program request names none. name: for messages, "array 0"."""
        self._inner = inner
        self._shape = inner.shape
        self._check = LimitCheck(name, self._shape, limits)
        self._recipe = recipe
        self._ledger = ledger
        self._identity = inner.identity
        self.read_offset_a: FloatArray = np.zeros(self._shape[1])
        self._closed = False
        self._grounded = False
        atexit.register(self.close)

    @property
    def name(self) -> str:
        """How messages call this array."""
        return self._check.name

    @property
    def is_grounded(self) -> bool:
        """Whether nothing was sent since the lines were put to 0 V."""
        return self._grounded

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    @property
    def limits(self) -> Limits:
        return self._check.limits

    def clock_s(self) -> float:
        self._refuse_when_closed()
        return self._inner.clock_s()

    def wait(self, duration_s: float) -> None:
        self._refuse_when_closed()
        self._check.wait(duration_s)
        with self._grounding_on_error():
            self._inner.wait(duration_s)

    def read(self, cells: Cells, v_read_v: float) -> Reading:
        self._refuse_when_closed()
        self._check.read(cells, v_read_v)
        with self._sending():
            found = self._inner.read(cells, v_read_v)
            reading = Reading(found.g_s - self.read_offset_a[cells.col] / v_read_v, found.status)
            self._ledger.record_reading(cells, reading, v_read_v)
        return reading

    def vmm(
        self,
        v_in_v: NDArray[np.floating],
        direction: Direction,
        lines_in: IntArray | None = None,
        lines_out: IntArray | None = None,
    ) -> FloatArray:
        self._refuse_when_closed()
        measured = self._check.product(v_in_v, direction, lines_in, lines_out)
        with self._sending():
            currents_a = self._inner.vmm(v_in_v, direction, lines_in, lines_out)
            self._ledger.record_products(v_in_v, direction, lines_in, measured)
        return currents_a

    def pulse(self, pulses: Pulses) -> PulseOutcome:
        self._refuse_when_closed()
        self._check.pulses(pulses, self._ledger.g_last_s)
        with self._sending(changes=pulses.cells):
            self._ledger.record_pulses(pulses)  # before: a request that is cut short counts in full
            return self._inner.pulse(pulses)

    def program(self, targets: Targets, recipe: Recipe | None = None) -> WriteOutcome:
        self._refuse_when_closed()
        used = recipe or self._recipe
        self._check.program(targets, used)
        with self._sending(changes=targets.cells):
            offset_s = self.read_offset_a[targets.cells.col] / used.v_read_v
            found = self._inner.program(Targets(targets.cells, targets.g_target_s + offset_s), recipe)
            before_s, after_s = found.g_before_s - offset_s, found.g_after_s - offset_s
            outcome = replace(found, g_before_s=before_s, g_after_s=after_s)
            self._ledger.record_writes(targets.cells, outcome, used.v_read_v, _strongest_v2(used))
        return outcome

    def test_contacts(self) -> list[LineFault] | None:
        """See `ContactTest`; None where the array cannot tell."""
        self._refuse_when_closed()
        if not isinstance(self._inner, ContactTest):
            return None
        with self._sending():
            return self._inner.test_contacts()

    def ground(self) -> None:
        try:
            self._inner.ground()
        except (KeyboardInterrupt, SystemExit):  # a second Ctrl-C must not leave the lines half grounded
            self._inner.ground()
            self._grounded = True
            raise
        self._grounded = True

    def close(self) -> None:
        """Grounds, unless nothing was sent since the last ground; from now on only `ground` is allowed."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        if not self._grounded:
            self.ground()

    def __enter__(self) -> InterlockedCrossbar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        close_all([self], error)

    @contextmanager
    def _sending(self, changes: Cells | None = None) -> Iterator[None]:
        raise_if_stopped()
        self._grounded = False
        with self._grounding_on_error(changes):
            yield

    @contextmanager
    def _grounding_on_error(self, changes: Cells | None = None) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            if changes is not None:
                self._ledger.forget(changes)
            try:
                self.ground()
            except BaseException as failure:  # noqa: BLE001 - the first error is the one to pass on
                if not self.is_grounded:
                    _report(f"{self.name}: could not be grounded: {_text(failure)}", error)
            raise

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise LimitError(f"{self.name}: closed; only grounding is allowed")


def close_all(arrays: Sequence[InterlockedCrossbar], error: BaseException | None = None) -> None:
    """Grounds and closes every array, also when one of them fails.

    error: the exception that is on its way, if there is one; failures are then added to it as notes.
    Otherwise raises HilError that names each array that could not be grounded.
    """
    failures: list[BaseException] = []
    messages: list[str] = []
    for array in arrays:
        try:
            array.close()
        except BaseException as failure:  # noqa: BLE001 - the other arrays have to be grounded first
            failures.append(failure)
            if not array.is_grounded:
                messages.append(f"{array.name}: could not be grounded: {_text(failure)}")
    # Ctrl-C or SIGTERM may have come in between; it goes on when nothing else is on its way.
    interrupts = [failure for failure in failures if not isinstance(failure, Exception)]
    leaving = error or next(iter(interrupts), None)
    if leaving is not None and messages:
        _report("; ".join(messages), leaving)
    if error is None and leaving is not None:
        raise leaving
    if error is None and failures:
        raise HilError("; ".join(messages)) from failures[0]


def _report(message: str, error: BaseException) -> None:
    _LOG.error("%s", message)
    error.add_note(message)


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _strongest_v2(recipe: Recipe) -> float:
    up = recipe.set.amplitude.stop_v**2 + recipe.set.gate.stop_v**2
    down = recipe.reset.amplitude.stop_v**2 + recipe.reset.gate_v**2
    return max(up, down)
