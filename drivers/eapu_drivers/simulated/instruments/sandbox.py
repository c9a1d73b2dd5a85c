"""Lua for strangers: it sees plain values, tables and functions of Lua, never an object of Python, and has limits.

A script that takes too many instructions, too much time or memory, or prints too much, is ended; the state it leaves
is kept, unless that is so large that the next one would have no room.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from importlib import resources
from itertools import islice
from typing import Any

import numpy as np
from lupa import lua51

from eapu_hil.base.errors import one_line

TIME_MAX_s = 10.0  # of the processor, a message
_STEP, _STEPS_MAX = 1000, 50_000  # 50 million instructions
_CALL_STEPS = 0.1  # half a million calls of the instrument's functions
_KEPT_KB = 16 * 1024
_MEMORY_MAX = 64 << 20  # far above: Lua may not run out of memory while Python answers it
_TEXT_MAX = 1_000_000  # letters, of `string.rep` and of patterns
_MATCHING_MAX = 10_000_000  # tries of one pattern, or of one text, of a hundred letters each
_OBJECTS_MAX = 2000
_VALUES_MAX = 100_000
_SOURCE = "sandbox.lua"
_NAME_SHOWN = 60


class Stop(Exception):  # noqa: N818 - it ends a message, whatever the script does about it
    """Ends the message that runs. The text says why."""


class ScriptTable:
    """A table of a script's own, as functions of the instrument are given it."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def values(self) -> list[Any]:
        """What it holds: numbers and texts. Raises ValueError for more than an instrument takes."""
        found = list(islice(self._table.values(), _VALUES_MAX + 1))
        if len(found) > _VALUES_MAX:
            raise ValueError(f"a table of more than {_VALUES_MAX} values")
        return found


class Sandbox:
    """One Lua. tables: types whose public names scripts may use; numbered: those that they count from 1.

    Of a public name they get a number, a text, a function, or another such table, and nothing else.
    """

    def __init__(self, tables: tuple[type[Any], ...], numbered: type[Any]) -> None:
        self._tables, self._numbered = (*tables, numbered), numbered
        self._lua = lua51.LuaRuntime(
            unpack_returned_tuples=True,
            register_eval=False,
            register_builtins=False,
            attribute_filter=_refuse,
            encoding="latin-1",
            max_memory=_MEMORY_MAX,
        )
        source = resources.files(__package__).joinpath(_SOURCE).read_text(encoding="utf-8")
        self._tools = self._lua.execute(
            source, _STEP, _STEPS_MAX, _CALL_STEPS, _KEPT_KB, _TEXT_MAX, _MATCHING_MAX, self._overdue
        )
        self._exposed: list[Any] = []
        self._known: dict[int, Any] = {}
        self._started_s = time.thread_time()
        self._raised: BaseException | None = None

    def define_own(self, name: str, value: Any) -> None:
        """Sets a global name of the instrument: what a script does to it lasts for that message."""
        self._tools.define_own(name, self._to_lua(value))

    def forget(self, name: str) -> None:
        """Deletes a global name of a script."""
        self._tools.define(name, None)

    def define_script(self, name: str, run: Any) -> None:
        """Sets a global name to a compiled script, which can be called, also by its `run`."""
        self._tools.define(name, self._tools.script(run))

    def compiled(self, source: str, name: str) -> tuple[str | None, Any]:
        """What is wrong with a chunk, or None and what can be run."""
        found = self._tools.compiled(source, name)
        return (None, found[1]) if isinstance(found, tuple) else (str(found), None)

    def run(self, act: Any) -> tuple[str | None, bool]:
        """Runs a compiled chunk: why it ended early, None where it did not; whether its Lua has no room any more."""
        self._started_s = time.thread_time()
        try:
            problem, full = self._tools.run(act)
        except lua51.LuaError as error:
            problem, full = str(error) or "out of memory", True
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised
        return problem, full or len(self._exposed) >= _OBJECTS_MAX

    def _overdue(self) -> bool:
        return time.thread_time() - self._started_s > TIME_MAX_s

    def _guarded(self, act: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
        """`act` for the side of Lua, which may get no exception of Python: whether it went well; results or why not."""

        def call(*given: Any) -> tuple[Any, ...]:
            try:
                if self._overdue():
                    raise Stop("the script takes too long")
                result = act(*map(self._from_lua, given))
                results = result if isinstance(result, tuple) else (result,)
                return True, *map(self._to_lua, results)
            except Stop as stop:
                return None, _latin(str(stop))
            except Exception as error:  # noqa: BLE001 - a wrong argument may raise anything in the functions
                return False, _latin(one_line(error))
            except BaseException as error:  # noqa: BLE001 - Ctrl-C: raised again once Lua has ended
                self._raised = error
                return None, "stopped"

        return call

    def _to_lua(self, value: Any) -> Any:
        match value:
            case None | bool():
                return value
            case int() | float():
                return float(value)
            case str():
                return _latin(value)
            case ScriptTable():
                return value._table
            case np.generic():
                return self._to_lua(value.item())
            case _ if isinstance(value, self._tables):
                return self._known[id(value)] if id(value) in self._known else self._expose(value)
            case _ if callable(value):
                return self._tools.guarded(self._guarded(value))
        raise TypeError(f"{type(value).__name__} is nothing that a script can have")

    def _from_lua(self, value: Any) -> Any:
        """An argument from a script: its own tables as such, the instrument's as the objects behind them."""
        kind = lua51.lua_type(value)
        if kind is None:
            return value
        if kind != "table":
            raise TypeError(f"a {kind} cannot be given to the instrument")
        number = self._tools.number(value)
        return ScriptTable(value) if number is None else self._exposed[int(number)]

    def _expose(self, value: Any) -> Any:
        if len(self._exposed) >= _OBJECTS_MAX:
            raise Stop("out of memory: too many buffers")
        self._exposed.append(value)
        number, fixed = len(self._exposed) - 1, self._lua.table()
        if isinstance(value, self._numbered):
            get, refuse = self._guarded(value.__getitem__), self._guarded(_cannot_be_set)
            made = self._tools.exposed(number, fixed, get, refuse)
        else:
            names = frozenset(name for name in dir(value) if not name.startswith("_"))
            made = self._tools.exposed(
                number,
                fixed,
                self._guarded(lambda name: getattr(value, _known(name, names, "is not there"))),
                self._guarded(lambda name, new: setattr(value, _known(name, names, "cannot be set"), new)),
            )
            for name, held in _lasting(value, sorted(names), self._tables):
                fixed[name] = self._to_lua(held)
        self._known[id(value)] = made
        return made


def _lasting(value: Any, names: Iterable[str], tables: tuple[type, ...]) -> Iterable[tuple[str, Any]]:
    """The functions of an object and the tables in it, which are the same for ever."""
    for name in names:
        held = getattr(value, name)
        if callable(held) or isinstance(held, tables):
            yield name, held


def _known(name: Any, names: frozenset[str], fault: str) -> str:
    if not isinstance(name, str) or name not in names:
        raise AttributeError(f"{str(name)[:_NAME_SHOWN]} {fault}")
    return name


def _cannot_be_set(name: Any, _: Any) -> None:
    raise AttributeError(f"{str(name)[:_NAME_SHOWN]} cannot be set")


def _latin(text: str) -> str:
    return text.encode("latin-1", "replace").decode("latin-1")


def _refuse(_object: object, name: object, _setting: bool) -> str:
    raise AttributeError(f"{name} is out of reach")
