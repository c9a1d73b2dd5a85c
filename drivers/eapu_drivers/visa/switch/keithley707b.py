"""Keithley 707B switch matrix, in TSP. Crosspoints are called `1A01`: slot 1, row A, column 01.

The functions are those of its manual, as drivers that others use call them; none was run on an instrument.
"""

from __future__ import annotations

import re
from collections.abc import Set

from eapu_drivers.visa.instrument import TspInstrument
from eapu_drivers.visa.smu.base import SAFE_s
from eapu_drivers.visa.switch.contract import Layout
from eapu_drivers.visa.transport import Transport
from eapu_hil.hal import ConfigError, InstrumentError

_NAMES_A_MESSAGE = 60
_CROSSPOINT = re.compile(r"\d[A-H]\d\d")
_SETTLED_s = 2.0  # for all relays of one message, which take milliseconds


class Keithley707B(TspInstrument):
    """All cards of one mainframe."""

    family = "Keithley 707B"
    layout = Layout("ABCDE", 12)
    models = re.compile(r"70[78]B")

    def __init__(self, transport: Transport) -> None:
        """Opens every relay."""
        super().__init__(transport)
        self._closed: frozenset[str] | None = None  # not known
        self.send("errorqueue.clear()")
        self._open_all()

    def connect(self, crosspoints: Set[str]) -> None:
        if self._closed is None:
            self._open_all()
        before, self._closed = self._closed or frozenset(), None  # not known until all is done
        for names in _parts(before - crosspoints):
            self._moved("open", names)
        for names in _parts(crosspoints - before):
            self._moved("close", names)
        reported = self.closed()
        wrong = sorted(reported ^ crosspoints)
        if wrong:
            state = "still closed" if wrong[0] in reported else "not closed"
            text = f"crosspoint {wrong[0]} is reported as {state} ({len(wrong)} are wrong)"
            raise InstrumentError(0, text, "channel.close", self.name)
        self._closed = frozenset(crosspoints)

    def will_use(self, crosspoints: Set[str]) -> None:
        last = 1 if self.identity.model == "708B" else 6
        wrong = sorted(
            name for name in crosspoints if not (_CROSSPOINT.fullmatch(name) and 1 <= int(name[0]) <= last)
        )
        if wrong:
            slots = "slot 1" if last == 1 else f"slots 1 to {last}"
            raise ConfigError(
                f"instruments.map: crosspoint {wrong[0]!r} ({len(wrong)} like it); a Keithley {self.identity.model} "
                f"has {slots}, with rows A to H: names such as 1A01 (slot 1, row A, column 01)"
            )

    def closed(self) -> frozenset[str]:
        """Those that the instrument reports as closed."""
        [answer] = self.ask_tied("", 'channel.getclose("allslots")')
        return frozenset() if answer == "nil" else frozenset(re.split("[;,]", answer))

    def safe_off(self) -> None:
        self.try_each(self._transport.clear, self.clear_errors, self._open_all)

    def _open_all(self) -> None:
        self._closed = None
        self._moved("open", "allslots", SAFE_s)
        self._closed = frozenset()

    def _moved(self, act: str, names: str, timeout_s: float = _SETTLED_s) -> None:
        message = f'channel.{act}("{names}") waitcomplete() print(errorqueue.count)'
        self.require_no_errors(message, self.ask_numbers(message, 1, timeout_s)[0])


def _parts(names: Set[str]) -> list[str]:
    ordered = sorted(names)
    return [",".join(ordered[k : k + _NAMES_A_MESSAGE]) for k in range(0, len(ordered), _NAMES_A_MESSAGE)]
