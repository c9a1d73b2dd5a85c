"""Keysight 34980A with matrix modules, in SCPI. Crosspoints are channel numbers, `1101`: slot 1, row 1, column 01.

Messages are those of its manual and of drivers that others use; none was run on an instrument.
"""

from __future__ import annotations

import re
from collections.abc import Set

from eapu_drivers.instrument import ScpiInstrument
from eapu_drivers.smu.base import SAFE_S
from eapu_drivers.transport import Transport
from eapu_hil.hal import InstrumentError

_CHANNELS_A_MESSAGE = 100
_SETTLED_S = 5.0  # relays take milliseconds each, and are closed one after another


class Keysight34980A(ScpiInstrument):
    """The matrix modules of one mainframe."""

    family = "Keysight 34980A"
    models = re.compile(r"34980A")

    def __init__(self, transport: Transport) -> None:
        """Opens every relay."""
        super().__init__(transport)
        self._closed: frozenset[str] | None = None  # not known
        self.send("*CLS")
        self._open_all()

    def connect(self, crosspoints: Set[str]) -> None:
        if self._closed is None:
            self._open_all()
        before, self._closed = self._closed or frozenset(), None  # not known until all is done
        for opening in _lists(before - crosspoints):
            self._moved(f":ROUT:OPEN {opening}")
        for closing in _lists(crosspoints - before):
            self._moved(f":ROUT:CLOS {closing}")
        missing = sorted(crosspoints - self._reported(crosspoints))
        if missing:
            text = f"crosspoint {missing[0]} does not report closed ({len(missing)} of {len(crosspoints)})"
            raise InstrumentError(0, text, ":ROUT:CLOS", self.name)
        self._closed = frozenset(crosspoints)

    def closed(self) -> frozenset[str]:
        """Of those that were closed last, those that the instrument reports as closed."""
        return self._reported(self._closed or frozenset())

    def _reported(self, crosspoints: Set[str]) -> frozenset[str]:
        found: set[str] = set()
        for names in _parts(crosspoints):
            message = f":ROUT:CLOS? (@{','.join(names)})"
            answer = self.ask(message)
            states = [state.strip() for state in answer.split(",")]
            if len(states) != len(names) or not set(states) <= {"0", "1"}:
                raise self.wrong_answer(message, answer, f"{len(names)} times 0 or 1")
            found |= {name for name, state in zip(names, states, strict=True) if state == "1"}
        return frozenset(found)

    def safe_off(self) -> None:
        self.try_each(self._transport.clear, lambda: self.write("*CLS"), self._open_all)

    def _open_all(self) -> None:
        self._closed = None
        self._moved(":ROUT:OPEN:ALL ALL", SAFE_S)
        self._closed = frozenset()

    def _moved(self, message: str, timeout_s: float = _SETTLED_S) -> None:
        self.write(message)
        done = self.ask("*OPC?", timeout_s)
        self.check_errors(message)
        if done.strip() not in ("1", "+1"):
            raise self.wrong_answer("*OPC?", done, "1")


def _parts(names: Set[str]) -> list[list[str]]:
    ordered = sorted(names)
    return [ordered[k : k + _CHANNELS_A_MESSAGE] for k in range(0, len(ordered), _CHANNELS_A_MESSAGE)]


def _lists(names: Set[str]) -> list[str]:
    return [f"(@{','.join(part)})" for part in _parts(names)]
