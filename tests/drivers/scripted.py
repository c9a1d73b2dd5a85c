"""A line to an instrument that follows a script: the exact messages, in order, and what answers them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from eapu_hil.hal import TransportError

# The number that ties an answer to its question is left out of a script, of message and answer.
_TIED_SCPI = re.compile(r"\*ESE (?P<number>\d+);(?P<message>.*);\*ESE\?(?P<errors>;:SYST:ERR\?)?", re.DOTALL)
_TIED_TSP = re.compile(
    r"(?P<message>(print\(.*|.* print\(.*)errorqueue\.count), (?P<number>\d+)\)", re.DOTALL
)
_TIED_CALL = re.compile(r"(?P<message>eapu_(sweep|write)\(.*), (?P<number>\d+)\)", re.DOTALL)
_CHECKED = re.compile(r'((?P<rest>.*);)?(?P<error>[+-]?\d+,"[^"]*")', re.DOTALL)
CLEAR = "<device clear>"
SILENCE = "<no answer>"


class ScriptedTransport:
    """A `Transport` for one exchange. script: (message, answer) pairs; the answer of a write is None.

    A message that the script does not have next fails the test at once; `done` fails it when some were not sent.
    `CLEAR` stands for a device clear; the answer `SILENCE` is a TransportError. `extend` goes on with more.
    """

    def __init__(self, script: Sequence[tuple[str, str | None]], name: str = "GPIB0::24::INSTR") -> None:
        self._script = list(script)
        self._at = 0
        self._name = name
        self.closed = False

    @property
    def name(self) -> str:
        return self._name

    def extend(self, *script: tuple[str, str | None]) -> None:
        """What comes next."""
        self._script += script

    def write(self, message: str) -> None:
        answer = self._next(message)
        assert answer is None, f"{message!r} was only sent; the script waits for its answer to be read"

    def query(self, message: str, timeout_s: float = 2.0) -> str:
        plain, number = _untied(message)
        answer = self._next(plain)
        assert answer is not None, f"{plain!r} was asked; the script has no answer to it"
        if answer == SILENCE:
            raise TransportError(f"{self._name}: no answer to {plain!r} within {timeout_s:.3g} s")
        return answer if number is None else _tied(answer, number, ";" if "?" in plain else "\t")

    def distrust(self) -> None:
        """Nothing comes late here."""

    def clear(self) -> None:
        self._next(CLEAR)

    def close(self) -> None:
        self.closed = True

    def done(self) -> None:
        """Every message of the script was sent."""
        assert self._at == len(self._script), f"never sent: {self._script[self._at :]}"

    def _next(self, message: str) -> str | None:
        assert self._at < len(self._script), f"{message!r} sent; the script has ended"
        expected, answer = self._script[self._at]
        assert message == expected, f"{message!r} sent; the script has {expected!r}"
        self._at += 1
        return answer


def _untied(message: str) -> tuple[str, str | None]:
    if (scpi := _TIED_SCPI.fullmatch(message)) is not None:
        return scpi["message"] + (scpi["errors"] or ""), scpi["number"]
    tsp = _TIED_TSP.fullmatch(message) or _TIED_CALL.fullmatch(message)
    return (message, None) if tsp is None else (f"{tsp['message']})", tsp["number"])


def _tied(answer: str, number: str, separator: str) -> str:
    """The answer with the number where the instrument puts it: last, or before what is told of the error queue."""
    checked = _CHECKED.fullmatch(answer) if separator == ";" else None
    return (
        f"{answer}{separator}{number}"
        if checked is None
        else f"{checked['rest']};{number};{checked['error']}"
    )
