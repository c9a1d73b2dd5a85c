"""SCPI-1999 as instruments speak it: short, long and any-case headers, compound messages, an error queue.

A device lists its commands as patterns, `[:SOURce[1]]:VOLTage[:LEVel]`, where capitals are the short form and
brackets may be left out, each with a function of the parameters that returns the answer of a query, or None.
"""

from __future__ import annotations

import itertools
import re
from collections import deque
from collections.abc import Callable, Mapping

Act = Callable[..., str | None]

UNDEFINED_HEADER = (-113, "Undefined header")
MISSING_PARAMETER = (-109, "Missing parameter")
PARAMETER_NOT_ALLOWED = (-108, "Parameter not allowed")
DATA_TYPE = (-104, "Data type error")
OUT_OF_RANGE = (-222, "Parameter data out of range")
ILLEGAL_VALUE = (-224, "Illegal parameter value")
SETTINGS_CONFLICT = (-221, "Settings conflict")
QUEUE_OVERFLOW = (-350, "Queue overflow")
_NODE = re.compile(r"(\[?):?([A-Za-z]+)(?:\[(\d)\]|(\d))?(\]?)")


class ScpiError(Exception):
    """What a command is refused with: the code and text of the error queue."""

    def __init__(self, error: tuple[int, str]) -> None:
        super().__init__(error)
        self.error = error


class ScpiDevice:
    """A device made of a command table. errors_max: length of the queue, whose last entry tells of an overflow."""

    def __init__(self, commands: Mapping[str, Act], errors_max: int = 10) -> None:
        """Patterns that end in `?` are queries; those that start with `*` are taken as they stand."""
        self._acts: dict[str, Act] = {}
        for pattern, act in commands.items():
            for header in spellings(pattern):
                self._acts[header] = act
        self._errors: deque[tuple[int, str]] = deque()
        self._errors_max = errors_max

    def handle(self, message: str) -> bytes:
        """One program message: units separated by `;`, answers joined with `;`."""
        answers: list[str] = []
        path = ""
        for unit in split_quoted(message, ";"):
            if not unit.strip():
                continue
            header, _, rest = unit.strip().partition(" ")
            try:
                full, path = _absolute(header.upper(), path, self._acts)
                answer = self._run(self._acts[full], split_quoted(rest, ",") if rest.strip() else [])
            except ScpiError as error:
                self.add_error(error.error)
                break  # a command error ends the message
            if answer is not None:
                answers.append(answer)
        return (";".join(answers) + "\n").encode("latin-1") if answers else b""

    def add_error(self, error: tuple[int, str]) -> None:
        """Puts an entry into the error queue."""
        if len(self._errors) >= self._errors_max:
            self._errors[-1] = QUEUE_OVERFLOW
        else:
            self._errors.append(error)

    def take_error(self) -> tuple[int, str] | None:
        """Takes the oldest entry."""
        return self._errors.popleft() if self._errors else None

    def clear_errors(self) -> None:
        """*CLS."""
        self._errors.clear()

    @property
    def error_count(self) -> int:
        """How many entries there are."""
        return len(self._errors)

    @staticmethod
    def _run(act: Act, parameters: list[str]) -> str | None:
        needed, most = _arity(act)
        if len(parameters) < needed:
            raise ScpiError(MISSING_PARAMETER)
        if most is not None and len(parameters) > most:
            raise ScpiError(PARAMETER_NOT_ALLOWED)
        return act(*(parameter.strip() for parameter in parameters))


def _arity(act: Act) -> tuple[int, int | None]:
    import inspect

    needed, most = 0, 0
    for parameter in inspect.signature(act).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            return needed, None
        most += 1
        needed += parameter.default is parameter.empty
    return needed, most


def _absolute(header: str, path: str, known: Mapping[str, Act]) -> tuple[str, str]:
    """The header from the root, and the path that later units of the message start from."""
    if header.startswith("*"):
        if header not in known:
            raise ScpiError(UNDEFINED_HEADER)
        return header, path
    candidates = [header] if header.startswith(":") else [f"{path}:{header}", f":{header}"]
    for full in candidates:
        if full in known:
            return full, full.rstrip("?").rpartition(":")[0]
    raise ScpiError(UNDEFINED_HEADER)


def spellings(pattern: str) -> set[str]:
    """Every upper-case header that a pattern allows."""
    if pattern.startswith("*"):
        return {pattern.upper()}
    query = pattern.endswith("?")
    choices: list[list[str]] = []
    for optional, name, maybe, must, _ in _NODE.findall(pattern.rstrip("?")):
        short = "".join(letter for letter in name if letter.isupper())
        numbers = ["", maybe] if maybe else [must]
        node = [f":{word}{tail}" for word in {short, name.upper()} for tail in numbers]
        choices.append([*node, ""] if optional else node)
    headers = {"".join(parts) for parts in itertools.product(*choices)}
    return {header + ("?" if query else "") for header in headers if header}


def split_quoted(text: str, separator: str) -> list[str]:
    """Splits at separators outside quotes and parentheses."""
    parts, depth, quote, start = [], 0, "", 0
    for place, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "()":
            depth += 1 if letter == "(" else -1
        elif letter == separator and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    parts.append(text[start:])
    return parts


def real(text: str, least: float, most: float, names: Mapping[str, float] | None = None) -> float:
    """A number in a range, or one of MIN, MAX, DEF and `names`. Raises ScpiError, as the instrument would."""
    words = {"MIN": least, "MINIMUM": least, "MAX": most, "MAXIMUM": most, **(names or {})}
    if text.upper() in words:
        return words[text.upper()]
    try:
        value = float(text)
    except ValueError:
        raise ScpiError(DATA_TYPE) from None
    if not least <= value <= most:
        raise ScpiError(OUT_OF_RANGE)
    return value


def boolean(text: str) -> bool:
    """ON, OFF, 1, 0."""
    if text.upper() in ("ON", "1"):
        return True
    if text.upper() in ("OFF", "0"):
        return False
    raise ScpiError(ILLEGAL_VALUE)


def choice(text: str, *allowed: str) -> str:
    """One of the words, each given with its short form in capitals; returned in its short form."""
    for word in allowed:
        short = "".join(letter for letter in word if not letter.islower())
        if text.upper() in (short, word.upper()):
            return short
    raise ScpiError(ILLEGAL_VALUE)
