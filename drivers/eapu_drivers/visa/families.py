"""The installed instrument families, and which of them fits what answers to *IDN?.

A family is an entry point of this package or of a lab's own, and its name there is its short name: `sim:NAME` in a
bench file stands for its simulation, where there is one. Groups: `eapu_hil.source_meters` (`SourceMeterFamily`),
`eapu_hil.switches` (`SwitchFamily`), `eapu_hil.simulated_instruments` (what stands behind `sim:NAME`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eapu_drivers.visa.instrument import InstrumentIdentity
from eapu_drivers.visa.smu.contract import SourceMeter, SourceMeterFamily
from eapu_drivers.visa.switch.contract import Layout, SwitchFamily, SwitchMatrix
from eapu_drivers.visa.transport import Transport
from eapu_hil.base.plugins import listing, load, names
from eapu_hil.bench.config import SIMULATED
from eapu_hil.hal import ConfigError

SOURCE_METER_GROUP, SWITCH_GROUP = "eapu_hil.source_meters", "eapu_hil.switches"
SIMULATED_GROUP = "eapu_hil.simulated_instruments"
_CALLED = {SOURCE_METER_GROUP: "source-measure unit", SWITCH_GROUP: "switch matrix"}
_CONTRACTS: Mapping[str, type] = {SOURCE_METER_GROUP: SourceMeterFamily, SWITCH_GROUP: SwitchFamily}


def installed(group: str) -> tuple[dict[str, Any], list[str]]:
    """The families of a group that can be used, by short name; and a line for each that cannot."""
    families, faults = {}, []
    for one in listing(group, _CALLED[group]):
        if one.fault:
            faults.append(one.fault)
        elif not isinstance(one.found, _CONTRACTS[group]):
            faults.append(
                f"the {_CALLED[group]} {one.name!r} of {one.package} is no {_CONTRACTS[group].__name__}: "
                "see docs/adding-an-instrument.md"
            )
        else:
            families[one.name] = one.found
    return families, faults


def fitting(identity: InstrumentIdentity, families: Mapping[str, Any]) -> list[str]:
    """The short names of the families that an instrument belongs to."""
    return [name for name, family in families.items() if family.fits(identity)]


def open_source_meter(transport: Transport, channel: str | None) -> SourceMeter:
    """The driver for what answers at `transport`; channel None takes its first.

    Raises ConfigError where no family fits, or more than one.
    """
    family: SourceMeterFamily = _family_at(transport, SOURCE_METER_GROUP)
    return family(transport, family.channels[0] if channel is None else channel)


def open_switch(transport: Transport) -> SwitchMatrix:
    """The driver for what answers at `transport`. Raises ConfigError where no family fits, or more than one."""
    family: SwitchFamily = _family_at(transport, SWITCH_GROUP)
    return family(transport)


def _family_at(transport: Transport, group: str) -> Any:
    identity = InstrumentIdentity.parse(transport.query("*IDN?"), transport.name)
    families, faults = installed(group)
    fits = fitting(identity, families)
    there = f"{transport.name}: a {identity.maker} {identity.model} answers there"
    if not fits:
        more = "".join(f"; {fault}" for fault in faults)
        raise ConfigError(
            f"{there}; as a {_CALLED[group]} there are drivers for {', '.join(families) or 'none'}{more}"
        )
    if len(fits) > 1:
        raise ConfigError(
            f"{there}; the {_CALLED[group]} families {' and '.join(fits)} both claim it: uninstall the package of one"
        )
    return families[fits[0]]


def simulated(group: str) -> list[str]:
    """The short names of those families of a group that are also simulated; imports none of them."""
    return [name for name in names(group) if name in names(SIMULATED_GROUP)]


def simulated_models(group: str) -> dict[str, str]:
    """The same, each with what it simulates (`2400` -> `Keithley 2400`). Leaves out what cannot be loaded."""
    families = installed(group)[0]
    return {name: families[name].family for name in simulated(group) if name in families}


def require_simulated(resource: str, group: str) -> str:
    """The short name in `sim:NAME`. Raises ConfigError where no family of the group is simulated under it."""
    name = resource.removeprefix(SIMULATED)
    if name not in simulated(group):
        allowed = ", ".join(f"{SIMULATED}{one}" for one in simulated(group)) or "none"
        raise ConfigError(f"{resource!r}: no such simulation; allowed are {allowed}")
    return name


def switch_layout(name: str) -> Layout | None:
    """The names of crosspoints in a family of switches, where it says so. Raises ConfigError."""
    layout = getattr(load(SWITCH_GROUP, name, _CALLED[SWITCH_GROUP]), "layout", None)
    return layout if isinstance(layout, Layout) else None


def source_meter_channels(name: str) -> tuple[str, ...]:
    """The channels of an instrument of a family. Raises ConfigError."""
    family: SourceMeterFamily = load(SOURCE_METER_GROUP, name, _CALLED[SOURCE_METER_GROUP])
    return family.channels
