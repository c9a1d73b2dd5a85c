"""Made from firmware/protocol.yaml by firmware/generate.py: change that and run `python firmware/generate.py`.

Every message packs itself into the payload of its frame and unpacks from it; `unpack` raises ProtocolError for a
payload of a wrong length. A tail is an array of dtype TAIL, one element a record.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from eapu_drivers.controller.message import Exchange, Message, records, text

VERSION = 1
SCHEMA = 0xC1BACA6D
PAYLOAD_MAX = 240
AFE_PAYLOAD_MAX = 1024
CELLS_MAX = 12
CODES_MAX = 117
LINES_MAX = 128
ARRAYS_MAX = 4
RANGES_MAX = 8
RECIPES = 4


class BoardState(IntEnum):
    NEW = 0
    LINKED = 1
    READY = 2
    BUSY = 3
    FAULT = 4


class Fault(IntEnum):
    NONE = 0
    DEAD_MAN = 1
    FRONT_END = 2
    ON_TIME = 3
    GUARD = 4


class ResetCause(IntEnum):
    UNKNOWN = 0
    POWER = 1
    PIN = 2
    SOFTWARE = 3
    WATCHDOG = 4


class LineDirection(IntEnum):
    FORWARD = 0
    TRANSPOSED = 1


class LineKind(IntEnum):
    ROW_DAC = 0
    COL_DAC = 1
    GATE_DAC = 2
    ROW_ADC = 3
    COL_ADC = 4


class Reason(IntEnum):
    NONE = 0
    UNKNOWN_TYPE = 1
    BAD_LENGTH = 2
    BAD_VALUE = 3
    FAULT = 4
    NOT_CONFIGURED = 5
    BOARD_LIMIT = 6
    BAD_CELL = 7
    V_MAX = 8
    V_GATE_MAX = 9
    I_MAX = 10
    WIDTH_MAX = 11
    PULSES_MAX = 12
    V_READ_MAX = 13
    CONVERTER = 14
    TARGET = 15
    DUPLICATE = 16
    ABORTED = 17
    FRONT_END = 18
    UNKNOWN_ID = 19


@dataclass(frozen=True)
class Hello(Message):
    version: int
    schema: int
    link: int
    resend_ms: int
    dead_man_ms: int
    NUMBER: ClassVar[int] = 0x01
    SEQUENCED: ClassVar[bool] = False
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<BIIHI")

    def pack(self) -> bytes:
        return self.STRUCT.pack(self.version, self.schema, self.link, self.resend_ms, self.dead_man_ms)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        return cls(*cls._values(payload))


@dataclass(frozen=True)
class Welcome(Message):
    version: int
    schema: int
    link: int
    session: int
    git_hash: str
    board: str
    serial: str
    reset_cause: int
    state: int
    arrays: int
    rows: int
    cols: int
    window: int
    rx_bytes: int
    tick_hz: int
    last_op: int
    simulated_time: int
    read_full_scale_uv: int
    read_top: int
    pulse_full_scale_uv: int
    pulse_top: int
    gate_full_scale_uv: int
    gate_top: int
    adc_top: int
    read_range: int
    ranges: int
    range_full_scale_a: tuple[float, ...]
    NUMBER: ClassVar[int] = 0x81
    SEQUENCED: ClassVar[bool] = False
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<BIII12s16s16sBBBHHBHIIBiHiHiHHBB8f")

    def pack(self) -> bytes:
        return self.STRUCT.pack(
            self.version,
            self.schema,
            self.link,
            self.session,
            self.git_hash.encode("ascii", "replace"),
            self.board.encode("ascii", "replace"),
            self.serial.encode("ascii", "replace"),
            self.reset_cause,
            self.state,
            self.arrays,
            self.rows,
            self.cols,
            self.window,
            self.rx_bytes,
            self.tick_hz,
            self.last_op,
            self.simulated_time,
            self.read_full_scale_uv,
            self.read_top,
            self.pulse_full_scale_uv,
            self.pulse_top,
            self.gate_full_scale_uv,
            self.gate_top,
            self.adc_top,
            self.read_range,
            self.ranges,
            *self.range_full_scale_a,
        )

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        values = cls._values(payload)
        return cls(
            values[0],
            values[1],
            values[2],
            values[3],
            text(values[4]),
            text(values[5]),
            text(values[6]),
            values[7],
            values[8],
            values[9],
            values[10],
            values[11],
            values[12],
            values[13],
            values[14],
            values[15],
            values[16],
            values[17],
            values[18],
            values[19],
            values[20],
            values[21],
            values[22],
            values[23],
            values[24],
            values[25],
            values[26:34],
        )


@dataclass(frozen=True)
class Ack(Message):
    NUMBER: ClassVar[int] = 0x02
    SEQUENCED: ClassVar[bool] = False
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<")

    def pack(self) -> bytes:
        return self.STRUCT.pack()

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        return cls(*cls._values(payload))


@dataclass(frozen=True)
class Nak(Message):
    NUMBER: ClassVar[int] = 0x03
    SEQUENCED: ClassVar[bool] = False
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<")

    def pack(self) -> bytes:
        return self.STRUCT.pack()

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        return cls(*cls._values(payload))


@dataclass(frozen=True)
class Status(Exchange):
    NUMBER: ClassVar[int] = 0x04
    SEQUENCED: ClassVar[bool] = False
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<I")

    def pack(self) -> bytes:
        return self.STRUCT.pack(self.id)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        return cls(*cls._values(payload))


@dataclass(frozen=True)
class Ground(Exchange):
    NUMBER: ClassVar[int] = 0x05
    SEQUENCED: ClassVar[bool] = False
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<I")

    def pack(self) -> bytes:
        return self.STRUCT.pack(self.id)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        return cls(*cls._values(payload))


@dataclass(frozen=True)
class Abort(Exchange):
    NUMBER: ClassVar[int] = 0x06
    SEQUENCED: ClassVar[bool] = False
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<I")

    def pack(self) -> bytes:
        return self.STRUCT.pack(self.id)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        return cls(*cls._values(payload))


@dataclass(frozen=True)
class Clear(Exchange):
    NUMBER: ClassVar[int] = 0x07
    SEQUENCED: ClassVar[bool] = False
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<I")

    def pack(self) -> bytes:
        return self.STRUCT.pack(self.id)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        return cls(*cls._values(payload))


@dataclass(frozen=True)
class StatusIs(Exchange):
    state: int
    fault: int
    grounded: int
    queued: int
    time_ns: int
    last_op: int
    rx_frames: int
    rx_damaged: int
    rx_gaps: int
    tx_frames: int
    tx_resent: int
    refused: int
    NUMBER: ClassVar[int] = 0x84
    SEQUENCED: ClassVar[bool] = False
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<IBBBBQIIIIIII")

    def pack(self) -> bytes:
        return self.STRUCT.pack(
            self.id,
            self.state,
            self.fault,
            self.grounded,
            self.queued,
            self.time_ns,
            self.last_op,
            self.rx_frames,
            self.rx_damaged,
            self.rx_gaps,
            self.tx_frames,
            self.tx_resent,
            self.refused,
        )

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        return cls(*cls._values(payload))


@dataclass(frozen=True)
class Limits(Exchange):
    v_max_uv: int
    v_gate_max_uv: int
    v_read_max_uv: int
    i_max_na: int
    width_max_ns: int
    pulses_per_cell_max: int
    NUMBER: ClassVar[int] = 0x10
    SEQUENCED: ClassVar[bool] = True
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<IiiiIII")

    def pack(self) -> bytes:
        return self.STRUCT.pack(
            self.id,
            self.v_max_uv,
            self.v_gate_max_uv,
            self.v_read_max_uv,
            self.i_max_na,
            self.width_max_ns,
            self.pulses_per_cell_max,
        )

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        return cls(*cls._values(payload))


@dataclass(frozen=True)
class GetLimits(Exchange):
    NUMBER: ClassVar[int] = 0x11
    SEQUENCED: ClassVar[bool] = True
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<I")

    def pack(self) -> bytes:
        return self.STRUCT.pack(self.id)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        return cls(*cls._values(payload))


@dataclass(frozen=True)
class LimitsAre(Exchange):
    v_max_uv: int
    v_gate_max_uv: int
    v_read_max_uv: int
    i_max_na: int
    width_max_ns: int
    pulses_per_cell_max: int
    NUMBER: ClassVar[int] = 0x91
    SEQUENCED: ClassVar[bool] = True
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<IiiiIII")

    def pack(self) -> bytes:
        return self.STRUCT.pack(
            self.id,
            self.v_max_uv,
            self.v_gate_max_uv,
            self.v_read_max_uv,
            self.i_max_na,
            self.width_max_ns,
            self.pulses_per_cell_max,
        )

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        return cls(*cls._values(payload))


@dataclass(frozen=True, eq=False)
class Calibrate(Exchange):
    array: int
    kind: int
    first: int
    tail: NDArray[Any]
    NUMBER: ClassVar[int] = 0x12
    SEQUENCED: ClassVar[bool] = True
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<IBBH")
    TAIL: ClassVar[np.dtype[Any]] = records(("gain", "<f4"), ("offset", "<f4"))

    def pack(self) -> bytes:
        head = self.STRUCT.pack(self.id, self.array, self.kind, self.first)
        return head + self.tail.astype(self.TAIL, copy=False).tobytes()

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        values = cls._values(payload)
        return cls(
            values[0],
            values[1],
            values[2],
            values[3],
            np.frombuffer(payload, cls.TAIL, offset=cls.STRUCT.size),
        )


@dataclass(frozen=True)
class Recipe(Exchange):
    slot: int
    rewrite_in_band: int
    pulses_max: int
    flips_max: int
    pulses_at_cap_max: int
    g_min_s: float
    g_max_s: float
    band_s: float
    v_read_v: float
    set_gate_start_v: float
    set_gate_step_v: float
    set_gate_stop_v: float
    set_gate_offset_v: float
    set_gate_slope_s_per_v: float
    set_start_v: float
    set_step_v: float
    set_stop_v: float
    set_width_s: float
    reset_gate_v: float
    reset_start_v: float
    reset_step_v: float
    reset_stop_v: float
    reset_width_s: float
    time_max_s: float
    NUMBER: ClassVar[int] = 0x13
    SEQUENCED: ClassVar[bool] = True
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<IBBHHHddddddddddddddddddd")

    def pack(self) -> bytes:
        return self.STRUCT.pack(
            self.id,
            self.slot,
            self.rewrite_in_band,
            self.pulses_max,
            self.flips_max,
            self.pulses_at_cap_max,
            self.g_min_s,
            self.g_max_s,
            self.band_s,
            self.v_read_v,
            self.set_gate_start_v,
            self.set_gate_step_v,
            self.set_gate_stop_v,
            self.set_gate_offset_v,
            self.set_gate_slope_s_per_v,
            self.set_start_v,
            self.set_step_v,
            self.set_stop_v,
            self.set_width_s,
            self.reset_gate_v,
            self.reset_start_v,
            self.reset_step_v,
            self.reset_stop_v,
            self.reset_width_s,
            self.time_max_s,
        )

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        return cls(*cls._values(payload))


@dataclass(frozen=True)
class Wait(Exchange):
    duration_ns: int
    NUMBER: ClassVar[int] = 0x14
    SEQUENCED: ClassVar[bool] = True
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<IQ")

    def pack(self) -> bytes:
        return self.STRUCT.pack(self.id, self.duration_ns)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        return cls(*cls._values(payload))


@dataclass(frozen=True)
class Recall(Exchange):
    op: int
    NUMBER: ClassVar[int] = 0x15
    SEQUENCED: ClassVar[bool] = True
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<II")

    def pack(self) -> bytes:
        return self.STRUCT.pack(self.id, self.op)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        return cls(*cls._values(payload))


@dataclass(frozen=True)
class Done(Exchange):
    time_ns: int
    NUMBER: ClassVar[int] = 0x90
    SEQUENCED: ClassVar[bool] = True
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<IQ")

    def pack(self) -> bytes:
        return self.STRUCT.pack(self.id, self.time_ns)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        return cls(*cls._values(payload))


@dataclass(frozen=True)
class Refused(Exchange):
    reason: int
    index: int
    asked: float
    allowed: float
    NUMBER: ClassVar[int] = 0x9F
    SEQUENCED: ClassVar[bool] = True
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<IBHdd")

    def pack(self) -> bytes:
        return self.STRUCT.pack(self.id, self.reason, self.index, self.asked, self.allowed)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        return cls(*cls._values(payload))


@dataclass(frozen=True)
class Read(Exchange):
    array: int
    v_read_uv: int
    row: int
    col: int
    rows: int
    cols: int
    NUMBER: ClassVar[int] = 0x20
    SEQUENCED: ClassVar[bool] = True
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<IBiHHHH")

    def pack(self) -> bytes:
        return self.STRUCT.pack(self.id, self.array, self.v_read_uv, self.row, self.col, self.rows, self.cols)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        return cls(*cls._values(payload))


@dataclass(frozen=True, eq=False)
class ReadIs(Exchange):
    tail: NDArray[np.generic]
    NUMBER: ClassVar[int] = 0xA0
    SEQUENCED: ClassVar[bool] = True
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<I")
    TAIL: ClassVar[np.dtype[Any]] = np.dtype("<i2")

    def pack(self) -> bytes:
        head = self.STRUCT.pack(self.id)
        return head + self.tail.astype(self.TAIL, copy=False).tobytes()

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        values = cls._values(payload)
        return cls(values[0], np.frombuffer(payload, cls.TAIL, offset=cls.STRUCT.size))


@dataclass(frozen=True, eq=False)
class Pulse(Exchange):
    array: int
    tail: NDArray[Any]
    NUMBER: ClassVar[int] = 0x21
    SEQUENCED: ClassVar[bool] = True
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<IB")
    TAIL: ClassVar[np.dtype[Any]] = records(
        ("row", "<u2"),
        ("col", "<u2"),
        ("polarity", "i1"),
        ("amplitude_uv", "<i4"),
        ("gate_uv", "<i4"),
        ("width_ns", "<u4"),
        ("count", "<u2"),
    )

    def pack(self) -> bytes:
        head = self.STRUCT.pack(self.id, self.array)
        return head + self.tail.astype(self.TAIL, copy=False).tobytes()

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        values = cls._values(payload)
        return cls(values[0], values[1], np.frombuffer(payload, cls.TAIL, offset=cls.STRUCT.size))


@dataclass(frozen=True, eq=False)
class Pulsed(Exchange):
    tail: NDArray[Any]
    NUMBER: ClassVar[int] = 0xA1
    SEQUENCED: ClassVar[bool] = True
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<I")
    TAIL: ClassVar[np.dtype[Any]] = records(("pulses", "<u2"), ("status", "u1"))

    def pack(self) -> bytes:
        head = self.STRUCT.pack(self.id)
        return head + self.tail.astype(self.TAIL, copy=False).tobytes()

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        values = cls._values(payload)
        return cls(values[0], np.frombuffer(payload, cls.TAIL, offset=cls.STRUCT.size))


@dataclass(frozen=True, eq=False)
class Write(Exchange):
    array: int
    slot: int
    tail: NDArray[Any]
    NUMBER: ClassVar[int] = 0x22
    SEQUENCED: ClassVar[bool] = True
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<IBB")
    TAIL: ClassVar[np.dtype[Any]] = records(("row", "<u2"), ("col", "<u2"), ("g_target_s", "<f8"))

    def pack(self) -> bytes:
        head = self.STRUCT.pack(self.id, self.array, self.slot)
        return head + self.tail.astype(self.TAIL, copy=False).tobytes()

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        values = cls._values(payload)
        return cls(values[0], values[1], values[2], np.frombuffer(payload, cls.TAIL, offset=cls.STRUCT.size))


@dataclass(frozen=True, eq=False)
class Written(Exchange):
    tail: NDArray[Any]
    NUMBER: ClassVar[int] = 0xA2
    SEQUENCED: ClassVar[bool] = True
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<I")
    TAIL: ClassVar[np.dtype[Any]] = records(
        ("g_before_s", "<f4"),
        ("g_after_s", "<f4"),
        ("energy_j", "<f4"),
        ("pulses", "<u2"),
        ("reads", "<u2"),
        ("status", "u1"),
    )

    def pack(self) -> bytes:
        head = self.STRUCT.pack(self.id)
        return head + self.tail.astype(self.TAIL, copy=False).tobytes()

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        values = cls._values(payload)
        return cls(values[0], np.frombuffer(payload, cls.TAIL, offset=cls.STRUCT.size))


@dataclass(frozen=True, eq=False)
class Product(Exchange):
    array: int
    direction: int
    range: int
    vectors: int
    tail: NDArray[np.generic]
    NUMBER: ClassVar[int] = 0x23
    SEQUENCED: ClassVar[bool] = True
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<IBBBI")
    TAIL: ClassVar[np.dtype[Any]] = np.dtype("u1")

    def pack(self) -> bytes:
        head = self.STRUCT.pack(self.id, self.array, self.direction, self.range, self.vectors)
        return head + self.tail.astype(self.TAIL, copy=False).tobytes()

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        values = cls._values(payload)
        return cls(
            values[0],
            values[1],
            values[2],
            values[3],
            values[4],
            np.frombuffer(payload, cls.TAIL, offset=cls.STRUCT.size),
        )


@dataclass(frozen=True, eq=False)
class ProductData(Exchange):
    tail: NDArray[np.generic]
    NUMBER: ClassVar[int] = 0x24
    SEQUENCED: ClassVar[bool] = True
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<I")
    TAIL: ClassVar[np.dtype[Any]] = np.dtype("<i2")

    def pack(self) -> bytes:
        head = self.STRUCT.pack(self.id)
        return head + self.tail.astype(self.TAIL, copy=False).tobytes()

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        values = cls._values(payload)
        return cls(values[0], np.frombuffer(payload, cls.TAIL, offset=cls.STRUCT.size))


@dataclass(frozen=True, eq=False)
class ProductIs(Exchange):
    tail: NDArray[np.generic]
    NUMBER: ClassVar[int] = 0xA4
    SEQUENCED: ClassVar[bool] = True
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<I")
    TAIL: ClassVar[np.dtype[Any]] = np.dtype("<i2")

    def pack(self) -> bytes:
        head = self.STRUCT.pack(self.id)
        return head + self.tail.astype(self.TAIL, copy=False).tobytes()

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        values = cls._values(payload)
        return cls(values[0], np.frombuffer(payload, cls.TAIL, offset=cls.STRUCT.size))


@dataclass(frozen=True)
class AfeOpen(Message):
    NUMBER: ClassVar[int] = 0x40
    SEQUENCED: ClassVar[bool] = False
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<")

    def pack(self) -> bytes:
        return self.STRUCT.pack()

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        return cls(*cls._values(payload))


@dataclass(frozen=True)
class AfeInfo(Message):
    time_ns: int
    arrays: int
    rows: int
    cols: int
    v_max_uv: int
    v_gate_max_uv: int
    i_max_na: int
    width_max_ns: int
    read_full_scale_uv: int
    read_top: int
    pulse_full_scale_uv: int
    pulse_top: int
    gate_full_scale_uv: int
    gate_top: int
    adc_top: int
    read_range: int
    ranges: int
    range_full_scale_a: tuple[float, ...]
    NUMBER: ClassVar[int] = 0xC0
    SEQUENCED: ClassVar[bool] = False
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<QBHHiiIIiHiHiHHBB8f")

    def pack(self) -> bytes:
        return self.STRUCT.pack(
            self.time_ns,
            self.arrays,
            self.rows,
            self.cols,
            self.v_max_uv,
            self.v_gate_max_uv,
            self.i_max_na,
            self.width_max_ns,
            self.read_full_scale_uv,
            self.read_top,
            self.pulse_full_scale_uv,
            self.pulse_top,
            self.gate_full_scale_uv,
            self.gate_top,
            self.adc_top,
            self.read_range,
            self.ranges,
            *self.range_full_scale_a,
        )

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        values = cls._values(payload)
        return cls(
            values[0],
            values[1],
            values[2],
            values[3],
            values[4],
            values[5],
            values[6],
            values[7],
            values[8],
            values[9],
            values[10],
            values[11],
            values[12],
            values[13],
            values[14],
            values[15],
            values[16],
            values[17:25],
        )


@dataclass(frozen=True)
class AfeArm(Message):
    i_max_na: int
    width_max_ns: int
    v_gate_max_uv: int
    NUMBER: ClassVar[int] = 0x41
    SEQUENCED: ClassVar[bool] = False
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<IIi")

    def pack(self) -> bytes:
        return self.STRUCT.pack(self.i_max_na, self.width_max_ns, self.v_gate_max_uv)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        return cls(*cls._values(payload))


@dataclass(frozen=True)
class AfeGround(Message):
    NUMBER: ClassVar[int] = 0x42
    SEQUENCED: ClassVar[bool] = False
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<")

    def pack(self) -> bytes:
        return self.STRUCT.pack()

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        return cls(*cls._values(payload))


@dataclass(frozen=True)
class AfeSkip(Message):
    until_ns: int
    NUMBER: ClassVar[int] = 0x43
    SEQUENCED: ClassVar[bool] = False
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<Q")

    def pack(self) -> bytes:
        return self.STRUCT.pack(self.until_ns)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        return cls(*cls._values(payload))


@dataclass(frozen=True)
class AfeDone(Message):
    time_ns: int
    NUMBER: ClassVar[int] = 0xC1
    SEQUENCED: ClassVar[bool] = False
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<Q")

    def pack(self) -> bytes:
        return self.STRUCT.pack(self.time_ns)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        return cls(*cls._values(payload))


@dataclass(frozen=True, eq=False)
class AfeRead(Message):
    array: int
    tail: NDArray[Any]
    NUMBER: ClassVar[int] = 0x44
    SEQUENCED: ClassVar[bool] = False
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<B")
    TAIL: ClassVar[np.dtype[Any]] = records(("row", "<u2"), ("col", "<u2"), ("code", "<i2"))

    def pack(self) -> bytes:
        head = self.STRUCT.pack(self.array)
        return head + self.tail.astype(self.TAIL, copy=False).tobytes()

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        values = cls._values(payload)
        return cls(values[0], np.frombuffer(payload, cls.TAIL, offset=cls.STRUCT.size))


@dataclass(frozen=True, eq=False)
class AfeReadIs(Message):
    time_ns: int
    tail: NDArray[np.generic]
    NUMBER: ClassVar[int] = 0xC4
    SEQUENCED: ClassVar[bool] = False
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<Q")
    TAIL: ClassVar[np.dtype[Any]] = np.dtype("<i2")

    def pack(self) -> bytes:
        head = self.STRUCT.pack(self.time_ns)
        return head + self.tail.astype(self.TAIL, copy=False).tobytes()

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        values = cls._values(payload)
        return cls(values[0], np.frombuffer(payload, cls.TAIL, offset=cls.STRUCT.size))


@dataclass(frozen=True, eq=False)
class AfePulse(Message):
    array: int
    tail: NDArray[Any]
    NUMBER: ClassVar[int] = 0x45
    SEQUENCED: ClassVar[bool] = False
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<B")
    TAIL: ClassVar[np.dtype[Any]] = records(
        ("row", "<u2"),
        ("col", "<u2"),
        ("polarity", "i1"),
        ("line_code", "<u2"),
        ("gate_code", "<u2"),
        ("width_ns", "<u4"),
    )

    def pack(self) -> bytes:
        head = self.STRUCT.pack(self.array)
        return head + self.tail.astype(self.TAIL, copy=False).tobytes()

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        values = cls._values(payload)
        return cls(values[0], np.frombuffer(payload, cls.TAIL, offset=cls.STRUCT.size))


@dataclass(frozen=True, eq=False)
class AfePulsed(Message):
    time_ns: int
    tail: NDArray[np.generic]
    NUMBER: ClassVar[int] = 0xC5
    SEQUENCED: ClassVar[bool] = False
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<Q")
    TAIL: ClassVar[np.dtype[Any]] = np.dtype("u1")

    def pack(self) -> bytes:
        head = self.STRUCT.pack(self.time_ns)
        return head + self.tail.astype(self.TAIL, copy=False).tobytes()

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        values = cls._values(payload)
        return cls(values[0], np.frombuffer(payload, cls.TAIL, offset=cls.STRUCT.size))


@dataclass(frozen=True, eq=False)
class AfeSelect(Message):
    array: int
    direction: int
    range: int
    tail: NDArray[np.generic]
    NUMBER: ClassVar[int] = 0x46
    SEQUENCED: ClassVar[bool] = False
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<BBB")
    TAIL: ClassVar[np.dtype[Any]] = np.dtype("u1")

    def pack(self) -> bytes:
        head = self.STRUCT.pack(self.array, self.direction, self.range)
        return head + self.tail.astype(self.TAIL, copy=False).tobytes()

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        values = cls._values(payload)
        return cls(values[0], values[1], values[2], np.frombuffer(payload, cls.TAIL, offset=cls.STRUCT.size))


@dataclass(frozen=True, eq=False)
class AfeProduct(Message):
    vectors: int
    tail: NDArray[np.generic]
    NUMBER: ClassVar[int] = 0x47
    SEQUENCED: ClassVar[bool] = False
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<H")
    TAIL: ClassVar[np.dtype[Any]] = np.dtype("<i2")

    def pack(self) -> bytes:
        head = self.STRUCT.pack(self.vectors)
        return head + self.tail.astype(self.TAIL, copy=False).tobytes()

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        values = cls._values(payload)
        return cls(values[0], np.frombuffer(payload, cls.TAIL, offset=cls.STRUCT.size))


@dataclass(frozen=True, eq=False)
class AfeProductIs(Message):
    time_ns: int
    tail: NDArray[np.generic]
    NUMBER: ClassVar[int] = 0xC7
    SEQUENCED: ClassVar[bool] = False
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<Q")
    TAIL: ClassVar[np.dtype[Any]] = np.dtype("<i2")

    def pack(self) -> bytes:
        head = self.STRUCT.pack(self.time_ns)
        return head + self.tail.astype(self.TAIL, copy=False).tobytes()

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        values = cls._values(payload)
        return cls(values[0], np.frombuffer(payload, cls.TAIL, offset=cls.STRUCT.size))


@dataclass(frozen=True)
class AfeFailed(Message):
    time_ns: int
    text: str
    NUMBER: ClassVar[int] = 0xCF
    SEQUENCED: ClassVar[bool] = False
    STRUCT: ClassVar[struct.Struct] = struct.Struct("<Q64s")

    def pack(self) -> bytes:
        return self.STRUCT.pack(self.time_ns, self.text.encode("ascii", "replace"))

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        values = cls._values(payload)
        return cls(values[0], text(values[1]))


BY_NUMBER: Mapping[int, type[Message]] = {
    0x01: Hello,
    0x81: Welcome,
    0x02: Ack,
    0x03: Nak,
    0x04: Status,
    0x05: Ground,
    0x06: Abort,
    0x07: Clear,
    0x84: StatusIs,
    0x10: Limits,
    0x11: GetLimits,
    0x91: LimitsAre,
    0x12: Calibrate,
    0x13: Recipe,
    0x14: Wait,
    0x15: Recall,
    0x90: Done,
    0x9F: Refused,
    0x20: Read,
    0xA0: ReadIs,
    0x21: Pulse,
    0xA1: Pulsed,
    0x22: Write,
    0xA2: Written,
    0x23: Product,
    0x24: ProductData,
    0xA4: ProductIs,
    0x40: AfeOpen,
    0xC0: AfeInfo,
    0x41: AfeArm,
    0x42: AfeGround,
    0x43: AfeSkip,
    0xC1: AfeDone,
    0x44: AfeRead,
    0xC4: AfeReadIs,
    0x45: AfePulse,
    0xC5: AfePulsed,
    0x46: AfeSelect,
    0x47: AfeProduct,
    0xC7: AfeProductIs,
    0xCF: AfeFailed,
}
