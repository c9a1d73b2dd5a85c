"""Worst-case stack of a firmware image, from what gcc says of each function and of who calls whom.

gcc's -fstack-usage and -fcallgraph-info=su give the frames and calls of what was compiled here. Functions of the
compiler's and the C library are looked up in the image: their frames are what their instructions push.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

INDIRECT = "__indirect_call"
LIBRARY_BYTES = 4096  # charged for a call into a shared C library, which cannot be looked into

_NODE = re.compile(r'node: \{ title: "([^"]*)" label: "([^"]*)"')
_EDGE = re.compile(r'edge: \{ sourcename: "([^"]*)" targetname: "([^"]*)"')
_FRAME = re.compile(r"(\d+) bytes \(([^)]*)\)")


class StackError(Exception):
    """The worst case cannot be told."""


@dataclass
class Function:
    """frame_bytes: None where only its name is known. calls: names of others."""

    frame_bytes: int | None = None
    calls: set[str] = field(default_factory=set)


def compiled(folder: Path) -> dict[str, Function]:
    """Functions of all objects under `folder`. Raises StackError for a frame without a bound."""
    functions: dict[str, Function] = {}
    for path in sorted(folder.rglob("*.ci")):
        text = path.read_text(encoding="utf-8")
        for name, label in _NODE.findall(text):
            function = functions.setdefault(name, Function())
            if frame := _FRAME.search(label):
                if "dynamic" in frame[2] and "bounded" not in frame[2]:
                    raise StackError(f"{name} takes stack without a bound")
                function.frame_bytes = int(frame[1])
        for source, target in _EDGE.findall(text):
            functions.setdefault(source, Function()).calls.add(target)
    return functions


def _pushed_bytes(instruction: str) -> int:
    """What an Arm instruction takes of the stack."""
    if found := re.match(r"(v?)push(?:\.w)?\s+\{(.*)\}", instruction) or re.match(
        r"()stmdb(?:\.w)?\s+sp!, \{(.*)\}", instruction
    ):
        count = 0
        for part in found[2].split(","):
            ends = [int(number) for number in re.findall(r"[rsd](\d+)", part)]
            count += ends[1] - ends[0] + 1 if len(ends) == 2 else 1
        return count * (8 if found[1] and "d" in found[2] else 4)
    if found := re.match(r"sub(?:w|\.w)?\s+(?:sp, )?sp, #(\d+)", instruction):
        return int(found[1])
    if found := re.match(r"str(?:d|\.w)?\s+.*\[sp, #-(\d+)\]!", instruction):
        return int(found[1])
    return 0


def disassembled(image: Path, prefix: str) -> dict[str, Function]:
    """Functions of an Arm image, by every name they have."""
    text = subprocess.run(
        [f"{prefix}objdump", "-d", image], capture_output=True, text=True, check=True
    ).stdout
    symbols = subprocess.run([f"{prefix}nm", image], capture_output=True, text=True, check=True).stdout
    names: dict[int, list[str]] = {}
    for line in symbols.splitlines():
        parts = line.split()
        if len(parts) == 3 and parts[1] in "TtWw":
            names.setdefault(int(parts[0], 16) & ~1, []).append(parts[2])
    functions: dict[str, Function] = {}
    current = Function()
    for line in text.splitlines():
        if head := re.match(r"([0-9a-f]+) <(.*)>:", line):
            current = Function(0)
            for name in {head[2], *names.get(int(head[1], 16), [])}:
                functions[name] = current
        elif code := re.match(r"\s+[0-9a-f]+:\t[0-9a-f ]+\t(.*)", line):
            instruction = code[1].replace("\t", " ")
            current.frame_bytes = (current.frame_bytes or 0) + _pushed_bytes(instruction)
            target = re.search(r"<([^+>]*)(\+0x[0-9a-f]+)?>", instruction)
            if re.match(r"b[a-z.]*\s", instruction) and target and functions.get(target[1]) is not current:
                current.calls.add(target[1])
            elif re.match(r"blx\s+r", instruction):
                current.calls.add(INDIRECT)
    return functions


@dataclass(frozen=True)
class Worst:
    """The deepest chain of calls from an entry."""

    stack_bytes: int
    chain: tuple[str, ...]


def worst(functions: Mapping[str, Function], library: Mapping[str, Function] | None, entry: str) -> Worst:
    """library: None where it is a shared one.

    Raises StackError for recursion and for calls through pointers.
    """
    known: dict[str, Worst] = {}

    def depth(name: str, chain: tuple[str, ...]) -> Worst:
        if name in chain:
            raise StackError(f"recursion: {' > '.join((*chain[chain.index(name) :], name))}")
        if name == INDIRECT:
            raise StackError(f"{chain[-1]} calls through a pointer: whom, cannot be told")
        if name in known:
            return known[name]
        function = functions.get(name, Function())
        if function.frame_bytes is None and library is None:
            function = Function(LIBRARY_BYTES)
        elif function.frame_bytes is None and library is not None:
            function = library.get(name, Function(0))  # not in the image: the optimizer took the call away
        below = [depth(callee, (*chain, name)) for callee in sorted(function.calls)]
        deepest = max(below, key=lambda other: other.stack_bytes, default=Worst(0, ()))
        known[name] = Worst((function.frame_bytes or 0) + deepest.stack_bytes, (name, *deepest.chain))
        return known[name]

    return depth(entry, ())


def with_interrupts(
    functions: Mapping[str, Function],
    library: Mapping[str, Function],
    handlers: Iterable[str],
    exception_bytes: int,
) -> int:
    """What interrupts add: as if every one of `handlers` had interrupted the one before."""
    return sum(exception_bytes + worst(functions, library, name).stack_bytes for name in handlers)
