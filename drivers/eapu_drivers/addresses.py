"""Addresses of devices as files name them: only kinds that reach a device, and nothing that opens a file.

PySerial's and PyVISA's own readers take more: `spy://PORT?file=F` empties F.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Collection
from pathlib import Path

HANDLERS = ("socket", "rfc2217")  # of PySerial's URLs
INTERFACES = ("ASRL", "GPIB", "PXI", "TCPIP", "USB", "VICP", "VXI")
COM = re.compile(
    r"(ASRL)?COM(\d+)(::INSTR)?", re.IGNORECASE
)  # a port of Windows, as PySerial or VISA calls it
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")
_INTERFACE = re.compile(r"([A-Za-z][A-Za-z-]*?)\d*::", re.ASCII)
_SERIAL = re.compile(r"ASRL(.*?)(::INSTR)?", re.IGNORECASE)
_CHARACTERS = re.compile(r"[\w.:/\[\]%+-]+")
_LENGTH_MAX = 256


def port_fault(port: str, handlers: Collection[str] = HANDLERS) -> str | None:
    """The reason why `port` may not be opened as a serial line, None for a device, or a URL of `handlers`."""
    scheme = _SCHEME.match(port)
    if scheme is not None and scheme[1].lower() not in handlers:
        urls = "".join(f", {one}://HOST:PORT" for one in handlers)
        return f"{scheme[1]}:// is not allowed; allowed: a serial port (/dev/ttyACM0, COM3){urls}"
    if scheme is None and _is_no_device(port):
        return "it is a file and no serial port"
    return None


def com_fault(name: str, instead: str) -> str | None:
    """The sentence for a port of Windows on a machine that has none, None for anything else. instead: such as."""
    if COM.fullmatch(name) is None or sys.platform == "win32":
        return None
    return (
        f"{name!r} is a serial port of Windows; on this machine write the port's file, such as {instead} "
        "(`eapu-hil discover` lists the ports)"
    )


def resource_fault(resource: str) -> str | None:
    """The reason why `resource` may not be opened as an instrument, None for a VISA name that leads to one."""
    if len(resource) > _LENGTH_MAX:
        return f"a VISA name of {len(resource)} characters; allowed are {_LENGTH_MAX}"
    serial = _SERIAL.fullmatch(resource)
    if serial is not None:
        return port_fault(serial[1], handlers=()) if serial[1] else None
    interface = _INTERFACE.match(resource)
    if interface is not None and interface[1].upper() not in INTERFACES:
        return f"{interface[1]} is no interface of an instrument; allowed are {', '.join(INTERFACES)}"
    if "://" in resource or _CHARACTERS.fullmatch(resource) is None:
        return "no VISA name, such as TCPIP0::10.0.0.5::5025::SOCKET"
    return None


def _is_no_device(port: str) -> bool:
    try:
        return os.name == "posix" and not stat.S_ISCHR(Path(port).stat().st_mode)
    except (OSError, ValueError):  # there is none: opening it says so
        return False
