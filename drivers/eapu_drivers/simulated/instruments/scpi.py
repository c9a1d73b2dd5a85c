"""SCPI-1999 as instruments speak it: short, long and any-case headers, compound messages, an error queue.

A device lists its commands as patterns, `[:SOURce[1]]:VOLTage[:LEVel]`, where capitals are the short form and
brackets may be left out, each with a function of the parameters that returns the answer of a query, or None.
"""

from __future__ import annotations

import inspect
import itertools
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from eapu_drivers.simulated.instruments.probe import MessageTooLong

Act = Callable[..., str | None]

UNDEFINED_HEADER = (-113, "Undefined header")
MISSING_PARAMETER = (-109, "Missing parameter")
PARAMETER_NOT_ALLOWED = (-108, "Parameter not allowed")
DATA_TYPE = (-104, "Data type error")
OUT_OF_RANGE = (-222, "Parameter data out of range")
ILLEGAL_VALUE = (-224, "Illegal parameter value")
SETTINGS_CONFLICT = (-221, "Settings conflict")
QUEUE_OVERFLOW = (-350, "Queue overflow")
TOO_LONG = (-200, "Execution error; the message takes too long")
_PARAMETERS_MAX = 2600  # more than any list that an instrument takes
CHANNELS_MAX = 10_000
_DIGITS_MAX = 9
_COMMAND_ERRORS = range(-199, -99)
_NODE = re.compile(r"(\[?):?([A-Za-z]+)(?:\[(\d)\]|(\d))?(\]?)")


class ScpiError(Exception):
    """The refusal of a command: the code and text of the error queue."""

    def __init__(self, error: tuple[int, str]) -> None:
        super().__init__(error)
        self.error = error


@dataclass(frozen=True)
class _Command:
    """needed, most: how many parameters `act` takes; most is None where there is no end to them."""

    act: Act
    needed: int
    most: int | None

    def run(self, parameters: list[str]) -> str | None:
        if len(parameters) < self.needed:
            raise ScpiError(MISSING_PARAMETER)
        if len(parameters) > (_PARAMETERS_MAX if self.most is None else self.most):
            raise ScpiError(PARAMETER_NOT_ALLOWED)
        try:
            return self.act(*(parameter.strip() for parameter in parameters))
        except (ValueError, OverflowError):  # a number that is none
            raise ScpiError(DATA_TYPE) from None


class ScpiDevice:
    """A device made of a command table. errors_max: length of the queue, whose last entry tells of an overflow.

    A command error ends a message; what cannot be carried out leaves the rest of it standing (IEEE 488.2).
    """

    def __init__(self, commands: Mapping[str, Act], errors_max: int = 10) -> None:
        """Patterns that end in `?` are queries; those that start with `*` are taken as they stand."""
        self._acts: dict[str, _Command] = {}
        self._event_enable = 0
        common: dict[str, Act] = {"*ESE": self._enable_events, "*ESE?": lambda: str(self._event_enable)}
        for pattern, act in (common | dict(commands)).items():
            command = _Command(act, *_arity(act))
            for header in spellings(pattern):
                self._acts[header] = command
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
                answer = self._acts[full].run(split_quoted(rest, ",") if rest.strip() else [])
            except MessageTooLong:
                self.add_error(TOO_LONG)
                break
            except ScpiError as error:
                self.add_error(error.error)
                if error.error[0] in _COMMAND_ERRORS:
                    break
                continue
            if answer is not None:
                answers.append(answer)
        return (";".join(answers) + "\n").encode("latin-1") if answers else b""

    def _enable_events(self, value: str) -> None:
        """Which standard events the status byte would tell of, if it were simulated: a register of eight bits."""
        self._event_enable = round(real(value, 0, 255))

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


def _arity(act: Act) -> tuple[int, int | None]:
    needed, most = 0, 0
    for parameter in inspect.signature(act).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            return needed, None
        most += 1
        needed += parameter.default is parameter.empty
    return needed, most


def _absolute(header: str, path: str, known: Mapping[str, _Command]) -> tuple[str, str]:
    """The header from the root, and the path that later units of the message start from."""
    if header.startswith(("*", ":*")):
        header = header.removeprefix(":")  # some clients send one
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
        short = short_form(name)
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
    """ON, OFF, or a number, which is rounded; 0 is OFF."""
    if text.upper() in ("ON", "OFF"):
        return text.upper() == "ON"
    try:
        return abs(float(text)) >= 0.5
    except ValueError:
        raise ScpiError(ILLEGAL_VALUE) from None


def choice(text: str, *allowed: str) -> str:
    """One of the words, each given with its short form in capitals; returned in its short form."""
    for word in allowed:
        if text.upper() in (short_form(word), word.upper()):
            return short_form(word)
    raise ScpiError(ILLEGAL_VALUE)


def short_form(word: str) -> str:
    """`VOLTage` -> `VOLT`."""
    return "".join(letter for letter in word if not letter.islower())


def unquoted(text: str) -> str:
    """A string parameter without its quotes."""
    if len(text) < 2 or text[0] not in "\"'" or text[-1] != text[0]:
        raise ScpiError(DATA_TYPE)
    return text[1:-1]


def channel_list(text: str) -> list[str]:
    """`(@1101,1103:1105)` -> the channels, ranges written out. Raises ScpiError, also for more than there can be."""
    if not (text.startswith("(@") and text.endswith(")")):
        raise ScpiError(DATA_TYPE)
    names: list[str] = []
    for part in text[2:-1].split(","):
        first, colon, last = part.strip().partition(":")
        if not first.isdecimal() or (colon and not last.isdecimal()):
            raise ScpiError(DATA_TYPE)
        numbers = range(_number(first), _number(last or first) + 1)
        if len(names) + len(numbers) > CHANNELS_MAX:
            raise ScpiError(OUT_OF_RANGE)
        names += map(str, numbers)
    return names


def _number(digits: str) -> int:
    if len(digits) > _DIGITS_MAX or not digits.isascii():
        raise ScpiError(DATA_TYPE)
    return int(digits)


def bit(value: bool) -> str:
    """The answer of a query for a boolean."""
    return str(int(value))


def shown(value: float) -> str:
    """The answer of a query for a number."""
    return f"{value:+.6E}"


def nothing(_: object) -> None:
    """For settings that a simulation takes, checks and does not need."""


def setting(owner: object, name: str, parse: Callable[[str], object]) -> Act:
    """A command that keeps its parameter, as `parse` understands it, in an attribute of `owner`."""

    def act(text: str) -> None:
        setattr(owner, name, parse(text))

    return act


def refusal(error: tuple[int, str]) -> Act:
    """A command that is always refused."""

    def act(*_: str) -> None:
        raise ScpiError(error)

    return act
