"""Keithley's TSP: an instrument that runs Lua. What is sent to it is run, by a real Lua 5.1, not recognised.

The instruments have Lua 5.0 with their own tables; what both versions have works here as there. A setting out of range
puts an error into the queue and changes nothing; a wrong name or wrong syntax ends the message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lupa import lua51

from eapu_drivers.simulated.instruments.tsp_tables import Errors, Format, Named, Numbered, TspTable

_SYNTAX, _RUNTIME = -285, -286
_SEVERITY = 20
_INSTRUCTIONS_MAX = 50_000_000  # a script that runs longer is taken for one that never ends
_REMOVED = ("os", "io", "require", "package", "dofile", "loadfile", "python", "module")
# The first compiles a message, the second makes a script that can be called, the third a table of the instrument.
# What is Python's is handed to Lua once, and stays there: with lupa 2.8 an object that was handed over anew each time
# was now and then another one on the side of Lua.
_TOOLS = """
local bound = ...
local hook = debug.sethook
local too_long = function() error("the script never ends", 0) end
debug = nil
return function(source, name)
  local run, problem = loadstring(source, name)
  if run == nil then return problem end
  hook(too_long, "", bound)
  return nil, run
end, function(run)
  return setmetatable({run = run}, {__call = run})
end, function(fixed, get, set)
  return setmetatable({}, {
    __index = function(_, name)
      local value = fixed[name]
      if value == nil then value = get(name) end
      return value
    end,
    __newindex = function(_, name, value) set(name, value) end,
  })
end
"""
_ID = "python object"


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
        self._answer = b""
        self._timer_s = now_s()
        self._now_s = now_s
        self._lua = lua51.LuaRuntime(unpack_returned_tuples=True, register_eval=False, encoding="latin-1")
        names = self._lua.globals()
        self._compile, self._script, self._table = self._lua.execute(_TOOLS, _INSTRUCTIONS_MAX)
        self._exposed: list[Any] = []
        for name in _REMOVED:
            names[name] = None
        given: dict[str, Any] = {
            **tables,
            "print": self._print,
            "printnumber": self._print,
            "printbuffer": self._print_buffer,
            "delay": lambda duration_s: elapse(max(float(duration_s), 0.0)),
            "waitcomplete": lambda *_: None,
            "opc": lambda: None,
            "errorqueue": _Queue(errors),
            "format": self.format,
            "script": Named(delete=lambda name: names.__setitem__(name, None)),
            "timer": Named(reset=self._reset_timer, measure=Named(t=lambda: self._now_s() - self._timer_s)),
        }
        for name, value in given.items():
            names[name] = self._to_lua(value)
        self._globals = names

    def _to_lua(self, value: Any) -> Any:
        """A table or a function of the instrument as Lua's own; numbers and texts as they are."""
        if isinstance(value, TspTable | Named | Numbered | _Queue):
            return self._expose(value)
        if callable(value) and lua51.lua_type(value) is None:
            return lambda *given: self._to_lua(value(*map(self._from_lua, given)))
        return value

    def _expose(self, value: Any) -> Any:
        number = len(self._exposed)
        self._exposed.append(value)
        fixed = self._lua.table()
        fixed[_ID] = number
        if isinstance(value, Numbered):
            for place, item in enumerate(value.items, start=1):
                if isinstance(item, TspTable):
                    fixed[place] = self._expose(item)
            return self._table(fixed, value.__getitem__, _cannot_be_set)
        for name in dir(value):
            if not name.startswith("_"):
                held = getattr(value, name)
                if callable(held) or isinstance(held, TspTable | Named | Numbered):
                    fixed[name] = self._to_lua(held)
        return self._table(
            fixed, lambda name: getattr(value, str(name)), lambda name, new: setattr(value, str(name), new)
        )

    def _from_lua(self, value: Any) -> Any:
        """An argument from a script: its own tables as they are, the instrument's as the objects behind them."""
        number = value[_ID] if lua51.lua_type(value) == "table" else None
        return value if number is None else self._exposed[int(number)]

    def handle(self, message: str) -> bytes:
        """One line: a chunk of Lua, a part of a script, or one of the common commands."""
        self._answer = b""
        line = message.strip()
        if self._loading is not None:
            self._load_more(line)
        elif line.startswith("*"):
            self._run_common(line)
        elif line.startswith(("loadscript", "loadandrunscript")):
            word, _, name = line.partition(" ")
            self._loading = ("" if word == "loadandrunscript" and not name else name.strip(), [])
            self._runs_at_once = word == "loadandrunscript"
        elif line:
            self._run(line, "message")
        return self._answer

    def add_error(self, error: tuple[int, str]) -> None:
        """Puts an entry into the error queue."""
        self.errors.add(error)

    def _load_more(self, line: str) -> None:
        assert self._loading is not None
        name, lines = self._loading
        if line != "endscript":
            lines.append(line)
            return
        self._loading = None
        problem, run = self._compiled("\n".join(lines), name or "anonymous")
        if problem is not None:
            self.errors.add((_SYNTAX, problem))
            return
        if name:
            self._globals[name] = self._script(run)
        if self._runs_at_once:
            self._call(run)

    def _run_common(self, line: str) -> None:
        act = self._common.get(line.upper())
        if act is None:
            self.errors.add((_SYNTAX, f"TSP Syntax error at line 1: unexpected symbol near `*'; {line}"))
            return
        answer = act()
        if answer is not None:
            self._answer += answer.encode() + b"\n"

    def _run(self, source: str, name: str) -> None:
        problem, run = self._compiled(source, name)
        if problem is not None:
            self.errors.add((_SYNTAX, problem))
        else:
            self._call(run)

    def _compiled(self, source: str, name: str) -> tuple[str | None, Any]:
        found = self._compile(source, name)
        if isinstance(found, tuple):
            return None, found[1]
        return f"TSP Syntax error: {found}", None

    def _call(self, run: Any) -> None:
        try:
            run()
        except (lua51.LuaError, AttributeError, IndexError, TypeError, ValueError) as error:
            text = " ".join(str(error).splitlines()[0].split())
            self.errors.add((_RUNTIME, f"TSP Runtime error: {text}"))

    def _print(self, *values: Any) -> None:
        self._answer += "\t".join(map(self.format.text, values)).encode("latin-1") + b"\n"

    def _print_buffer(self, first: float, last: float, *buffers: Any) -> None:
        rows = [[float(buffer[k]) for buffer in buffers] for k in range(int(first), int(last) + 1)]
        self._answer += self.format.buffer([value for row in rows for value in row])

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


def _cannot_be_set(name: Any, _: Any) -> None:
    raise AttributeError(f"{name} cannot be set")
