"""Makes core/protocol.h and the driver's messages.py from protocol.yaml.

`python firmware/generate.py` writes them; `--check` writes nothing and exits 1 when either differs.
"""

import argparse
import json
import re
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FIRMWARE = Path(__file__).resolve().parent
TABLE = FIRMWARE / "protocol.yaml"
C_HEADER = FIRMWARE / "core" / "protocol.h"
PYTHON_MODULE = FIRMWARE.parent / "drivers" / "eapu_drivers" / "controller" / "messages.py"
WIDTH = 110

# name in the table: (bytes, type in C, letter of Python's struct, type in numpy, type in Python)
SCALARS = {
    "u8": (1, "uint8_t", "B", "u1", "int"),
    "i8": (1, "int8_t", "b", "i1", "int"),
    "u16": (2, "uint16_t", "H", "<u2", "int"),
    "i16": (2, "int16_t", "h", "<i2", "int"),
    "u32": (4, "uint32_t", "I", "<u4", "int"),
    "i32": (4, "int32_t", "i", "<i4", "int"),
    "u64": (8, "uint64_t", "Q", "<u8", "int"),
    "f32": (4, "float", "f", "<f4", "float"),
    "f64": (8, "double", "d", "<f8", "float"),
    "char": (1, "char", "s", "S", "str"),
}


@dataclass(frozen=True)
class Field:
    name: str
    scalar: str  # a key of SCALARS
    length: int | None  # of an array

    @property
    def size(self) -> int:
        return SCALARS[self.scalar][0] * (self.length or 1)


@dataclass(frozen=True)
class Message:
    name: str
    number: int
    to: str
    sequenced: bool
    fields: tuple[Field, ...]
    tail: tuple[Field, ...]
    places: bool  # C gets an enum of the places of the fields

    @property
    def lower(self) -> str:
        return self.name.lower()

    @property
    def size(self) -> int:
        return sum(field.size for field in self.fields)

    @property
    def record_size(self) -> int:
        return sum(field.size for field in self.tail)


def fields_of(table: dict[str, str]) -> tuple[Field, ...]:
    result = []
    for name, kind in table.items():
        match = re.fullmatch(r"(\w+?)(?:\[(\d+)\])?", kind)
        if match is None or match[1] not in SCALARS or (match[1] == "char" and match[2] is None):
            raise SystemExit(
                f"{TABLE}: {name}: type {kind!r}; allowed are {', '.join(SCALARS)} and arrays of them"
            )
        result.append(Field(name, match[1], int(match[2]) if match[2] else None))
    return tuple(result)


def messages_of(table: dict[str, Any]) -> list[Message]:
    result = []
    for name, entry in {**table["messages"], **table["afe"]}.items():
        fields, tail = fields_of(entry["fields"]), fields_of(entry.get("tail", {}))
        sequenced, places = entry.get("sequenced", False), entry.get("places", False)
        result.append(Message(name, entry["number"], entry["to"], sequenced, fields, tail, places))
        room = table["payload_max"] if name in table["messages"] else table["afe_payload_max"]
        if result[-1].size + result[-1].record_size > room:
            raise SystemExit(f"{TABLE}: {name} is longer than {room} bytes")
    numbers = [message.number for message in result]
    if len(set(numbers)) < len(numbers):
        raise SystemExit(f"{TABLE}: two messages have the same number")
    return result


def schema_of(table: dict[str, Any]) -> int:
    """CRC-32 of the table in its order, without comments and layout."""
    return zlib.crc32(json.dumps(table, separators=(",", ":")).encode())


def camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.lower().split("_"))


# --- C ---------------------------------------------------------------------------------------------------------


def c_helpers() -> Iterator[str]:
    for bits in (8, 16, 32, 64):
        kind = f"uint{bits}_t"
        put = [f"p[{i}] = (uint8_t)(v >> {8 * i});" if i else "p[0] = (uint8_t)v;" for i in range(bits // 8)]
        yield f"static inline void put_u{bits}(uint8_t *p, {kind} v)\n{{\n    " + "\n    ".join(put) + "\n}\n"
        if bits == 8:
            get = "p[0]"
        elif bits == 16:
            get = "(uint16_t)(p[0] | ((uint32_t)p[1] << 8))"
        else:
            half = bits // 2
            get = f"get_u{half}(p) | (({kind})get_u{half}(p + {half // 8}) << {half})"
        yield f"static inline {kind} get_u{bits}(const uint8_t *p)\n{{\n    return {get};\n}}\n"
    for name, kind, bits in (
        ("i8", "int8_t", 8), ("i16", "int16_t", 16), ("i32", "int32_t", 32), ("f32", "float", 32), ("f64", "double", 64)
    ):  # fmt: skip
        yield (
            f"static inline void put_{name}(uint8_t *p, {kind} v)\n{{\n    uint{bits}_t bits;\n"
            f"    memcpy(&bits, &v, sizeof bits);\n    put_u{bits}(p, bits);\n}}\n"
        )
        yield (
            f"static inline {kind} get_{name}(const uint8_t *p)\n{{\n    uint{bits}_t bits = get_u{bits}(p);\n"
            f"    {kind} v;\n    memcpy(&v, &bits, sizeof v);\n    return v;\n}}\n"
        )


def c_struct(name: str, fields: tuple[Field, ...]) -> Iterator[str]:
    yield "typedef struct {"
    for field in fields:
        length = f"[{field.length}]" if field.length else ""
        yield f"    {SCALARS[field.scalar][1]} {field.name}{length};"
    yield f"}} {name};"


def c_copies(fields: tuple[Field, ...], packing: bool) -> Iterator[str]:
    """The lines that move each field between `m` and the bytes at `p`."""
    at = 0
    for field in fields:
        step = SCALARS[field.scalar][0]
        if field.scalar == "char":
            sides = (f"p + {at}", f"m->{field.name}")
            yield "    memcpy({}, {}, {});".format(*(sides if packing else reversed(sides)), field.length)
        elif field.length:
            place = f"p + {at} + i * {step}"
            yield f"    for (size_t i = 0; i < {field.length}; i++)"
            yield (
                f"        put_{field.scalar}({place}, m->{field.name}[i]);"
                if packing
                else f"        m->{field.name}[i] = get_{field.scalar}({place});"
            )
        elif packing:
            yield f"    put_{field.scalar}(p + {at}, m->{field.name});"
        else:
            yield f"    m->{field.name} = get_{field.scalar}(p + {at});"
        at += field.size


def c_message(message: Message, payload_max: int) -> Iterator[str]:
    low, up = message.lower, message.name
    yield f"/* {up}, to {message.to}{', sequenced' if message.sequenced else ''} */"
    yield f"#define {up}_SIZE {message.size}u"
    if message.places:
        yield "enum {"
        yield from (f"    {up}_PLACE_{field.name.upper()} = {n}," for n, field in enumerate(message.fields))
        yield "};"
    if message.fields:
        yield from c_struct(f"{low}_msg_t", message.fields)
        yield f"static inline size_t {low}_pack(const {low}_msg_t *m, uint8_t *p)"
        yield "{"
        yield from c_copies(message.fields, packing=True)
        yield f"    return {up}_SIZE;"
        yield "}"
        yield f"static inline bool {low}_unpack({low}_msg_t *m, const uint8_t *p, size_t n)"
        yield "{"
        if message.tail:
            yield f"    if (n < {up}_SIZE || (n - {up}_SIZE) % {message.record_size}u != 0)"
        else:
            yield f"    if (n != {up}_SIZE)"
        yield "        return false;"
        yield from c_copies(message.fields, packing=False)
        yield "    return true;"
        yield "}"
    if message.tail:
        yield f"#define {up}_RECORD_SIZE {message.record_size}u"
        yield f"#define {up}_RECORDS_MAX {(payload_max - message.size) // message.record_size}u /* that fit */"
        yield from c_struct(f"{low}_record_t", message.tail)
        yield f"static inline size_t {low}_count(size_t n) /* records in a payload of n bytes */"
        yield f"{{\n    return n < {up}_SIZE ? 0 : (n - {up}_SIZE) / {up}_RECORD_SIZE;\n}}"
        yield f"static inline size_t {low}_size(size_t records)"
        yield f"{{\n    return {up}_SIZE + records * {up}_RECORD_SIZE;\n}}"
        yield f"static inline void {low}_record_pack(const {low}_record_t *m, uint8_t *payload, size_t index)"
        yield f"{{\n    uint8_t *p = payload + {low}_size(index);"
        yield from c_copies(message.tail, packing=True)
        yield "}"
        yield f"static inline void {low}_record_unpack({low}_record_t *m, const uint8_t *payload, size_t index)"
        yield f"{{\n    const uint8_t *p = payload + {low}_size(index);"
        yield from c_copies(message.tail, packing=False)
        yield "}"
    yield ""


def c_header(table: dict[str, Any], messages: list[Message]) -> str:
    lines = [
        "/* Made from protocol.yaml by generate.py: change that and run `python firmware/generate.py`.",
        " *",
        " * x_unpack refuses every payload that has not the exact length; nothing past n is read. x_pack writes the",
        " * fields before the tail, x_record_pack one record of the tail; both want the start of the payload.",
        " */",
        "#ifndef EAPU_PROTOCOL_H\n#define EAPU_PROTOCOL_H\n",
        "#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n",
        f"#define PROTOCOL_VERSION {table['version']}u",
        f"#define PROTOCOL_SCHEMA 0x{schema_of(table):08X}u",
        f"#define PAYLOAD_MAX {table['payload_max']}u",
        f"#define AFE_PAYLOAD_MAX {table['afe_payload_max']}u",
        *(f"#define {name} {value}u" for name, value in table["constants"].items()),
        "",
    ]
    for name, values in {**table["enums"], **table["hal_enums"]}.items():
        members = [f"    {name.upper()}_{key} = {value}," for key, value in values.items()]
        lines += ["typedef enum {", *members, f"}} {name}_t;", ""]
    lines += [
        "typedef enum {",
        *(f"    MSG_{m.name} = 0x{m.number:02X}," for m in messages),
        "} message_t;",
        "",
    ]
    lines += ["static inline bool message_sequenced(uint8_t number)\n{\n    switch (number) {"]
    lines += [f"    case MSG_{m.name}:" for m in messages if m.sequenced]
    lines += ["        return true;\n    default:\n        return false;\n    }\n}\n", *c_helpers()]
    for message in messages:
        room = "payload_max" if message.name in table["messages"] else "afe_payload_max"
        lines += c_message(message, table[room])
    return "\n".join([*lines, "#endif", ""])


# --- Python ----------------------------------------------------------------------------------------------------


def py_list(before: str, items: list[str], after: str) -> str:
    """`before` items `after` on one line where it fits, else one item a line, as the formatter keeps it."""
    line = f"{before}{', '.join(items)}{after}"
    if len(line) <= WIDTH:
        return line
    indent = " " * (len(before) - len(before.lstrip()))
    return "\n".join([before, *(f"{indent}    {item}," for item in items), f"{indent}{after}"])


def py_form(message: Message) -> str:
    form = "".join(f"{field.length or ''}{SCALARS[field.scalar][2]}" for field in message.fields)
    return f'"<{form}"'


def py_tail(message: Message) -> str:
    if len(message.tail) == 1:
        return f'    TAIL: ClassVar[np.dtype[Any]] = np.dtype("{SCALARS[message.tail[0].scalar][3]}")'
    items = [f'("{field.name}", "{SCALARS[field.scalar][3]}")' for field in message.tail]
    return py_list("    TAIL: ClassVar[np.dtype[Any]] = records(", items, ")")


def py_message(message: Message) -> Iterator[str]:
    has_id = bool(message.fields) and message.fields[0].name == "id"
    sequenced = ", sequenced=True" if message.sequenced else ""
    yield f"@dataclass(frozen=True{', eq=False' if message.tail else ''})"
    yield (
        f"class {camel(message.name)}({'Exchange' if has_id else 'Message'}, "
        f"number=0x{message.number:02X}, form={py_form(message)}{sequenced}):"
    )
    body = []
    for field in message.fields[has_id:]:
        kind = SCALARS[field.scalar][4]
        body.append(f"    {field.name}: {f'tuple[{kind}, ...]' if field.length and kind != 'str' else kind}")
    if message.tail:
        body.append(f"    tail: {'NDArray[Any]' if len(message.tail) > 1 else 'NDArray[np.generic]'}")
        body.append(py_tail(message))
    yield from body or ["    pass"]
    yield "\n"


PYTHON_START = '''\
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
'''


def python_module(table: dict[str, Any], messages: list[Message]) -> str:
    lines = [
        PYTHON_START,
        f"VERSION = {table['version']}",
        f"SCHEMA = 0x{schema_of(table):08X}",
        f"PAYLOAD_MAX = {table['payload_max']}",
        f"AFE_PAYLOAD_MAX = {table['afe_payload_max']}",
        *(f"{name} = {value}" for name, value in table["constants"].items()),
        "\n",
    ]
    for name, values in table["enums"].items():
        lines += [f"class {camel(name)}(IntEnum):", *(f"    {k} = {v}" for k, v in values.items()), "\n"]
    for message in messages:
        lines += py_message(message)
    lines.append("BY_NUMBER: Mapping[int, type[Message]] = {")
    lines += [f"    0x{message.number:02X}: {camel(message.name)}," for message in messages]
    return "\n".join([*lines, "}", ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file would change")
    check = parser.parse_args().check
    table = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    messages = messages_of(table)
    changed = []
    for path, text in (
        (C_HEADER, c_header(table, messages)),
        (PYTHON_MODULE, python_module(table, messages)),
    ):
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        changed.append(path)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for path in changed:
        sys.stderr.write(f"{path}: {'differs from protocol.yaml' if check else 'written'}\n")
    return int(check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
