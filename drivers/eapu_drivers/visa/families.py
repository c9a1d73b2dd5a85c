"""Which driver fits which instrument, by what it answers to *IDN?."""

from __future__ import annotations

from collections.abc import Mapping

from eapu_drivers.visa.instrument import InstrumentIdentity
from eapu_drivers.visa.smu.contract import SourceMeter
from eapu_drivers.visa.smu.keithley2400 import Keithley2400
from eapu_drivers.visa.smu.keithley2450 import Keithley2450
from eapu_drivers.visa.smu.keithley2600b import Keithley2600B
from eapu_drivers.visa.smu.keysight_b2900 import KeysightB2900
from eapu_drivers.visa.switch.contract import SwitchMatrix
from eapu_drivers.visa.switch.keithley707b import Keithley707B
from eapu_drivers.visa.switch.keysight34980a import Keysight34980A
from eapu_drivers.visa.transport import Transport
from eapu_hil.hal import ConfigError

SourceMeterDriver = type[Keithley2400] | type[Keithley2450] | type[Keithley2600B] | type[KeysightB2900]
SwitchDriver = type[Keithley707B] | type[Keysight34980A]

SOURCE_METERS: Mapping[str, SourceMeterDriver] = {
    "2400": Keithley2400,
    "2450": Keithley2450,
    "2600b": Keithley2600B,
    "b2900": KeysightB2900,
}
SWITCHES: Mapping[str, SwitchDriver] = {"707b": Keithley707B, "34980a": Keysight34980A}


def family_of(identity: InstrumentIdentity) -> str | None:
    """The short name of the family that an instrument belongs to; None where there is no driver for it."""
    families = {**SOURCE_METERS, **SWITCHES}
    return next((name for name, driver in families.items() if driver.models.fullmatch(identity.model)), None)


def open_source_meter(transport: Transport, channel: str | None) -> SourceMeter:
    """The driver for what answers at `transport`; channel None takes its first. Raises ConfigError where none fits."""
    driver = SOURCE_METERS[_fitting(transport, SOURCE_METERS, "source-measure unit")]
    return driver(transport, driver.channels[0] if channel is None else channel)


def open_switch(transport: Transport) -> SwitchMatrix:
    """The driver for what answers at `transport`. Raises ConfigError where none fits."""
    return SWITCHES[_fitting(transport, SWITCHES, "switch matrix")](transport)


def _fitting(transport: Transport, families: Mapping[str, object], kind: str) -> str:
    identity = InstrumentIdentity.parse(transport.query("*IDN?"), transport.name)
    family = family_of(identity)
    if family is None or family not in families:
        raise ConfigError(
            f"{transport.name}: a {identity.maker} {identity.model} answers there; as a {kind} there are drivers for "
            f"{', '.join(families)}"
        )
    return family
