"""Keysight 34980A with matrix modules, in SCPI. Crosspoints are channel numbers, `1101`: slot 1, row 1, column 01.

Messages are those of its command reference; none was run on an instrument. Within one list of channels the order is not
guaranteed, so what opens and what closes are two messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence, Set

from eapu_drivers.visa.instrument import ScpiInstrument
from eapu_drivers.visa.smu.base import SAFE_s
from eapu_drivers.visa.switch.contract import Layout
from eapu_drivers.visa.transport import DEFAULT_TIMEOUT_s, Transport
from eapu_hil.hal import ConfigError, InstrumentError

_CHANNELS_A_MESSAGE = 50
_CHANNELS_A_QUESTION = 400
_CHANNEL = re.compile(r"[1-8][1-8]\d\d")
_RELAY_s = 0.02  # the slowest relays take half of it, one after another


class Keysight34980A(ScpiInstrument):
    """The matrix modules of one mainframe."""

    family = "Keysight 34980A"
    layout = Layout("1234", 16)
    models = re.compile(r"34980A")

    def __init__(self, transport: Transport) -> None:
        """Opens every relay. One command is over before the next one begins: overlapped switching is off."""
        super().__init__(transport)
        self._closed: frozenset[str] | None = None  # not known
        self._asked: set[str] = set()  # every crosspoint that was ever to be closed, or may be
        self.send("*CLS;:ROUT:OPER:OVER OFF")
        self._open_all(DEFAULT_TIMEOUT_s)

    def connect(self, crosspoints: Set[str]) -> None:
        if self._closed is None:
            self._open_all(DEFAULT_TIMEOUT_s)
        before, self._closed = self._closed or frozenset(), None  # not known until all is done
        opening = before - crosspoints
        for names in _parts(opening):
            self.send(f":ROUT:OPEN {_listed(names)}")
        self._require_open(opening)
        for names in _parts(crosspoints - before):
            self._close_these(names)
        reported = self.closed()
        missing, others = sorted(crosspoints - reported), sorted(reported - crosspoints)
        if missing:
            text = f"crosspoint {missing[0]} does not report closed ({len(missing)} of {len(crosspoints)} do not)"
            raise InstrumentError(0, text, ":ROUT:CLOS", self.name)
        if others:
            text = f"crosspoint {others[0]} is closed by another program or at its front panel ({len(others)} are)"
            raise InstrumentError(0, text, ":ROUT:CLOS", self.name)
        self._closed = frozenset(crosspoints)

    def will_use(self, crosspoints: Set[str]) -> None:
        wrong = sorted(name for name in crosspoints if not _CHANNEL.fullmatch(name))
        if wrong:
            raise ConfigError(
                f"instruments.map: crosspoint {wrong[0]!r} ({len(wrong)} like it); a {self.family} has slots 1 to 8, "
                "with rows 1 to 8: names such as 1101 (slot 1, row 1, column 01)"
            )
        self._asked |= crosspoints

    def closed(self) -> frozenset[str]:
        """Of those that were ever to be closed or may be, those that the instrument reports as closed."""
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
        self._require_open(self._asked)
        self._closed = frozenset()

    def _require_open(self, crosspoints: Set[str]) -> None:
        """Waits until what was sent is over. Raises InstrumentError where one does not report open."""
        wrong = [name for name, as_asked in self._states("OPEN", crosspoints) if not as_asked]
        if wrong:
            text = f"crosspoint {wrong[0]} does not report open ({len(wrong)} of {len(crosspoints)} do not)"
            raise InstrumentError(0, text, ":ROUT:OPEN", self.name)

    def _states(self, state: str, crosspoints: Set[str]) -> Iterable[tuple[str, bool]]:
        """Each crosspoint, and whether the instrument reports it in that state."""
        for names in _parts(crosspoints, _CHANNELS_A_QUESTION):
            message = f"*OPC?;:ROUT:{state}? {_ranges(names)}"
            answer = self.ask_tied(message, DEFAULT_TIMEOUT_s + _RELAY_s * len(names), checked=False)
            done, _, listed = answer.partition(";")
            states = [one.strip() for one in listed.split(",")]
            if done.strip() not in ("1", "+1") or len(states) != len(names) or not set(states) <= {"0", "1"}:
                self.check_errors(message)  # its own word, where one does not exist, comes first
                raise self.wrong_answer(message, answer, f"1; and {len(names)} times 0 or 1")
            yield from ((name, one == "1") for name, one in zip(names, states, strict=True))


def _parts(crosspoints: Set[str], most: int = _CHANNELS_A_MESSAGE) -> list[list[str]]:
    ordered = sorted(crosspoints)
    return [ordered[k : k + most] for k in range(0, len(ordered), most)]


def _listed(names: Iterable[str]) -> str:
    return f"(@{','.join(names)})"


def _ranges(names: Sequence[str]) -> str:
    """The same, shorter: what follows one another without a gap as first and last."""
    runs: list[list[str]] = []
    for name in names:
        if runs and int(name) == int(runs[-1][-1]) + 1:
            runs[-1].append(name)
        else:
            runs.append([name])
    return _listed(run[0] if len(run) == 1 else f"{run[0]}:{run[-1]}" for run in runs)
