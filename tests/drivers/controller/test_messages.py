"""The generated messages: what the table says, byte for byte, in Python and in C alike."""

import dataclasses
import re
import struct
import subprocess
import sys
import zlib
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eapu_drivers.controller import messages
from hypothesis import given, settings
from hypothesis import strategies as st

from eapu_hil.hal import CellStatus, Direction, Polarity, ProtocolError

ROOT = Path(__file__).parents[3]
KINDS = sorted(messages.BY_NUMBER.values(), key=lambda kind: kind.NUMBER)
INTEGERS = {
    "b": (8, True),
    "B": (8, False),
    "h": (16, True),
    "H": (16, False),
    "i": (32, True),
    "I": (32, False),
}
INTEGERS |= {"Q": (64, False)}


def room(kind: type[messages.Message]) -> int:
    """Bytes that a payload of this kind may have."""
    return messages.AFE_PAYLOAD_MAX if kind.__name__.startswith("Afe") else messages.PAYLOAD_MAX


def payloads(kind: type[messages.Message]) -> st.SearchStrategy[bytes]:
    record = 0 if kind.TAIL is None else kind.TAIL.itemsize
    most = 0 if record == 0 else min((room(kind) - kind.STRUCT.size) // record, 6)
    sizes = st.integers(0, most).map(lambda records: kind.STRUCT.size + record * records)
    return sizes.flatmap(lambda size: st.binary(min_size=size, max_size=size))


def test_regeneration_changes_nothing() -> None:
    result = subprocess.run(
        [sys.executable, ROOT / "firmware" / "generate.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_check_says_which_file_differs(tmp_path: Path) -> None:
    (tmp_path / "firmware").mkdir()
    for name in ("generate.py", "protocol.yaml"):
        (tmp_path / "firmware" / name).write_text((ROOT / "firmware" / name).read_text())
    script = [sys.executable, tmp_path / "firmware" / "generate.py"]

    def changed(*options: str) -> tuple[int, str]:
        result = subprocess.run([*script, *options], capture_output=True, text=True, check=False)
        return result.returncode, result.stderr

    assert changed() == (0, f"{tmp_path}/firmware/core/protocol.h: written\n"
                            f"{tmp_path}/drivers/eapu_drivers/controller/messages.py: written\n")  # fmt: skip
    assert changed("--check") == (0, "")
    made = (tmp_path / "drivers/eapu_drivers/controller/messages.py").read_text()
    assert made == Path(messages.__file__).read_text()
    table = tmp_path / "firmware" / "protocol.yaml"
    table.write_text(table.read_text().replace("duration_ns: u64", "duration_ns: u32"))
    code, said = changed("--check")
    assert code == 1
    assert "protocol.h: differs" in said
    assert "messages.py: differs" in said
    assert changed()[0] == 0
    assert (
        f"SCHEMA = 0x{messages.SCHEMA:08X}"
        not in (tmp_path / "drivers/eapu_drivers/controller/messages.py").read_text()
    )


def test_comments_do_not_change_the_schema(tmp_path: Path) -> None:
    (tmp_path / "firmware").mkdir()
    (tmp_path / "firmware" / "generate.py").write_text((ROOT / "firmware" / "generate.py").read_text())
    table = (ROOT / "firmware" / "protocol.yaml").read_text()
    (tmp_path / "firmware" / "protocol.yaml").write_text("# another comment\n" + table)
    subprocess.run([sys.executable, tmp_path / "firmware" / "generate.py"], capture_output=True, check=True)
    made = (tmp_path / "drivers/eapu_drivers/controller/messages.py").read_text()
    assert made == Path(messages.__file__).read_text()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("duration_ns: u64", "duration_ns: u63", "u63"),
        ("ACK: {number: 0x02", "ACK: {number: 0x03", "same number"),
        ("payload_max: 240", "payload_max: 100", "longer than 100 bytes"),
    ],
)
def test_an_impossible_table_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    (tmp_path / "firmware").mkdir()
    (tmp_path / "firmware" / "generate.py").write_text((ROOT / "firmware" / "generate.py").read_text())
    table = (ROOT / "firmware" / "protocol.yaml").read_text()
    assert old in table
    (tmp_path / "firmware" / "protocol.yaml").write_text(table.replace(old, new))
    result = subprocess.run(
        [sys.executable, tmp_path / "firmware" / "generate.py"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert said in result.stderr
    assert not (tmp_path / "firmware" / "core").exists()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=40)
@given(data=st.data())
def test_every_payload_comes_back(kind: type[messages.Message], data: st.DataObject) -> None:
    payload = data.draw(payloads(kind))
    message = kind.unpack(payload)
    again = message.pack()
    assert len(again) == len(payload)
    second = kind.unpack(again)
    # text loses what is no ASCII and a float may be a NaN with another payload: after one round nothing changes
    assert second.pack() == again
    if all(field.type in ("int", int) or field.name == "tail" for field in dataclasses.fields(kind)):
        assert again == payload


OF_INTEGERS = [kind for kind in KINDS if kind.STRUCT.size and set(kind.STRUCT.format[1:]) <= set(INTEGERS)]


@pytest.mark.parametrize("kind", OF_INTEGERS, ids=lambda kind: kind.__name__)
def test_extreme_integers(kind: type[messages.Message]) -> None:
    form = kind.STRUCT.format[1:]
    tail = () if kind.TAIL is None else (np.zeros(1, kind.TAIL),)
    for end in (0, 1):
        values = [
            ((1 << (bits - signed)) - 1 if end else -(1 << (bits - 1)) if signed else 0)
            for bits, signed in (INTEGERS[letter] for letter in form)
        ]
        message = kind(*values, *tail)
        unpacked = kind.unpack(message.pack())
        names = [field.name for field in dataclasses.fields(kind) if field.name != "tail"]  # type: ignore[arg-type]
        assert [getattr(unpacked, name) for name in names] == values


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_wrong_lengths_are_refused(kind: type[messages.Message]) -> None:
    record = 0 if kind.TAIL is None else kind.TAIL.itemsize
    for size in range(room(kind) + 2):
        over = size - kind.STRUCT.size
        right = over == 0 or (over > 0 and record > 0 and over % record == 0)
        if right:
            kind.unpack(bytes(size))
        else:
            with pytest.raises(ProtocolError, match=f"{kind.__name__}: a payload of {size} bytes"):
                kind.unpack(bytes(size))


GOLDEN = [
    (messages.Hello(1, 0x04030201, 7, 25, 1000), "01 01020304 07000000 1900 e8030000"),
    (messages.Ack(), ""),
    (messages.Limits(9, 3_000_000, -1, 200_000, 2, 3, 4),
     "09000000 c0c62d00 ffffffff 400d0300 02000000 03000000 04000000"),
    (
        messages.Pulse(258, 3, np.array([(1, 2, -1, 5, 6, 7, 8)], messages.Pulse.TAIL)),
        "02010000 03 0100 0200 ff 05000000 06000000 07000000 0800",
    ),
    (
        messages.Write(1, 0, 2, np.array([(3, 4, 1.0), (5, 6, -2.0)], messages.Write.TAIL)),
        "01000000 00 02 0300 0400 000000000000f03f 0500 0600 00000000000000c0",
    ),
    (messages.ProductData(5, np.array([1, -1, 300])), "05000000 0100 ffff 2c01"),
    (messages.Product(5, 1, 1, 2, 70_000, np.array([0xFF, 1])), "05000000 01 01 02 70110100 ff 01"),
    (messages.Refused(5, messages.Reason.V_MAX, 6, 1.0, 0.5), "05000000 08 0600 000000000000f03f 000000000000e03f"),
    (
        messages.Pulsed(5, np.array([(6, 32)], messages.Pulsed.TAIL)),
        "05000000 0600 20",
    ),
    (
        messages.Written(5, np.array([(1, 2, 0.5, 3, 4, 1)], messages.Written.TAIL)),
        "05000000 0000803f 00000040 0000003f 0300 0400 01",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("message", "expected"), GOLDEN, ids=lambda value: type(value).__name__)
def test_golden_bytes(message: messages.Message, expected: str) -> None:
    payload = bytes.fromhex(expected)
    assert message.pack() == payload
    unpacked: Any = type(message).unpack(payload)
    for field in dataclasses.fields(message):  # type: ignore[arg-type]
        assert np.array_equal(getattr(unpacked, field.name), getattr(message, field.name))


def test_welcome_keeps_text_and_ranges() -> None:
    ranges = (4e-6, 2e-5, 1e-4, 5e-4, 0.0, 0.0, 0.0, 0.0)
    welcome = messages.Welcome(
        1, messages.SCHEMA, 2, 3, "0123456789ab", "mps2", "sixteen-letters!", 1, 1, 1, 16, 8, 16, 4096, 1_000_000,
        0, 1, 250_000, 511, 4_000_000, 4095, 3_000_000, 4095, 2047, 1, 4, ranges,
    )  # fmt: skip
    payload = welcome.pack()
    unpacked = messages.Welcome.unpack(payload)
    assert len(payload) <= messages.PAYLOAD_MAX
    assert (unpacked.git_hash, unpacked.board, unpacked.serial) == (
        "0123456789ab",
        "mps2",
        "sixteen-letters!",
    )
    assert unpacked.range_full_scale_a == pytest.approx(ranges, rel=1e-7)
    # any two versions can read these: they never move
    assert struct.unpack_from("<BII", payload) == (1, messages.SCHEMA, 2)


def test_numbers_names_and_constants() -> None:
    assert all(messages.BY_NUMBER[kind.NUMBER] is kind for kind in KINDS)
    assert {kind.__name__ for kind in KINDS if kind.SEQUENCED and kind.NUMBER < 0x80} == {
        "Limits", "GetLimits", "Calibrate", "Recipe", "Wait", "Recall", "Read", "Pulse", "Write", "Product",
        "ProductData",
    }  # fmt: skip
    batch = messages.Pulse(0, 0, np.zeros(messages.CELLS_MAX, messages.Pulse.TAIL))
    assert len(batch.pack()) <= messages.PAYLOAD_MAX
    assert len(messages.ReadIs(0, np.zeros(messages.CODES_MAX)).pack()) <= messages.PAYLOAD_MAX
    assert issubclass(messages.Reason, IntEnum)
    assert messages.LineDirection.TRANSPOSED == 1
    assert messages.BoardState.FAULT == 4


def header() -> str:
    return (ROOT / "firmware" / "core" / "protocol.h").read_text()


def c_members(prefix: str) -> dict[str, int]:
    """The enumerators of protocol.h that begin with `prefix`, without it."""
    found = re.findall(rf"^ +{prefix}_(\w+) = (-?\d+),$", header(), re.MULTILINE)
    return {name: int(value) for name, value in found}


def test_numbers_that_the_contract_defines_are_the_same_in_the_firmware() -> None:
    for kind, prefix in ((CellStatus, "CELL_STATUS"), (Polarity, "POLARITY")):
        assert c_members(prefix) == {name: int(member) for name, member in kind.__members__.items()}
    assert messages.LineDirection.__members__.keys() == Direction.__members__.keys()


@pytest.mark.parametrize(
    "kind", [messages.BoardState, messages.Fault, messages.ResetCause, messages.LineKind, messages.Reason]
)
def test_numbers_of_the_link_are_the_same_in_the_firmware(kind: type[IntEnum]) -> None:
    prefix = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).upper()
    assert c_members(prefix) == {name: int(member) for name, member in kind.__members__.items()}


def test_the_firmware_names_a_field_of_a_recipe_by_its_place() -> None:
    fields = [field.name.upper() for field in dataclasses.fields(messages.Recipe)]
    assert c_members("RECIPE_PLACE") == {name: place for place, name in enumerate(fields)}


def test_the_header_has_the_same_schema() -> None:
    assert f"#define PROTOCOL_SCHEMA 0x{messages.SCHEMA:08X}u" in header()
    for kind in KINDS:
        assert f" = 0x{kind.NUMBER:02X},\n" in header()
    assert zlib.crc32(b"123456789") == 0xCBF43926  # the CRC that the firmware computes as well
