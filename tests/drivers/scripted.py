"""A line to an instrument that follows a script: the exact messages, in order, and what answers them."""

from __future__ import annotations

from collections.abc import Sequence

from eapu_hil.hal import TransportError

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
        answer = self._next(message)
        assert answer is not None, f"{message!r} was asked; the script has no answer to it"
        if answer == SILENCE:
            raise TransportError(f"{self._name}: no answer to {message!r} within {timeout_s:.3g} s")
        return answer

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
