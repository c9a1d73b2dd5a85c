"""Prints what each port takes of code, data and stack, and fails where one takes more than it may."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import stack

CODE_MAX = 48 * 1024
RAM_MAX = 64 * 1024


@dataclass(frozen=True)
class Port:
    """exception_bytes: what the core pushes for an interrupt, alignment included; 0: there are none."""

    image: str
    entry: str
    handlers: tuple[str, ...] = ()
    exception_bytes: int = 0


PORTS = {
    "posix": Port("eapu-firmware", "main"),
    "mps2": Port(
        "eapu-firmware.elf",
        "reset_handler",
        (
            "tick_handler",
            "ports/mps2/main.c:uart0_receive",
            "ports/mps2/main.c:uart0_transmit",
            "ports/mps2/main.c:uart1_receive",
            "fault_handler",
        ),
        36,
    ),
    "stm32f405": Port(
        "eapu-firmware.elf", "reset_handler", ("tick_handler", "host_handler", "fault_handler"), 108
    ),
}


@dataclass(frozen=True)
class Use:
    """Bytes. reserved: what the linker script keeps for the stack; None where nothing is kept."""

    code: int
    data: int
    bss: int
    stack: int
    reserved: int | None

    @property
    def ram(self) -> int:
        return self.data + self.bss + (self.stack if self.reserved is None else self.reserved)


def measure(name: str, build: Path) -> Use:
    """Raises StackError where the worst-case stack cannot be told."""
    port, folder = PORTS[name], build / name
    image, arm = folder / port.image, port.exception_bytes > 0
    prefix = os.environ.get("ARM", "arm-none-eabi-") if arm else ""
    table = subprocess.run([f"{prefix}size", "-A", image], capture_output=True, text=True, check=True).stdout
    sections = {line[0]: int(line[1]) for line in re.findall(r"^(\.\S+)\s+(\d+)", table, re.MULTILINE)}
    data, bss = sections.get(".data", 0), sections.get(".bss", 0)
    code = sum(sections.get(part, 0) for part in (".vectors", ".text", ".rodata", ".ARM.exidx"))

    functions = stack.compiled(folder)
    library = stack.disassembled(image, prefix) if arm else None
    deep = stack.worst(functions, library, port.entry).stack_bytes
    if library is not None:
        deep += stack.with_interrupts(functions, library, port.handlers, port.exception_bytes)
    return Use(code, data, bss, deep, sections.get(".stack"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("port", nargs="*", choices=[[], *PORTS])
    arguments = parser.parse_args()

    lines = [f"{'port':<10} {'code':>7} {'data':>6} {'bss':>7} {'stack':>6} {'RAM':>7}   bytes"]
    failures = []
    for name in arguments.port:
        try:
            use = measure(name, arguments.build)
        except stack.StackError as error:
            failures.append(f"{name}: {error}")
            continue
        lines.append(f"{name:<10} {use.code:>7} {use.data:>6} {use.bss:>7} {use.stack:>6} {use.ram:>7}")
        if use.code + use.data > CODE_MAX:
            failures.append(f"{name}: {use.code + use.data} bytes of code and data, at most {CODE_MAX}")
        if use.ram > RAM_MAX:
            failures.append(f"{name}: {use.ram} bytes of RAM, at most {RAM_MAX}")
        if use.reserved is not None and use.stack > use.reserved:
            failures.append(f"{name}: {use.stack} bytes of stack, {use.reserved} are kept in image.ld")
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stderr.write("".join(f"firmware: {failure}\n" for failure in failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
