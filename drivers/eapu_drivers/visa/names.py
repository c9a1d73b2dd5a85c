"""The names of VISA resources: one instrument has many, and one owner whichever of them is used."""

from __future__ import annotations

import pyvisa
from pyvisa.rname import ASRLInstr, InvalidResourceName, ResourceName, TCPIPInstr, TCPIPSocket, USBInstr

from eapu_hil.base.locks import device_name, network_name

_FIRST = ("inst0", "hislip0")  # of a LAN instrument, two doors to the same

_CLASSES = ("INSTR", "SOCKET")


def device_of(resource: str, visa: str) -> str:
    """The one name of what answers at `resource`, as the locks take it, whatever way it is written.

    Letter case, a board number or kind that is left out, links to serial ports and a host's name for its number make
    no difference, nor does an alias that the library `visa` knows.
    """
    begin, colons, end = resource.rpartition("::")
    if end.upper() in _CLASSES:  # in capitals only PyVISA knows them
        resource = begin + colons + end.upper()
    try:
        parsed = ResourceName.from_string(resource)
    except InvalidResourceName:
        return _without_alias(resource, visa).upper()
    match parsed:
        case TCPIPSocket():
            return network_name(parsed.host_address, parsed.port)
        case TCPIPInstr():
            door = parsed.lan_device_name.lower()
            return network_name(parsed.host_address, "inst0" if door.partition(",")[0] in _FIRST else door)
        case ASRLInstr():
            number = parsed.board.isdigit()
            return device_name(f"COM{parsed.board}" if number else parsed.board)
        case USBInstr():
            maker, model = int(parsed.manufacturer_id, 0), int(parsed.model_code, 0)
            return f"USB {maker:04x} {model:04x} {parsed.serial_number.upper()} {parsed.usb_interface_number}"
    return str(parsed).upper()


def _without_alias(resource: str, visa: str) -> str:
    try:
        found = pyvisa.ResourceManager(visa).resource_info(resource).resource_name
    except (pyvisa.Error, OSError, ValueError):  # no such library or resource: opening it says so
        return resource
    return found or resource
