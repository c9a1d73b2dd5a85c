"""A controller in Python, for tests of what stands above the link: perfect cells, one request after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchwork import Bed, bed_on, config_of, plugged_once
from eapu_drivers.controller import messages
from eapu_drivers.controller.errors import LinkLost, RefusedError
from eapu_drivers.controller.message import Exchange
from eapu_drivers.controller.messages import BoardState, Reason, Refused, StatusIs, Welcome

from eapu_hil.hal import TransportError

RANGES_A = (1.6e-5, 4e-6, 2e-5, 1e-4, 5e-4)
WELCOME = Welcome(
    version=messages.VERSION,
    schema=messages.SCHEMA,
    link=1,
    session=7,
    git_hash="0123456789ab",
    board="fake",
    serial="F1",
    reset_cause=1,
    state=1,
    arrays=2,
    rows=16,
    cols=8,
    window=16,
    rx_bytes=4096,
    tick_hz=1_000_000,
    last_op=0,
    simulated_time=1,
    read_full_scale_uv=250_000,
    read_top=511,
    pulse_full_scale_uv=5_000_000,
    pulse_top=4095,
    gate_full_scale_uv=6_000_000,
    gate_top=4095,
    adc_top=2047,
    read_range=0,
    ranges=len(RANGES_A),
    range_full_scale_a=(*RANGES_A, 0.0, 0.0, 0.0),
)


class FakeLink:
    """The link and the board at its end: answers at once, in the order of the requests.

    g_S: the cells, shape (arrays, rows, cols). lose_at: the number of the PULSE or WRITE at which the line breaks,
    before (`lose_applied` False) or after it was carried out.
    """

    def __init__(self) -> None:
        self.welcome = WELCOME
        self.g_S = np.full((2, 16, 8), 10e-6)
        self.sent: list[Exchange] = []
        self.calibrations: list[messages.Calibrate] = []
        self.limits: messages.Limits | None = None
        self.recipes: dict[int, messages.Recipe] = {}
        self.results: dict[int, Exchange] = {}
        self.pulses = np.zeros((2, 16, 8), int)
        self.fault = 0
        self.grounds = 0
        self.time_ns = 5
        self.lose_at: int | None = None
        self.lose_applied = False
        self.reconnects = True
        self.same_session = True
        self.silent: set[type[Exchange]] = set()  # these are never answered
        self.refuse: Callable[[Exchange], Refused | None] = lambda _: None
        self.held: Callable[[messages.LimitsAre], messages.LimitsAre] = lambda limits: limits
        self._next_id = 1
        self._dead = False

    def take_ids(self, count: int = 1) -> int:
        first = self._next_id
        self._next_id += count
        return first

    def urgent(self, request: Exchange) -> StatusIs:
        self._check_alive()
        self.sent.append(request)
        if isinstance(request, messages.Ground):
            self.grounds += 1
        if isinstance(request, messages.Clear):
            self.fault = 0
        state = BoardState.FAULT if self.fault else BoardState.READY
        return StatusIs(request.id, state, self.fault, 1, 0, self.time_ns, 0, 0, 0, 0, 0, 0, 0)

    def submit(self, request: Exchange) -> Future[Exchange]:
        self._check_alive()
        unpacked = type(request).unpack(request.pack())
        self.sent.append(unpacked)
        future: Future[Exchange] = Future()
        changes = isinstance(unpacked, messages.Pulse | messages.Write)
        number = sum(isinstance(one, messages.Pulse | messages.Write) for one in self.sent) - 1
        if changes and self.lose_at is not None and number >= self.lose_at:
            if number == self.lose_at and self.lose_applied:
                self._answer(unpacked)
            future.set_exception(LinkLost("fake: lost", self.reconnects, self.same_session))
            self._lose()
        elif type(unpacked) not in self.silent:
            future.set_running_or_notify_cancel()
            future.set_result(self._answer(unpacked))
        return future

    def stream(self, begin: messages.Product, codes: np.ndarray) -> Future[np.ndarray]:
        self._check_alive()
        self.sent.append(begin)
        future: Future[np.ndarray] = Future()
        refused = self.refuse(begin)
        if refused is not None:
            future.set_exception(RefusedError(refused, "PRODUCT"))
            return future
        g_S = self.g_S[begin.array] if begin.direction == 0 else self.g_S[begin.array].T
        split = (g_S.shape[0] + 7) // 8
        driven = np.flatnonzero(np.unpackbits(begin.tail[:split], bitorder="little"))
        measured = np.flatnonzero(np.unpackbits(begin.tail[split:], bitorder="little"))
        assert codes.shape == (begin.vectors, driven.size)
        currents_a = (codes * (0.25 / 511)) @ g_S[np.ix_(driven, measured)]
        out = np.rint(currents_a / RANGES_A[begin.range] * 2047).clip(-2047, 2047)
        future.set_result(out.astype(np.int16))
        return future

    def close(self) -> None:
        self._dead = True

    def _check_alive(self) -> None:
        if self._dead:
            raise TransportError("fake: lost")

    def _lose(self) -> None:
        self._dead = not self.reconnects
        self.limits, self.recipes = None, {}
        self.welcome = replace(WELCOME, link=self.welcome.link + 1)
        if not self.same_session:
            self.results.clear()

    def _answer(self, request: Exchange) -> Exchange:
        refused = self.refuse(request)
        if refused is not None:
            return refused
        answer: Exchange = getattr(self, f"_{type(request).__name__.lower()}")(request)
        return answer

    def _refused(self, request: Exchange, reason: Reason) -> Refused:
        return Refused(request.id, reason, 0, 0.0, 0.0)

    def _limits(self, request: messages.Limits) -> messages.Done:
        self.limits = request
        return messages.Done(request.id, self.time_ns)

    def _getlimits(self, request: messages.GetLimits) -> messages.LimitsAre:
        assert self.limits is not None
        return self.held(messages.LimitsAre(**{**vars(self.limits), "id": request.id}))

    def _calibrate(self, request: messages.Calibrate) -> messages.Done:
        self.calibrations.append(request)
        return messages.Done(request.id, self.time_ns)

    def _recipe(self, request: messages.Recipe) -> messages.Done:
        self.recipes[request.slot] = request
        return messages.Done(request.id, self.time_ns)

    def _wait(self, request: messages.Wait) -> messages.Done:
        self.time_ns += request.duration_ns
        return messages.Done(request.id, self.time_ns)

    def _recall(self, request: messages.Recall) -> Exchange:
        held = self.results.get(request.op)
        if held is None:
            return self._refused(request, Reason.UNKNOWN_ID)
        return type(held)(request.id, held.tail)  # type: ignore[call-arg, attr-defined]

    def _read(self, request: messages.Read) -> Exchange:
        if self.limits is None:
            return self._refused(request, Reason.NOT_CONFIGURED)
        block = self.g_S[request.array][
            request.row : request.row + request.rows, request.col : request.col + request.cols
        ]
        volts_v = np.rint(request.v_read_uv * 1e-6 / (0.25 / 511)) * (0.25 / 511)
        codes = np.rint(block * volts_v / RANGES_A[0] * 2047).clip(-2047, 2047)
        return messages.ReadIs(request.id, codes.ravel().astype("<i2"))

    def _pulse(self, request: messages.Pulse) -> Exchange:
        tail = request.tail
        self.pulses[request.array, tail["row"], tail["col"]] += tail["count"]
        answer = np.zeros(tail.size, messages.Pulsed.TAIL)
        answer["pulses"] = tail["count"]
        self.results[request.id] = messages.Pulsed(request.id, answer)
        return self.results[request.id]

    def _write(self, request: messages.Write) -> Exchange:
        if request.slot not in self.recipes:
            return self._refused(request, Reason.NOT_CONFIGURED)
        place = request.array, request.tail["row"], request.tail["col"]
        answer = np.zeros(request.tail.size, messages.Written.TAIL)
        answer["g_before_S"], answer["g_after_S"] = self.g_S[place], request.tail["g_target_S"]
        answer["pulses"], answer["reads"], answer["energy_j"] = 1, 3, 1e-13
        self.g_S[place] = request.tail["g_target_S"]
        self.pulses[place] += 1
        self.results[request.id] = messages.Written(request.id, answer)
        return self.results[request.id]


@pytest.fixture
def link() -> Any:
    """A fresh controller of two arrays of 16 x 8 cells at 10 uS."""
    return FakeLink()


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """A board whose line cannot be plugged in again."""
    with bed_on(tmp_path, plugged_once, config_of()) as opened:
        yield opened
