"""Looks for instruments at every VISA resource of this machine, by asking *IDN? and nothing else."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pyvisa

from eapu_drivers.visa.families import SOURCE_METER_GROUP, SWITCH_GROUP, fitting, installed
from eapu_drivers.visa.instrument import InstrumentIdentity
from eapu_drivers.visa.transport import Transport, VisaTransport
from eapu_hil.base.errors import one_line
from eapu_hil.hal import ConfigError, HilError

_LOG = logging.getLogger(__name__)
_AT_ONCE = 16
_ANSWER_s = 1.0
_KINDS = ("::INSTR", "::SOCKET")  # of what takes text; not interfaces and memory
_SERIAL = "ASRL"  # in the names of serial ports, which are asked for controllers


@dataclass(frozen=True)
class FoundInstrument:
    """One VISA resource. problem: why nothing was identified there; "" where it was, and only then the rest holds.

    driver: short name of the family that fits (of all, should several claim it), None where there is no driver for it.
    """

    resource: str
    problem: str = ""
    maker: str = ""
    model: str = ""
    serial: str = ""
    firmware: str = ""
    driver: str | None = None


def find_instruments(
    resources: Iterable[str] | None = None,
    visa: str = "@py",
    open_transport: Callable[[str, str], Transport] = VisaTransport,
) -> list[FoundInstrument]:
    """Asks every resource who is there, all at once; an answer takes a second at most.

    resources: their VISA names; None means all that the VISA library lists but serial ports. Raises ConfigError where
    there is no such library. Families of other packages that cannot be used are said in the log.
    """
    families: dict[str, Any] = {}
    for group in (SOURCE_METER_GROUP, SWITCH_GROUP):
        usable, faults = installed(group)
        families |= usable
        for fault in faults:
            _LOG.warning("%s", fault)
    names = visible(visa) if resources is None else list(resources)
    if not names:
        return []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda name: _ask(name, visa, open_transport, families), names))


def visible(visa: str) -> list[str]:
    """The resources that the library `visa` lists, without serial ports. Raises ConfigError."""
    try:
        # PyVISA-py warns of each optional package that some kind of line would need.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            names = pyvisa.ResourceManager(visa).list_resources("?*")
    except (pyvisa.Error, OSError, ValueError) as error:
        raise ConfigError(
            f"--visa {visa}: no such VISA library ({one_line(error)}); @py needs no vendor's library"
        ) from error
    return sorted(name for name in names if name.endswith(_KINDS) and _SERIAL not in name)


def _ask(
    name: str, visa: str, open_transport: Callable[[str, str], Transport], families: Mapping[str, Any]
) -> FoundInstrument:
    try:
        with closing(open_transport(name, visa)) as line:
            who = InstrumentIdentity.parse(line.query("*IDN?", _ANSWER_s), name)
    except HilError as error:
        return FoundInstrument(name, str(error).removeprefix(f"{name}: "))
    driver = ", ".join(fitting(who, families)) or None
    return FoundInstrument(name, "", who.maker, who.model, who.serial, who.firmware, driver)
