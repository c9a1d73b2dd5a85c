"""Whether a bench is the one that a chip was on before: board, instruments, the chip itself. Nothing is overwritten.

What the chip was first seen with stands in its passport. Each change that somebody confirmed (`exchanged`) is an entry
`identity`: what it is now, who said so, and when. Another chip is never confirmed: it needs a passport of its own.
"""

from __future__ import annotations

import getpass
import logging
import socket
from collections.abc import Sequence

from eapu_hil.bench.entries import NO_CLOCK
from eapu_hil.bench.passport import Chip, Device
from eapu_hil.hal import ConfigError, Identity

IDENTITY = "identity"

_LOG = logging.getLogger(__name__)


def devices_of(identities: Sequence[Identity]) -> tuple[Device, ...]:
    """What is compared of the arrays' identities: firmware may be renewed."""
    return tuple(Device(model=identity.model, serial=identity.serial) for identity in identities)


def known_serial(chip: Chip) -> str | None:
    """The serial number of the chip itself, as bench files named it; None where none did."""
    entry = chip.latest(IDENTITY)
    return chip.passport.chip_serial if entry is None else entry.values["chip_serial"]


def label_of(chip: Chip) -> str:
    """What results call the chip: its serial number; without one the id of its directory."""
    return known_serial(chip) or chip.id


def require_serial(chip: Chip, serial: str | None) -> None:
    """Raises ConfigError where a bench file names another chip than the passport."""
    known = known_serial(chip)
    if serial is not None and known not in (None, serial):
        raise ConfigError(
            f"{chip.directory}: serial: this is the passport of chip {known!r}; the bench file names {serial!r}. "
            "Another chip needs another passport: name a new directory with the key chip. "
            f"If it is the same chip, write serial: {known}"
        )


def compare(chip: Chip, identities: Sequence[Identity], serial: str | None, *, exchanged: bool) -> None:
    """Raises ConfigError where the arrays are reached through other devices than before, unless `exchanged` says so.

    A change is recorded. serial: of the chip, from the bench file; the first one that is named is recorded too.
    """
    require_serial(chip, serial)
    now, before = devices_of(identities), _known_devices(chip)
    others = _difference(before, now)
    if others and not exchanged:
        raise ConfigError(
            f"{chip.directory}: other devices than this chip was used with: {others}. If this chip is on the bench and "
            "the devices were exchanged, say so with --exchanged (Python: exchanged=True); for another chip name "
            "another directory with the key chip"
        )
    known = known_serial(chip)
    if others or (serial is not None and known is None):
        values = {
            "identities": [vars(identity) for identity in identities],
            "chip_serial": serial or known,
            "exchanged": bool(others),
            "by": _who(),
        }
        entry = chip.record(IDENTITY, values, {}, 0.0, clock=NO_CLOCK)
        what = f"exchanged: {others}" if others else f"the chip is {serial!r} from now on"
        _LOG.info("%s: %s; entry %d", chip.directory, what, entry.number)


def _known_devices(chip: Chip) -> tuple[Device, ...]:
    entry = chip.latest(IDENTITY)
    if entry is not None:
        known = entry.values["identities"]
        return tuple(Device(model=one["model"], serial=one["serial"]) for one in known)
    passport = chip.passport
    return passport.devices or (Device(model=passport.model, serial=passport.serial),)


def _difference(before: Sequence[Device], now: Sequence[Device]) -> str:
    """The first array that differs, in words. A passport of an older version knows only the first array's device."""
    for number, (old, new) in enumerate(zip(before, now, strict=False)):
        if old != new:
            return f"array {number} was {old.model}, {old.serial} and is {new.model}, {new.serial}"
    return ""


def _who() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # an account without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
