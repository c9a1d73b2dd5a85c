"""Keysight 34980A with matrix modules, in SCPI. Crosspoints are channel numbers, `1101`: slot 1, row 1, column 01.

Messages are those of its command reference; none was run on an instrument. Within one list of channels the order is not
guaranteed, so what opens and what closes are two messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Set

from eapu_drivers.visa.instrument import ScpiInstrument
from eapu_drivers.visa.smu.base import SAFE_s
from eapu_drivers.visa.transport import DEFAULT_TIMEOUT_s, Transport
from eapu_hil.hal import InstrumentError

_CHANNELS_A_MESSAGE = 50
_RELAY_s = 0.02  # the slowest relays take half of it, one after another


class Keysight34980A(ScpiInstrument):
    """The matrix modules of one mainframe."""

    family = "Keysight 34980A"
    models = re.compile(r"34980A")

    def __init__(self, transport: Transport) -> None:
        """Opens every relay. One command is over before the next one begins: overlapped switching is off."""
        super().__init__(transport)
        self._closed: frozenset[str] | None = None  # not known
        self._asked: set[str] = set()  # every crosspoint that was ever to be closed
        self.send("*CLS;:ROUT:OPER:OVER OFF")
        self._open_all(DEFAULT_TIMEOUT_s)

    def connect(self, crosspoints: Set[str]) -> None:
        if self._closed is None:
            self._open_all(DEFAULT_TIMEOUT_s)
        before, self._closed = self._closed or frozenset(), None  # not known until all is done
        opening = before - crosspoints
        for names in _parts(opening):
            self.send(f":ROUT:OPEN {_listed(names)}")
        self._require("OPEN", opening)
        for names in _parts(crosspoints - before):
            self._close_these(names)
        self._require("CLOS", crosspoints)
        self._closed = frozenset(crosspoints)

    def closed(self) -> frozenset[str]:
        """Of those that were ever to be closed, those that the instrument reports as closed."""
        return frozenset(name for name, state in self._states("CLOS", self._asked) if state)

    def safe_off(self) -> None:
        many_s = _RELAY_s * len(self._asked if self._closed is None else self._closed)
        self.try_each(
            self._transport.clear, lambda: self.write("*CLS"), lambda: self._open_all(SAFE_s + many_s)
        )

    def _close_these(self, names: list[str]) -> None:
        new = set(names) - self._asked
        self._asked |= new
        try:
            self.send(f":ROUT:CLOS {_listed(names)}")
        except InstrumentError:
            self._asked -= new  # one may not exist, and could not be asked about
            raise

    def _open_all(self, timeout_s: float) -> None:
        """Opened, settled and read back."""
        message = ":ROUT:OPEN:ALL ALL"
        self._closed = None
        self.write(message)
        done = self.ask("*OPC?", timeout_s)
        self.check_errors(message)
        if done.strip() not in ("1", "+1"):
            raise self.wrong_answer("*OPC?", done, "1")
        self._require("OPEN", self._asked)
        self._closed = frozenset()

    def _require(self, state: str, crosspoints: Set[str]) -> None:
        """Waits until what was sent is over. Raises InstrumentError where one does not report the state it should."""
        wrong = [name for name, as_asked in self._states(state, crosspoints) if not as_asked]
        if wrong:
            word = "open" if state == "OPEN" else "closed"
            text = f"crosspoint {wrong[0]} does not report {word} ({len(wrong)} of {len(crosspoints)} do not)"
            raise InstrumentError(0, text, f":ROUT:{state}", self.name)

    def _states(self, state: str, crosspoints: Set[str]) -> Iterable[tuple[str, bool]]:
        """Each crosspoint, and whether the instrument reports it in that state."""
        for names in _parts(crosspoints):
            message = f"*OPC?;:ROUT:{state}? {_listed(names)}"
            answer = self.ask(message, DEFAULT_TIMEOUT_s + _RELAY_s * len(names))
            done, _, listed = answer.partition(";")
            states = [one.strip() for one in listed.split(",")]
            if done.strip() not in ("1", "+1") or len(states) != len(names) or not set(states) <= {"0", "1"}:
                raise self.wrong_answer(message, answer, f"1; and {len(names)} times 0 or 1")
            yield from ((name, one == "1") for name, one in zip(names, states, strict=True))


def _parts(crosspoints: Set[str]) -> list[list[str]]:
    ordered = sorted(crosspoints)
    return [ordered[k : k + _CHANNELS_A_MESSAGE] for k in range(0, len(ordered), _CHANNELS_A_MESSAGE)]


def _listed(names: Iterable[str]) -> str:
    return f"(@{','.join(names)})"
