"""Serves a simulated front end to a controller's firmware: frames in, frames out, one request at a time."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Mapping

import numpy as np

from eapu_drivers.controller.frames import Decoder, encode
from eapu_drivers.controller.message import Message
from eapu_drivers.controller.messages import (
    AFE_PAYLOAD_MAX,
    RANGES_MAX,
    AfeArm,
    AfeDone,
    AfeFailed,
    AfeGround,
    AfeInfo,
    AfeOpen,
    AfeProduct,
    AfeProductIs,
    AfePulse,
    AfePulsed,
    AfeRead,
    AfeReadIs,
    AfeSelect,
    AfeSkip,
)
from eapu_drivers.simulated.board.frontend import (
    I_MAX_A,
    LARGEST_TOP,
    V_GATE_MAX_V,
    V_MAX_V,
    FrontEnd,
    FrontEndError,
    WIDTH_MAX_s,
)
from eapu_hil.hal import ProtocolError

_LOG = logging.getLogger(__name__)
_CHUNK = 65536
_TEXT = 64  # bytes of AFE_FAILED.text


class AfeServer:
    """Answers the firmware's requests to its analog front end."""

    def __init__(self, front_end: FrontEnd, line: socket.socket) -> None:
        """line: connected to the firmware; the server does not close it."""
        self._front_end = front_end
        self._line = line
        self._decoder = Decoder(AFE_PAYLOAD_MAX)
        self._handlers: Mapping[int, Callable[[bytes], Message]] = {
            AfeOpen.NUMBER: self._open,
            AfeArm.NUMBER: self._arm,
            AfeGround.NUMBER: self._ground,
            AfeSkip.NUMBER: self._skip,
            AfeRead.NUMBER: self._read,
            AfePulse.NUMBER: self._pulse,
            AfeSelect.NUMBER: self._select,
            AfeProduct.NUMBER: self._product,
        }

    def serve(self) -> bool:
        """Answers what has arrived, waiting for it if need be. False: the firmware is gone."""
        try:
            data = self._line.recv(_CHUNK)
            if not data:
                return False
            for frame in self._decoder.feed(data):
                answer = self.answer(frame.number, frame.payload)
                self._line.sendall(encode(answer.NUMBER, 0, 0, answer.pack()))
        except ConnectionError:
            return False
        return True

    def answer(self, number: int, payload: bytes) -> Message:
        """The answer to one request; AFE_FAILED where it is malformed or impossible."""
        handler = self._handlers.get(number)
        try:
            if handler is None:
                raise FrontEndError(f"no request 0x{number:02x}")
            return handler(payload)
        except (FrontEndError, ProtocolError) as error:
            _LOG.warning("front end: %s", error)
            return AfeFailed(self._front_end.time_ns(), str(error)[:_TEXT])

    def _done(self) -> AfeDone:
        return AfeDone(self._front_end.time_ns())

    def _open(self, payload: bytes) -> AfeInfo:
        AfeOpen.unpack(payload)
        scales, (rows, cols) = self._front_end.scales, self._front_end.shape
        unused = (0.0,) * (RANGES_MAX - len(scales.ranges_a))
        return AfeInfo(
            time_ns=self._front_end.time_ns(),
            arrays=self._front_end.count,
            rows=rows,
            cols=cols,
            v_max_uv=_micro(V_MAX_V),
            v_gate_max_uv=_micro(V_GATE_MAX_V),
            i_max_na=round(1e9 * I_MAX_A),
            width_max_ns=round(1e9 * WIDTH_MAX_s),
            read_full_scale_uv=_micro(scales.read_full_scale_v),
            read_top=scales.read_top,
            pulse_full_scale_uv=_micro(V_MAX_V),
            pulse_top=LARGEST_TOP,
            gate_full_scale_uv=_micro(V_GATE_MAX_V),
            gate_top=LARGEST_TOP,
            adc_top=scales.adc_top,
            read_range=scales.read_range,
            ranges=len(scales.ranges_a),
            range_full_scale_a=(*scales.ranges_a, *unused),
        )

    def _arm(self, payload: bytes) -> AfeDone:
        request = AfeArm.unpack(payload)
        self._front_end.arm(1e-9 * request.i_max_na, request.width_max_ns, request.v_gate_max_uv / 1e6)
        return self._done()

    def _ground(self, payload: bytes) -> AfeDone:
        AfeGround.unpack(payload)
        self._front_end.ground()
        return self._done()

    def _skip(self, payload: bytes) -> AfeDone:
        self._front_end.skip(AfeSkip.unpack(payload).until_ns)
        return self._done()

    def _read(self, payload: bytes) -> AfeReadIs:
        request = AfeRead.unpack(payload)
        columns = (request.tail[name].astype(np.int64) for name in ("row", "col", "code"))
        codes = self._front_end.read(request.array, *columns)
        return AfeReadIs(self._front_end.time_ns(), codes)

    def _pulse(self, payload: bytes) -> AfePulsed:
        request = AfePulse.unpack(payload)
        names = ("row", "col", "polarity", "line_code", "gate_code", "width_ns")
        columns = (request.tail[name].astype(np.int64) for name in names)
        reached = self._front_end.pulse(request.array, *columns)
        return AfePulsed(self._front_end.time_ns(), reached)

    def _select(self, payload: bytes) -> AfeDone:
        request = AfeSelect.unpack(payload)
        lines = request.tail.view(np.uint8)
        self._front_end.select(request.array, request.direction, request.range, lines)
        return self._done()

    def _product(self, payload: bytes) -> AfeProductIs:
        request = AfeProduct.unpack(payload)
        codes = self._front_end.product(request.vectors, request.tail.view(np.int16))
        return AfeProductIs(self._front_end.time_ns(), codes.ravel())


def _micro(value: float) -> int:
    return round(1e6 * value)
