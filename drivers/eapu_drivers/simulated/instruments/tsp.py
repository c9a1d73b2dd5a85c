"""Keithley's TSP: an instrument that runs Lua. What is sent to it is run, by a real Lua 5.1, not recognised.

The instruments have Lua 5.0 with their own tables; what both versions have works here as there. A setting out of range
puts an error into the queue and changes nothing; a wrong name or wrong syntax ends the message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from eapu_drivers.simulated.instruments.sandbox import Sandbox, Stop
from eapu_drivers.simulated.instruments.tsp_tables import Errors, Format, Named, Numbered, TspTable

_SYNTAX, _RUNTIME, _OUT_OF_MEMORY = -285, -286, -225
_SEVERITY = 20
_SCRIPT_MAX = 1_000_000  # letters of a script
_ANSWER_MAX = 8_000_000  # bytes that one message is answered with
_ERROR_SHOWN = 200  # letters of an error's text
_DELAY_MAX_s = 1e5
_TABLES = (TspTable, Named)


class TspDevice:
    """An instrument with these global tables. common: what it answers to messages that begin with `*`.

    errors, format: of the instrument. elapse: lets bench time pass, for `delay`.
    """

    def __init__(
        self,
        errors: Errors,
        tables: Mapping[str, Any],
        common: Mapping[str, Callable[[], str | None]],
        elapse: Callable[[float], None],
        now_s: Callable[[], float],
    ) -> None:
        self.errors = errors
        self.format = Format(errors)
        self._common = common
        self._loading: tuple[str, list[str]] | None = None  # name of a script, and its lines so far
        self._answer = bytearray()
        self._timer_s = now_s()
        self._now_s = now_s
        self._given: dict[str, Any] = {
            **tables,
            "print": self._print,
            "printnumber": self._print,
            "printbuffer": self._print_buffer,
            "delay": lambda duration_s: elapse(_delay_s(duration_s)),
            "waitcomplete": lambda *_: None,
            "opc": lambda: None,
            "errorqueue": _Queue(errors),
            "format": self.format,
            "script": Named(delete=lambda name: self._lua.forget(str(name))),
            "timer": Named(reset=self._reset_timer, measure=Named(t=lambda: self._now_s() - self._timer_s)),
        }
        self._start()

    def _start(self) -> None:
        """A new Lua, without any script."""
        self._lua = Sandbox((*_TABLES, _Queue), Numbered)
        for name, value in self._given.items():
            self._lua.define_own(name, value)

    def handle(self, message: str) -> bytes:
        """One line: a chunk of Lua, a part of a script, or one of the common commands."""
        self._answer = bytearray()
        line = message.strip()
        if self._loading is not None:
            self._load_more(line)
        elif line.startswith("*"):
            self._run_common(line)
        elif line.startswith(("loadscript", "loadandrunscript")):
            word, _, name = line.partition(" ")
            self._loading, self._loaded = (name.strip(), []), 0
            self._runs_at_once = word == "loadandrunscript"
        elif line:
            self._run(line)
        return bytes(self._answer)

    def add_error(self, error: tuple[int, str]) -> None:
        """Puts an entry into the error queue."""
        code, text = error
        self.errors.add((code, " ".join(text[: 2 * _ERROR_SHOWN].split())[:_ERROR_SHOWN]))

    def _load_more(self, line: str) -> None:
        assert self._loading is not None
        name, lines = self._loading
        if line != "endscript":
            lines.append(line)
            self._loaded += len(line) + 1
            if self._loaded > _SCRIPT_MAX:
                self._loading = None
                self.add_error((_OUT_OF_MEMORY, "Out of memory; the script is too long"))
            return
        self._loading = None
        problem, run = self._lua.compiled("\n".join(lines), name or "anonymous")
        if problem is not None:
            self.add_error((_SYNTAX, f"TSP Syntax error: {problem}"))
            return
        if name:
            self._lua.define_script(name, run)
        if self._runs_at_once:
            self._call(run)

    def _run_common(self, line: str) -> None:
        act = self._common.get(line.upper())
        if act is None:
            self.add_error((_SYNTAX, f"TSP Syntax error at line 1: unexpected symbol near `*'; {line}"))
            return
        answer = act()
        if answer is not None:
            self._say(answer.encode("latin-1", "replace") + b"\n")

    def _run(self, source: str) -> None:
        problem, run = self._lua.compiled(source, "message")
        if problem is not None:
            self.add_error((_SYNTAX, f"TSP Syntax error: {problem}"))
        else:
            self._call(run)

    def _call(self, run: Any) -> None:
        problem, full = self._lua.run(run)
        if problem is not None:
            self.add_error((_RUNTIME, f"TSP Runtime error: {problem}"))
        if full:
            self._start()
            self.add_error((_OUT_OF_MEMORY, "Out of memory; all scripts and variables are deleted"))

    def _print(self, *values: Any) -> None:
        self._say("\t".join(map(self.format.text, values)).encode("latin-1", "replace") + b"\n")

    def _print_buffer(self, first: float, last: float, *buffers: Any) -> None:
        if not buffers or not all(isinstance(buffer, Numbered) for buffer in buffers):
            raise TypeError("printbuffer takes readings of buffers")
        for buffer in buffers:
            buffer[last]  # asked for before anything is made of it
        rows = [[float(buffer[k]) for buffer in buffers] for k in range(int(first), int(last) + 1)]
        self._say(self.format.buffer([value for row in rows for value in row]))

    def _say(self, answer: bytes) -> None:
        if len(self._answer) + len(answer) > _ANSWER_MAX:
            raise Stop("the answer is too long")
        self._answer += answer

    def _reset_timer(self) -> None:
        self._timer_s = self._now_s()


class _Queue:
    """The table `errorqueue`."""

    def __init__(self, errors: Errors) -> None:
        self._errors = errors
        self.clear = errors.clear

    @property
    def count(self) -> int:
        """How many entries there are."""
        return len(self._errors)

    def next(self) -> tuple[float, str, float, float]:
        """Code, text, severity, node."""
        code, text = self._errors.take() or (0, "Queue Is Empty")
        return float(code), text, float(_SEVERITY if code else 0), 1.0


def _delay_s(asked: Any) -> float:
    duration_s = float(asked)
    if not isfinite(duration_s) or duration_s > _DELAY_MAX_s:
        raise ValueError(f"delay: at most {_DELAY_MAX_s:.0f} s")
    return max(duration_s, 0.0)
