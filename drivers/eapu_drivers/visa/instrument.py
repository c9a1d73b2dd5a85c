"""The base of all instruments: identity, error queues that are always read, numbers that arrive whole."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from eapu_drivers.visa.transport import DEFAULT_TIMEOUT_s, Transport, shortened
from eapu_hil.hal import (
    ConfigError,
    HilError,
    InstrumentError,
    ProtocolError,
    TransportError,
    UnsupportedError,
)

_ERRORS_TOLD = 32  # of one queue; what is behind them is cleared
_NUMBERS = 256  # that tie answers to questions: the register that carries them has eight bits
_CHECKED = re.compile(r'((?P<answer>.*);)?(?P<code>[+-]?\d+),"(?P<text>[^"]*)"', re.DOTALL)


@dataclass(frozen=True)
class InstrumentIdentity:
    """The answer of an instrument to *IDN?: maker, model, serial number, firmware."""

    maker: str
    model: str
    serial: str
    firmware: str

    @classmethod
    def parse(cls, answer: str, name: str) -> InstrumentIdentity:
        """From the answer of the instrument at the line `name`. Raises ProtocolError."""
        parts = [part.strip() for part in answer.split(",")]
        if len(parts) != 4 or not all(parts[:2]):
            raise ProtocolError(
                f"{name}: '*IDN?' was answered {answer!r}; expected maker, model, serial number, firmware"
            )
        maker, model, serial, firmware = parts
        return cls(maker, model.removeprefix("MODEL ").removeprefix("Model "), serial, firmware)


def number(value: float) -> str:
    """A number as instruments take it: nine digits, with an exponent where it is small (5e-07, never 0.000000)."""
    if not math.isfinite(value):
        raise ValueError(f"{value} cannot be sent to an instrument")
    return f"{value:.9g}"


class Instrument(ABC):
    """One instrument behind a `Transport`; the only owner of it, unless two channels share it.

    family: what messages call it ("Keithley 2400"). models: which `InstrumentIdentity.model` the driver fits.
    channels: their names; an instrument with one has "".
    Everything that talks raises TransportError (no line), ProtocolError (an answer that makes no sense) or
    InstrumentError (the instrument's own error queue), and each names instrument and message.
    """

    family: str
    models: re.Pattern[str]
    channels: tuple[str, ...] = ("",)

    def __init__(self, transport: Transport) -> None:
        """Asks who is there. Raises ConfigError when it is another model.

        transport: its `name` is a line, whose errors begin with it.
        """
        self._transport = transport
        self._number = 0  # number of the last question that ties its answer to itself
        self.name = f"{self.family} at {transport.name}"
        self.identity = InstrumentIdentity.parse(transport.query("*IDN?"), transport.name)
        if not self.fits(self.identity):
            raise ConfigError(
                f"{transport.name}: a {self.identity.maker} {self.identity.model} answers there, not a {self.family}"
            )

    @classmethod
    def fits(cls, identity: InstrumentIdentity) -> bool:
        """Whether the driver is for the instrument that answers this to *IDN?."""
        return cls.models.fullmatch(identity.model) is not None

    @abstractmethod
    def next_error(self) -> tuple[int, str] | None:
        """Takes the oldest entry from the error queue: code and text; None when it is empty."""

    def clear_errors(self) -> None:
        """Empties the error queue without a look at it."""
        while self.next_error() is not None:
            pass

    def send(self, message: str) -> None:
        """Sends, then raises what the instrument has to say against it."""
        self.write(message)
        self.check_errors(message)

    def write(self, message: str) -> None:
        """Sends, and asks nothing: for ways out, and where what follows asks."""
        try:
            self._transport.write(message)
        except TransportError as error:
            raise TransportError(f"{self.family} at {error}") from error

    def ask(self, message: str, timeout_s: float = DEFAULT_TIMEOUT_s) -> str:
        """Sends, and returns the answer. The error queue is not asked: an instrument answers only what it takes."""
        try:
            return self._transport.query(message, timeout_s)
        except TransportError as error:
            raise TransportError(f"{self.family} at {error}") from error

    def ask_numbers(self, message: str, count: int, timeout_s: float = DEFAULT_TIMEOUT_s) -> list[float]:
        """Exactly `count` numbers, separated by commas or tabs."""
        return self._parsed(message, self.ask(message, timeout_s), r"[,\t]", count)

    def ask_each(self, message: str, count: int) -> list[float]:
        """One number from each of `count` queries in one message, whose answers are separated by semicolons."""
        return self._parsed(message, self.ask(message), ";", count)

    def _parsed(self, message: str, answer: str, between: str, count: int) -> list[float]:
        try:
            values = [float(part) for part in re.split(between, answer)]
        except ValueError:
            values = []
        if len(values) != count:
            raise self.wrong_answer(message, answer, f"{count} numbers")
        return values

    def check_errors(self, message: str) -> None:
        """Raises InstrumentError for the oldest entry of the error queue, and empties the queue into its notes."""
        first = self.next_error()
        if first is not None:
            raise self.with_the_rest(InstrumentError(*first, shortened(message), self.name))

    def with_the_rest(self, error: InstrumentError) -> InstrumentError:
        """The error, with what else is in the queue in its notes; the queue is then empty."""
        for _ in range(_ERRORS_TOLD):
            more = self.next_error()
            if more is None:
                return error
            error.add_note(f"{self.name}: also error {more[0]}, {more[1]!r}")
        self.clear_errors()  # or the rest would be blamed on messages to come
        error.add_note(f"{self.name}: more errors were in its queue, which is cleared now")
        return error

    def next_number(self) -> int:
        """For a question whose answer has to carry it."""
        self._number = (self._number + 1) % _NUMBERS
        return self._number

    def require_own_answer(self, number: int, told: str, message: str, answer: str) -> None:
        """Raises ProtocolError where the answer to `message` carries another number: it answers another question."""
        try:
            own = float(told) == number
        except ValueError:
            own = False
        if not own:
            raise self.wrong_answer(
                message,
                answer,
                f"the number {number} of this question at its end; another program may talk to it",
            )

    def require_taken(self, what: str, asked: float, taken: float, tolerance: float = 1e-3) -> None:
        """The instrument has to report back what it was asked for. Raises InstrumentError."""
        if not abs(taken - asked) <= tolerance * abs(asked) + 1e-12:
            text = f"{what}: {number(asked)} asked, but the instrument reports {taken}"
            raise InstrumentError(0, text, what, self.name)

    def require_channel(self, channel: str) -> None:
        """Raises ConfigError for a channel that is not there."""
        if channel not in self.channels:
            names = ", ".join(self.channels) or "none"
            raise ConfigError(f"{self.name}: channel {channel!r} asked; it has {names}")

    def wrong_answer(self, message: str, answer: str, expected: str) -> ProtocolError:
        """For an answer that makes no sense. No other is believed before a device clear."""
        self._transport.distrust()
        return ProtocolError(
            f"{self.name}: {shortened(message)!r} was answered {shortened(answer)!r}; expected {expected}"
        )

    def try_each(self, *acts: Callable[[], object]) -> None:
        """Runs every act of a way out, also after one of them failed.

        Raises HilError for the first failure, once all were tried.
        """
        failures: list[HilError] = []
        for act in acts:
            try:
                act()
            except HilError as error:
                failures.append(error)
        if failures:
            more = f" (and {len(failures) - 1} more steps of the way out failed)" if len(failures) > 1 else ""
            raise HilError(f"{failures[0]}{more}") from failures[0]

    def close(self) -> None:
        """Closes the line. It does not touch the outputs: `safe_off` does."""
        self._transport.close()


def require_range(name: str, what: str, value: float, least: float, most: float, unit: str) -> None:
    """Raises UnsupportedError unless least <= value <= most."""
    if not least <= value <= most:
        raise UnsupportedError(
            f"{name}: {what} of {number(value)} {unit} asked; "
            f"it can do {number(least)} to {number(most)} {unit}"
        )


class ScpiInstrument(Instrument):
    """An instrument with the error queue of SCPI-1999. error_query: how it is asked for."""

    error_query = ":SYST:ERR?"

    def next_error(self) -> tuple[int, str] | None:
        answer = self.ask(self.error_query)
        found = re.fullmatch(r'([+-]?\d+),"(.*)"', answer.strip())
        if found is None:
            raise self.wrong_answer(self.error_query, answer, 'a number and a text, such as 0,"No error"')
        code = int(found[1])
        return None if code == 0 else (code, found[2].partition(";")[0])

    def ask_checked(self, message: str, timeout_s: float = DEFAULT_TIMEOUT_s) -> str:
        """Sends `message` and the question for errors as one message. Returns what answers `message`, "" for nothing.

        Raises InstrumentError. For instruments that go on with a message after a unit that they could not carry out.
        """
        whole = f"{message};{self.error_query}"
        answer = self.ask(whole, timeout_s)
        found = _CHECKED.fullmatch(answer.strip())
        if found is None:
            raise self.wrong_answer(whole, answer, 'answers; a number and a text, such as 0,"No error"')
        code = int(found["code"])
        if code != 0:
            text = found["text"].partition(";")[0]
            raise self.with_the_rest(InstrumentError(code, text, shortened(message), self.name))
        return found["answer"] or ""

    def ask_tied(self, message: str, timeout_s: float = DEFAULT_TIMEOUT_s, *, checked: bool = True) -> str:
        """Asks, with a number in the message that the answer has to carry: an answer that belongs to another question
        is not taken for this one's. checked: as `ask_checked`, else as `ask`.

        The number goes through the enable register of the standard events (IEEE 488.2), which nothing here uses.
        """
        number = self.next_number()
        whole = f"*ESE {number};{message};*ESE?"
        answer = self.ask_checked(whole, timeout_s) if checked else self.ask(whole, timeout_s)
        rest, _, told = answer.rpartition(";")
        self.require_own_answer(number, told, message, answer)
        return rest

    def clear_errors(self) -> None:
        self.write("*CLS")


class TspInstrument(Instrument):
    """An instrument with the error queue of Keithley's TSP."""

    _NEXT_ERROR = "print(errorqueue.next())"

    def next_error(self) -> tuple[int, str] | None:
        answer = self.ask(self._NEXT_ERROR)
        parts = answer.split("\t")
        try:
            code = round(float(parts[0]))
        except ValueError:
            raise self.wrong_answer(self._NEXT_ERROR, answer, "a code and a text") from None
        return None if code == 0 else (code, parts[1] if len(parts) > 1 else "")

    def ask_tied(self, before: str, values: str, timeout_s: float = DEFAULT_TIMEOUT_s) -> list[str]:
        """Runs the statements `before`, then has `values`, expressions with commas between them, printed; with them
        how many errors there are, and a number of the question, so that no other answer is taken for this one's.

        Returns what each expression gave. Raises InstrumentError for what is in the error queue.
        """
        number = self.next_number()
        message = f"{before}print({values}, errorqueue.count, {number})"
        answer = self.ask(message, timeout_s)
        rest, _, tied = answer.rpartition("\t")
        self.require_own_answer(number, tied, message, answer)
        rest, _, errors = rest.rpartition("\t")
        try:
            count = float(errors)
        except ValueError:
            raise self.wrong_answer(message, answer, "values, a count of errors, a number") from None
        self.require_no_errors(message, count)
        return rest.split("\t")

    def clear_errors(self) -> None:
        self.write("errorqueue.clear()")

    def require_no_errors(self, message: str, count: float) -> None:
        """For messages that end in `print(errorqueue.count)`: raises what is in the queue where `count` is not 0."""
        if count != 0:
            self.check_errors(message)
