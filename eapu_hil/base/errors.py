"""Errors for the person at the bench: one line each."""

from __future__ import annotations

from collections.abc import Sequence


def one_line(error: BaseException) -> str:
    """What an error says, as a part of a message; its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


class HilError(Exception):
    """Something the person at the bench has to know about. The message is one line."""


class ConfigError(HilError):
    """A file or an argument asks for something that is not allowed: says file, key and what is allowed."""


class LimitError(HilError):
    """The interlock refused a request before anything was sent."""


class UnsupportedError(LimitError):
    """A device cannot do what is asked: refused before anything is sent. The message says what it can do."""


class TransportError(HilError):
    """The link to a device timed out or is lost."""


class ProtocolError(HilError):
    """A device answered something that the protocol does not allow."""


class InstrumentError(HilError):
    """An instrument reported an error. instrument: how messages call it."""

    def __init__(self, code: int, text: str, command: str, instrument: str = "") -> None:
        super().__init__(f"{instrument and instrument + ': '}error {code}, {text!r}, after {command!r}")
        self.instrument = instrument
        self.code = code
        self.text = text
        self.command = command


def did_you_mean(given: str, allowed: Sequence[str]) -> str:
    """`, did you mean 'steps'?` where one of `allowed` is near to what was given, "" where none is."""
    import difflib  # only a mistake needs it

    close = difflib.get_close_matches(given, allowed, n=1)
    return f", did you mean {close[0]!r}?" if close else ""
