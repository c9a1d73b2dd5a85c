"""Made from firmware/protocol.yaml by firmware/generate.py: change that and run `python firmware/generate.py`.

form: of the fields before the tail, as Python's struct has it. A tail is an array of dtype TAIL, one element a record.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from eapu_drivers.controller.message import Exchange, Message, records

VERSION = 2
SCHEMA = 0x4EEB1D98
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
class Hello(Message, number=0x01, form="<BIIHI"):
    version: int
    schema: int
    link: int
    resend_ms: int
    dead_man_ms: int


@dataclass(frozen=True)
class Welcome(Message, number=0x81, form="<BIII12s16s16sBBBHHBHIIBiHiHiHHBB8f"):
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


@dataclass(frozen=True)
class Ack(Message, number=0x02, form="<"):
    pass


@dataclass(frozen=True)
class Nak(Message, number=0x03, form="<BH"):
    missing: int
    held: int


@dataclass(frozen=True)
class Status(Exchange, number=0x04, form="<I"):
    pass


@dataclass(frozen=True)
class Ground(Exchange, number=0x05, form="<I"):
    pass


@dataclass(frozen=True)
class Abort(Exchange, number=0x06, form="<I"):
    pass


@dataclass(frozen=True)
class Clear(Exchange, number=0x07, form="<I"):
    pass


@dataclass(frozen=True)
class StatusIs(Exchange, number=0x84, form="<IBBBBQIIIIIII"):
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


@dataclass(frozen=True)
class Limits(Exchange, number=0x10, form="<IiiiIII", sequenced=True):
    v_max_uv: int
    v_gate_max_uv: int
    v_read_max_uv: int
    i_max_na: int
    width_max_ns: int
    pulses_per_cell_max: int


@dataclass(frozen=True)
class GetLimits(Exchange, number=0x11, form="<I", sequenced=True):
    pass


@dataclass(frozen=True)
class LimitsAre(Exchange, number=0x91, form="<IiiiIII", sequenced=True):
    v_max_uv: int
    v_gate_max_uv: int
    v_read_max_uv: int
    i_max_na: int
    width_max_ns: int
    pulses_per_cell_max: int


@dataclass(frozen=True, eq=False)
class Calibrate(Exchange, number=0x12, form="<IBBH", sequenced=True):
    array: int
    kind: int
    first: int
    tail: NDArray[Any]
    TAIL: ClassVar[np.dtype[Any]] = records(("gain", "<f4"), ("offset", "<f4"))


@dataclass(frozen=True)
class Recipe(Exchange, number=0x13, form="<IBBHHHddddddddddddddddddd", sequenced=True):
    slot: int
    rewrite_in_band: int
    pulses_max: int
    flips_max: int
    pulses_at_cap_max: int
    g_min_S: float
    g_max_S: float
    band_S: float
    v_read_v: float
    set_gate_start_v: float
    set_gate_step_v: float
    set_gate_stop_v: float
    set_gate_offset_v: float
    set_gate_slope_S_per_v: float
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


@dataclass(frozen=True)
class Wait(Exchange, number=0x14, form="<IQ", sequenced=True):
    duration_ns: int


@dataclass(frozen=True)
class Recall(Exchange, number=0x15, form="<II", sequenced=True):
    op: int


@dataclass(frozen=True)
class Done(Exchange, number=0x90, form="<IQ", sequenced=True):
    time_ns: int


@dataclass(frozen=True)
class Refused(Exchange, number=0x9F, form="<IBHdd", sequenced=True):
    reason: int
    index: int
    asked: float
    allowed: float


@dataclass(frozen=True)
class Read(Exchange, number=0x20, form="<IBiHHHH", sequenced=True):
    array: int
    v_read_uv: int
    row: int
    col: int
    rows: int
    cols: int


@dataclass(frozen=True, eq=False)
class ReadIs(Exchange, number=0xA0, form="<I", sequenced=True):
    tail: NDArray[np.generic]
    TAIL: ClassVar[np.dtype[Any]] = np.dtype("<i2")


@dataclass(frozen=True, eq=False)
class Pulse(Exchange, number=0x21, form="<IB", sequenced=True):
    array: int
    tail: NDArray[Any]
    TAIL: ClassVar[np.dtype[Any]] = records(
        ("row", "<u2"),
        ("col", "<u2"),
        ("polarity", "i1"),
        ("amplitude_uv", "<i4"),
        ("gate_uv", "<i4"),
        ("width_ns", "<u4"),
        ("count", "<u2"),
    )


@dataclass(frozen=True, eq=False)
class Pulsed(Exchange, number=0xA1, form="<I", sequenced=True):
    tail: NDArray[Any]
    TAIL: ClassVar[np.dtype[Any]] = records(("pulses", "<u2"), ("status", "u1"))


@dataclass(frozen=True, eq=False)
class Write(Exchange, number=0x22, form="<IBB", sequenced=True):
    array: int
    slot: int
    tail: NDArray[Any]
    TAIL: ClassVar[np.dtype[Any]] = records(("row", "<u2"), ("col", "<u2"), ("g_target_S", "<f8"))


@dataclass(frozen=True, eq=False)
class Written(Exchange, number=0xA2, form="<I", sequenced=True):
    tail: NDArray[Any]
    TAIL: ClassVar[np.dtype[Any]] = records(
        ("g_before_S", "<f4"),
        ("g_after_S", "<f4"),
        ("energy_j", "<f4"),
        ("pulses", "<u2"),
        ("reads", "<u2"),
        ("status", "u1"),
    )


@dataclass(frozen=True, eq=False)
class Product(Exchange, number=0x23, form="<IBBBI", sequenced=True):
    array: int
    direction: int
    range: int
    vectors: int
    tail: NDArray[np.generic]
    TAIL: ClassVar[np.dtype[Any]] = np.dtype("u1")


@dataclass(frozen=True, eq=False)
class ProductData(Exchange, number=0x24, form="<I", sequenced=True):
    tail: NDArray[np.generic]
    TAIL: ClassVar[np.dtype[Any]] = np.dtype("<i2")


@dataclass(frozen=True, eq=False)
class ProductIs(Exchange, number=0xA4, form="<I", sequenced=True):
    tail: NDArray[np.generic]
    TAIL: ClassVar[np.dtype[Any]] = np.dtype("<i2")


@dataclass(frozen=True)
class AfeOpen(Message, number=0x40, form="<"):
    pass


@dataclass(frozen=True)
class AfeInfo(Message, number=0xC0, form="<QBHHiiIIiHiHiHHBB8f"):
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


@dataclass(frozen=True)
class AfeArm(Message, number=0x41, form="<IIi"):
    i_max_na: int
    width_max_ns: int
    v_gate_max_uv: int


@dataclass(frozen=True)
class AfeGround(Message, number=0x42, form="<"):
    pass


@dataclass(frozen=True)
class AfeSkip(Message, number=0x43, form="<Q"):
    until_ns: int


@dataclass(frozen=True)
class AfeDone(Message, number=0xC1, form="<Q"):
    time_ns: int


@dataclass(frozen=True, eq=False)
class AfeRead(Message, number=0x44, form="<B"):
    array: int
    tail: NDArray[Any]
    TAIL: ClassVar[np.dtype[Any]] = records(("row", "<u2"), ("col", "<u2"), ("code", "<i2"))


@dataclass(frozen=True, eq=False)
class AfeReadIs(Message, number=0xC4, form="<Q"):
    time_ns: int
    tail: NDArray[np.generic]
    TAIL: ClassVar[np.dtype[Any]] = np.dtype("<i2")


@dataclass(frozen=True, eq=False)
class AfePulse(Message, number=0x45, form="<B"):
    array: int
    tail: NDArray[Any]
    TAIL: ClassVar[np.dtype[Any]] = records(
        ("row", "<u2"),
        ("col", "<u2"),
        ("polarity", "i1"),
        ("line_code", "<u2"),
        ("gate_code", "<u2"),
        ("width_ns", "<u4"),
    )


@dataclass(frozen=True, eq=False)
class AfePulsed(Message, number=0xC5, form="<Q"):
    time_ns: int
    tail: NDArray[np.generic]
    TAIL: ClassVar[np.dtype[Any]] = np.dtype("u1")


@dataclass(frozen=True, eq=False)
class AfeSelect(Message, number=0x46, form="<BBB"):
    array: int
    direction: int
    range: int
    tail: NDArray[np.generic]
    TAIL: ClassVar[np.dtype[Any]] = np.dtype("u1")


@dataclass(frozen=True, eq=False)
class AfeProduct(Message, number=0x47, form="<H"):
    vectors: int
    tail: NDArray[np.generic]
    TAIL: ClassVar[np.dtype[Any]] = np.dtype("<i2")


@dataclass(frozen=True, eq=False)
class AfeProductIs(Message, number=0xC7, form="<Q"):
    time_ns: int
    tail: NDArray[np.generic]
    TAIL: ClassVar[np.dtype[Any]] = np.dtype("<i2")


@dataclass(frozen=True)
class AfeFailed(Message, number=0xCF, form="<Q64s"):
    time_ns: int
    text: str


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
