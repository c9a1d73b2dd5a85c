"""Names of VISA resources: what is wrong with one, and what to write in its place."""

from __future__ import annotations

import re
from ipaddress import ip_address

from pyvisa.rname import InvalidResourceName, parse_resource_name

from eapu_drivers.addresses import COM, com_fault

_HOST = re.compile(r"(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*)(:(?P<port>\d{1,5}))?")
_RAW_PORT = 5025  # of raw sockets, of Keithley and Keysight alike


def problem(name: str, visa: str) -> str | None:
    """The sentence for a name that cannot be a resource's; None for one that can.

    visa: which library. A vendor's has aliases, which look like anything, so there only clear mistakes are told.
    """
    own = visa == "@py"
    fault = com_fault(name, "ASRL/dev/ttyUSB0::INSTR")
    if fault is not None:
        return fault
    com = COM.fullmatch(name)
    if com is not None and own and com[1] is None:
        return f"{name!r} is no VISA name; for this serial port write ASRL{com[2]}::INSTR"
    if name.startswith("/dev/"):
        return f"{name!r} is no VISA name; for this serial port write ASRL{name}::INSTR"
    host = _HOST.fullmatch(name)
    if host is not None and (own or _is_address(host["host"])):
        port = host["port"] or _RAW_PORT
        return (
            f"{name!r} is no VISA name; for an instrument on the network write TCPIP0::{host['host']}::{port}::SOCKET "
            f"(raw socket) or TCPIP0::{host['host']}::INSTR (VXI-11)"
        )
    if own:
        try:
            parse_resource_name(name)
        except InvalidResourceName:
            return (
                f"{name!r} is no VISA name; write one such as TCPIP0::10.0.0.5::5025::SOCKET, GPIB0::24::INSTR or "
                "ASRL/dev/ttyUSB0::INSTR (`eapu-hil discover` lists what is there)"
            )
    return None


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
