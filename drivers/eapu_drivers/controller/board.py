"""A controller board behind its link: configured, read back, and its refusals in the words of the bench."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np

from eapu_drivers.controller import messages
from eapu_drivers.controller.link import Link
from eapu_drivers.controller.message import Exchange
from eapu_drivers.controller.messages import (
    BoardState,
    Calibrate,
    Clear,
    Fault,
    GetLimits,
    Ground,
    LimitsAre,
    LineKind,
    Reason,
    Refused,
    Status,
    StatusIs,
    Welcome,
)
from eapu_drivers.controller.recipes import recipe_message
from eapu_drivers.controller.refusals import fault, refusal
from eapu_drivers.controller.units import Calibration, microvolts, nanoamperes, nanoseconds
from eapu_hil.hal import ConfigError, InstrumentError, LimitError, Limits, TransportError
from eapu_hil.hal.recipe import Recipe

_LOG = logging.getLogger(__name__)
_Answer = TypeVar("_Answer", bound=Exchange)
_Value = TypeVar("_Value")
_POLL_s = 0.2  # so that Ctrl-C is heard while waiting, also where a lock cannot be interrupted
_SETTLE_s = 2.0  # for the answers to what a ground has aborted

_CALIBRATE_MAX = (messages.PAYLOAD_MAX - Calibrate.STRUCT.size) // Calibrate.TAIL.itemsize


class Board:
    """Owns the configuration of one board. One thread at a time may use it."""

    def __init__(
        self, link: Link, name: str, limits: Limits, calibrations: Sequence[Calibration], dead_man_s: float
    ) -> None:
        """Configures the board behind `link`. name: for messages, its port.

        Raises ConfigError for limits beyond what the board can do, InstrumentError when it does not hold what
        it was sent, TransportError when it does not answer.
        """
        self.link = link
        self.name = name
        self.limits = limits
        self._calibrations = calibrations
        self.dead_man_s = dead_man_s
        self._board = (link.welcome.board, link.welcome.serial, shape_of(link.welcome))
        self._slots: dict[bytes, int] = {}  # the least recently used recipe first
        self._configured_for: Welcome | None = None
        self._epoch_s = 0.0  # UTC at which the board's clock was 0; a simulated clock is taken as it is
        self._latest_s = 0.0
        self._abandoned: set[Future[Any]] = set()
        self.prepare()

    def prepare(self) -> None:
        """Configures the board where it is not: at first, and after the link was lost and came back.

        Raises TransportError when another board answers than before.
        """
        welcome = self.link.welcome
        if welcome is self._configured_for:
            return
        found = (welcome.board, welcome.serial, shape_of(welcome))
        if found != self._board:
            raise TransportError(
                f"{self.name}: another board answers since the link came back: {found[0]} {found[1]}, not "
                f"{self._board[0]} {self._board[1]}; open the bench again"
            )
        self._slots.clear()
        self._leave_fault()
        self._send_limits()
        for array, calibration in enumerate(self._calibrations):
            self._send_calibration(array, calibration)
        if not welcome.simulated_time:
            self._epoch_s = time.time() - self.status().time_ns * 1e-9
        self._configured_for = welcome

    def slot(self, recipe: Recipe) -> int:
        """The slot that holds `recipe`; it is sent when none does. Raises LimitError when it is refused."""
        content = recipe_message(recipe, 0, 0).pack()
        number = self._slots.pop(content, None)
        if number is None:
            number = len(self._slots)
            if number == messages.RECIPES:
                number = self._slots.pop(next(iter(self._slots)))
            message = recipe_message(recipe, self.link.take_ids(), number)
            self.ask(message, messages.Done, _field_of(messages.Recipe, "recipe"))
        self._slots[content] = number
        return number

    def call(self, request: Exchange) -> Exchange:
        """Sends one request and waits for its answer, whatever it is."""
        future = self.link.submit(request)
        try:
            return self.result(future)
        except BaseException:
            self.abandon([future])
            raise

    def ask(
        self, request: Exchange, kind: type[_Answer], where: Callable[[int], str] | None = None
    ) -> _Answer:
        """Sends one request and waits for its answer of type `kind`.

        where: what the index of a refusal means. Raises LimitError, InstrumentError or TransportError.
        """
        return self.expect(self.call(request), request, kind, where)

    def expect(
        self,
        answer: Exchange,
        request: Exchange,
        kind: type[_Answer],
        where: Callable[[int], str] | None = None,
    ) -> _Answer:
        """`answer` where it is of type `kind`; raises what `refusal` makes of anything else."""
        if isinstance(answer, kind):
            return answer
        if isinstance(answer, Refused):
            raise self.refusal(answer, type(request).__name__.upper(), where)
        raise InstrumentError(0, f"{type(answer).__name__.upper()} in answer", type(request).__name__.upper())

    def refusal(
        self, refused: Refused, command: str, where: Callable[[int], str] | None = None
    ) -> LimitError | InstrumentError:
        """The exception for a refusal; a FAULT is asked for its cause."""
        if refused.reason in (Reason.FAULT, Reason.FRONT_END):
            return InstrumentError(refused.reason, f"{self.name}: {self._fault_text()}", command)
        place = f"{self.name}, {where(refused.index)}" if where else self.name
        return refusal(refused, place, command)

    def result(self, future: Future[_Value]) -> _Value:
        """Waits for an answer, for as long as the link lives; Ctrl-C interrupts it."""
        while not future.done():
            wait([future], _POLL_s)
        return future.result()

    def abandon(self, futures: Sequence[Future[Any]]) -> None:
        """Nobody waits for these any more: what was not sent yet never is; `ground` ends the rest."""
        self._abandoned.update(future for future in futures if not future.cancel() and not future.done())

    def status(self) -> StatusIs:
        """The board's own account of itself."""
        return self.link.urgent(Status(0))

    def require_sound(self) -> None:
        """Raises InstrumentError when the board is in FAULT."""
        status = self.status()
        if status.state == BoardState.FAULT:
            raise InstrumentError(status.fault, f"{self.name}: {fault(status)}", "STATUS")

    def clock_s(self) -> float:
        """Bench time, s; only rises."""
        self.prepare()
        self._latest_s = max(self._latest_s, self._epoch_s + self.status().time_ns * 1e-9)
        return self._latest_s

    def ground(self) -> None:
        """Every line of every array of the board to 0 V; ends whatever runs.

        Raises TransportError when the board cannot be reached: it then grounds itself by its dead-man timer.
        """
        try:
            status = self.link.urgent(Ground(0))
            if self._abandoned:
                # A request that the line had lost may be sent again after the ground and then run.
                waiting = [future for future in self._abandoned if not future.done()]
                self._abandoned.clear()
                wait(waiting, _SETTLE_s)
                status = self.link.urgent(Ground(0))
        except TransportError as error:
            self.link.close()  # the dead man waits as long as anything is heard, be it that the link is kept alive
            raise TransportError(
                f"{error}; the board puts its lines to 0 V by itself, {self.dead_man_s:g} s after the last frame "
                "that reached it"
            ) from error
        if not status.grounded:
            raise InstrumentError(status.fault, f"{self.name}: lines not grounded; {fault(status)}", "GROUND")

    def _fault_text(self) -> str:
        try:
            return fault(self.status())
        except TransportError as error:
            return str(error)

    def _leave_fault(self) -> None:
        status = self.status()
        if status.state != BoardState.FAULT:
            return
        # After every session that ended the board misses its host: that is no news.
        usual = status.fault == Fault.DEAD_MAN
        _LOG.log(logging.INFO if usual else logging.WARNING, "%s: %s; cleared", self.name, fault(status))
        status = self.link.urgent(Clear(0))
        if status.state == BoardState.FAULT:
            raise InstrumentError(status.fault, f"{self.name}: {fault(status)}", "CLEAR")

    def _send_limits(self) -> None:
        limits = self.limits
        try:
            values = {
                "v_max_uv": int(microvolts(limits.v_max_v, "limits.v_max_v")),
                "v_gate_max_uv": int(microvolts(limits.v_gate_max_v, "limits.v_gate_max_v")),
                "v_read_max_uv": int(microvolts(limits.v_read_max_v, "limits.v_read_max_v")),
                "i_max_na": int(nanoamperes(limits.i_max_a, "limits.i_max_a")),
                "width_max_ns": int(nanoseconds(limits.width_max_s, "limits.width_max_s")),
                "pulses_per_cell_max": limits.pulses_per_cell_max,
            }
            request = messages.Limits(id=self.link.take_ids(), **values)
            self.ask(request, messages.Done, _limit_of)
        except LimitError as error:
            raise ConfigError(str(error)) from error
        held = self.ask(GetLimits(self.link.take_ids()), LimitsAre)
        wrong = [name for name, value in values.items() if getattr(held, name) != value]
        if wrong:
            raise InstrumentError(
                0,
                f"{self.name}: the board holds other limits than it was sent: "
                + ", ".join(f"{name} {getattr(held, name)}, not {values[name]}" for name in wrong),
                "GET_LIMITS",
            )

    def _send_calibration(self, array: int, calibration: Calibration) -> None:
        for kind in sorted(calibration.measured):
            lines = calibration.lines[kind]
            records = np.empty(lines.gain.size, Calibrate.TAIL)
            records["gain"], records["offset"] = lines.gain, lines.offset
            for first in range(0, records.size, _CALIBRATE_MAX):
                part = records[first : first + _CALIBRATE_MAX]
                request = Calibrate(self.link.take_ids(), array, kind, first, part)
                self.ask(request, messages.Done, _line_of(array, kind))


def shape_of(welcome: Welcome) -> tuple[int, int, int]:
    """Arrays, rows and columns of a board."""
    return welcome.arrays, welcome.rows, welcome.cols


def _field_of(message: type[Exchange], what: str) -> Callable[[int], str]:
    names = [field.name for field in fields(message)]
    return lambda index: f"{what}.{names[index]}" if 0 < index < len(names) else what


def _limit_of(index: int) -> str:
    """The key of the bench file: it is in SI, the message in uV, nA and ns."""
    unit = {"uv": "v", "na": "a", "ns": "s"}
    name, _, last = _field_of(messages.Limits, "limits")(index).rpartition("_")
    return f"{name}_{unit.get(last, last)}" if name else last


def _line_of(array: int, kind: LineKind) -> Callable[[int], str]:
    return lambda index: f"array {array}, {kind.name} of line {index}"
