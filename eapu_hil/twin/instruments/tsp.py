"""Keithley's TSP: an instrument that runs Lua. What is sent to it is run, by a real Lua 5.1, not recognised.

The instruments have Lua 5.0 with their own tables; what both versions have works here as there. A setting out of range
puts an error into the queue and changes nothing; a wrong name or wrong syntax ends the message.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lupa import lua51

PARAMETER_TOO_BIG = (1101, "Parameter too big")
PARAMETER_TOO_SMALL = (1102, "Parameter too small")
_SYNTAX, _RUNTIME = -285, -286
_SEVERITY = 20
_QUEUE_MAX = 100
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


class Errors:
    """The error queue."""

    def __init__(self) -> None:
        self._entries: deque[tuple[int, str]] = deque(maxlen=_QUEUE_MAX)

    def add(self, error: tuple[int, str]) -> None:
        """Puts an entry in."""
        self._entries.append(error)

    def take(self) -> tuple[int, str] | None:
        """Takes the oldest."""
        return self._entries.popleft() if self._entries else None

    def clear(self) -> None:
        """Empties it."""
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)


class Setting:
    """An attribute of a `Table` that scripts may set: a number in a range, or one of some values."""

    def __init__(
        self,
        default: float,
        least: float | None = None,
        most: float | None = None,
        values: Iterable[float] | None = None,
    ) -> None:
        self._default, self._least, self._most = default, least, most
        self._values = None if values is None else tuple(values)

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, table: Table | None, owner: type | None = None) -> Any:
        return self if table is None else table._values.get(self._name, self._default)

    def __set__(self, table: Table, value: Any) -> None:
        number = float(value)
        if self._values is not None and number not in self._values:
            table._errors.add((1100, f"Parameter out of range; {self._name}"))
        elif self._least is not None and number < self._least:
            table._errors.add(PARAMETER_TOO_SMALL)
        elif self._most is not None and number > self._most:
            table._errors.add(PARAMETER_TOO_BIG)
        else:
            table._values[self._name] = number
            table._changed(self._name)


class Table:
    """A table of the instrument, as a script sees it. A name that it does not have is a runtime error.

    Its methods and the tables in it are the same for ever; a reset changes values, not objects.
    """

    def __init__(self, errors: Errors) -> None:
        self._errors = errors
        self._values: dict[str, float] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        known = name.startswith("_") or isinstance(getattr(type(self), name, None), Setting | property)
        if not known:
            raise AttributeError(f"{name} cannot be set")
        super().__setattr__(name, value)

    def _changed(self, name: str) -> None:
        """After a setting was taken."""

    def _reset(self) -> None:
        self._values.clear()


class Named:
    """Fixed names, such as the tables of a library; nothing can be added."""

    def __init__(self, **content: Any) -> None:
        self.__dict__.update(content)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name} cannot be set")


class Numbered:
    """Things that scripts count from 1."""

    def __init__(self, items: Sequence[Any]) -> None:
        self.items = items

    def __getitem__(self, number: Any) -> Any:
        return self.items[int(number) - 1]

    def __len__(self) -> int:
        return len(self.items)


class Buffer(Table):
    """A reading buffer. readings: for scripts, which count from 1."""

    appendmode = Setting(0, values=(0, 1))
    collectsourcevalues = Setting(0, values=(0, 1))
    collecttimestamps = Setting(0, values=(0, 1))

    def __init__(self, errors: Errors) -> None:
        super().__init__(errors)
        self._kept: list[float] = []
        self._readings = Numbered(self._kept)

    readings = property(lambda self: self._readings)
    n = property(lambda self: len(self._kept))

    def clear(self) -> None:
        """Forgets the readings."""
        self._kept.clear()

    def _take(self, values: Sequence[float], append: bool) -> None:
        if not append:
            self._kept.clear()
        self._kept.extend(values)


class Format(Table):
    """The table `format`."""

    ASCII, REAL32, REAL64 = 1, 2, 3
    NORMAL, BIGENDIAN, LITTLEENDIAN = 0, 0, 1
    data = Setting(1, values=(1, 2, 3))
    asciiprecision = Setting(6, 1, 16)
    byteorder = Setting(1, values=(0, 1))

    def text(self, value: Any) -> str:
        """As `print` shows it."""
        if value is None:
            return "nil"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int | float):
            return f"{value:.{int(self.asciiprecision) - 1}e}"
        return str(value)

    def buffer(self, values: Sequence[float]) -> bytes:
        """As `printbuffer` sends it."""
        if self.data == self.ASCII:
            return ", ".join(self.text(float(value)) for value in values).encode() + b"\n"
        order = "<" if self.byteorder == self.LITTLEENDIAN else ">"
        kind = "f" if self.data == self.REAL32 else "d"
        return b"#0" + struct.pack(f"{order}{len(values)}{kind}", *values) + b"\n"


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
        if isinstance(value, Table | Named | Numbered | _Queue):
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
                if isinstance(item, Table):
                    fixed[place] = self._expose(item)
            return self._table(fixed, value.__getitem__, _cannot_be_set)
        for name in dir(value):
            if not name.startswith("_"):
                held = getattr(value, name)
                if callable(held) or isinstance(held, Table | Named | Numbered):
                    fixed[name] = self._to_lua(held)
        return self._table(
            fixed, lambda name: getattr(value, str(name)), lambda name, new: setattr(value, str(name), new)
        )

    def _from_lua(self, value: Any) -> Any:
        """What a script handed over: its own tables as they are, the instrument's as the objects behind them."""
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
