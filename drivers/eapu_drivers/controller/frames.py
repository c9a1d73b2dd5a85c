"""Frames on the wire: COBS(type u8 | seq u8 | ack u8 | payload | CRC-32), closed by one 0x00.

The zero cannot occur inside a frame, so that a receiver finds the next one after any damage. Source: S. Cheshire and
M. Baker, Consistent overhead byte stuffing, doi:10.1109/90.769765.
"""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

from cobs import cobs

from eapu_drivers.controller.messages import PAYLOAD_MAX

_HEADER = 3  # type, seq, ack
_CRC = 4


class Frame(NamedTuple):
    """The content of one frame. `ack` is the next sequence number that its sender expects."""

    number: int
    seq: int
    ack: int
    payload: bytes


def encode(number: int, seq: int, ack: int, payload: bytes) -> bytes:
    """The bytes of one frame, with the closing zero."""
    body = bytes((number, seq, ack)) + payload
    coded: bytes = cobs.encode(body + crc32(body).to_bytes(_CRC, "little"))
    return coded + b"\0"


def encoded_size(payload_bytes: int) -> int:
    """The most bytes that a frame with such a payload takes on the wire."""
    body = _HEADER + payload_bytes + _CRC
    return body + body // 254 + 2


class Decoder:
    """Finds the frames in a stream of bytes. `damaged` counts what lay between two zeros and was no frame."""

    def __init__(self, payload_max: int = PAYLOAD_MAX) -> None:
        self.damaged = 0
        self._longest = encoded_size(payload_max) - 1  # without the closing zero
        self._rest = b""
        self._overlong = False  # nothing before the next zero can be a frame

    def feed(self, data: bytes) -> list[Frame]:
        """The good frames that `data` completes, in order."""
        *pieces, rest = (self._rest + data).split(b"\0")
        frames = []
        for piece in pieces:
            frame = None if self._overlong else self._frame(piece)
            if frame is not None:
                frames.append(frame)
            elif piece or self._overlong:
                self.damaged += 1
            self._overlong = False
        if len(rest) > self._longest:
            self._overlong, rest = True, b""
        self._rest = rest
        return frames

    def _frame(self, piece: bytes) -> Frame | None:
        if not _HEADER + _CRC < len(piece) <= self._longest:
            return None
        try:
            content: bytes = cobs.decode(piece)
        except cobs.DecodeError:
            return None
        body, checksum = content[:-_CRC], content[-_CRC:]
        if len(body) < _HEADER or crc32(body) != int.from_bytes(checksum, "little"):
            return None
        return Frame(body[0], body[1], body[2], body[_HEADER:])
