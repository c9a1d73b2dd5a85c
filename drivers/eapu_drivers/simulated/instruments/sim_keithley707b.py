"""A simulated Keithley 707B with a matrix card of 8 rows and 12 columns in each of its six slots."""

from __future__ import annotations

import re
from collections.abc import Callable

from eapu_drivers.simulated.instruments.probe import Probe
from eapu_drivers.simulated.instruments.tsp import TspDevice
from eapu_drivers.simulated.instruments.tsp_tables import Errors, Named, Setting, TspTable

IDENTITY = "Keithley Instruments Inc., Model 707B, {serial}, 1.20.a"
_CROSSPOINT = re.compile(r"[1-6][A-H](0[1-9]|1[0-2])")
_UNKNOWN = (1114, "Settings conflict; channel {} does not exist")
_RELAY_s = 10e-3  # for all relays of one command


class _ChannelTable(TspTable):
    """The table `channel`. moved: relays that were opened or closed so far."""

    OFF, BREAK_BEFORE_MAKE, MAKE_BEFORE_BREAK = 0, 1, 2
    connectrule = Setting(1, values=(0, 1, 2))
    connectsequential = Setting(0, values=(0, 1))

    def __init__(self, errors: Errors, probe: Probe) -> None:
        super().__init__(errors)
        self._probe = probe
        self._closed: frozenset[str] = frozenset()
        self._moved = 0

    def close(self, names: str) -> None:
        """Closes a comma-separated list."""
        self._move(self._closed | self._known(names))

    def open(self, names: str) -> None:
        """Opens a comma-separated list, or `allslots`."""
        self._move(self._closed - (self._closed if names == "allslots" else self._known(names)))

    def exclusiveclose(self, names: str) -> None:
        """Closes these and opens all others."""
        self._move(self._known(names))

    def getclose(self, names: str) -> str | None:
        """Those that are closed, separated by semicolons; nil where there is none."""
        asked = self._closed if names == "allslots" else self._closed & self._known(names)
        return ";".join(sorted(asked)) or None

    def reset(self, _names: str = "allslots") -> None:
        """Opens everything."""
        self._reset()
        self._move(frozenset())

    def _known(self, names: str) -> frozenset[str]:
        found = [name.strip() for name in names.split(",") if name.strip()]
        unknown = [name for name in found if not _CROSSPOINT.fullmatch(name)]
        if unknown:
            self._errors.add((_UNKNOWN[0], _UNKNOWN[1].format(unknown[0])))
            return frozenset()
        return frozenset(found)

    def _move(self, closed: frozenset[str]) -> None:
        moving = len(self._closed ^ closed)
        if moving:
            self._closed = closed
            self._moved += moving
            self._probe.elapse(_RELAY_s)
            self._probe.close_crosspoints(closed)


class SimulatedKeithley707B(TspDevice):
    """Crosspoints are called `1A01`: slot 1, row A, column 01."""

    def __init__(self, probe: Probe, serial: str = "1300001") -> None:
        errors = Errors()
        self._channel = _ChannelTable(errors, probe)
        common: dict[str, Callable[[], str | None]] = {
            "*IDN?": lambda: IDENTITY.format(serial=serial),
            "*RST": self._channel.reset,
            "*CLS": errors.clear,
            "*OPC?": lambda: "1",
            "*WAI": lambda: None,
        }
        tables = {
            "channel": self._channel,
            "localnode": Named(model="707B", serialno=serial),
            "reset": self._channel.reset,
        }
        super().__init__(errors, tables, common, probe.elapse, probe.clock.now_s)

    @property
    def moved(self) -> int:
        """Relays that were opened or closed so far."""
        return self._channel._moved
