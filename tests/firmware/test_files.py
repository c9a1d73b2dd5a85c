"""The files of the firmware: they include and call each other in one direction, and hold nothing that nobody calls."""

from __future__ import annotations

import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

FOLDERS = ("core", "ports/common", "ports/posix", "ports/mps2", "ports/stm32f405")
_INCLUDE = re.compile(r'^#include "(\w+)\.h"', re.MULTILINE)
_FUNCTION = re.compile(r"^(?!static\b)\w[\w *]*?\b(\w+)\([^;{}]*\)\n\{", re.MULTILINE)
_CALL = re.compile(r"\b(\w+)\(")


def _code(path: Path) -> str:
    return re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)


def _modules(folder: Path) -> dict[str, str]:
    """Header and source of each module, together, by its name."""
    modules: dict[str, str] = {}
    for path in sorted([*folder.glob("*.h"), *folder.glob("*.c")]):
        modules[path.stem] = modules.get(path.stem, "") + _code(path)
    return modules


def _functions(folder: Path) -> dict[str, str]:
    """The module of each function that other modules may call."""
    return {name: path.stem for path in folder.glob("*.c") for name in _FUNCTION.findall(_code(path))}


@pytest.fixture
def interface(firmware: Path) -> set[str]:
    """What a port implements for the core: whoever calls it does not know the port."""
    return {
        name for header in ("afe.h", "port.h") for name in _CALL.findall(_code(firmware / "core" / header))
    }


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_circle(firmware: Path, interface: set[str], folder: str) -> None:
    modules, functions = _modules(firmware / folder), _functions(firmware / folder)
    graph = {}
    for name, text in modules.items():
        included = modules.keys() & set(_INCLUDE.findall(text))
        called = {functions[call] for call in functions.keys() & set(_CALL.findall(text)) - interface}
        graph[name] = (included | called) - {name}
    assert any(graph.values())
    order = list(TopologicalSorter(graph).static_order())  # CycleError names the circle
    assert set(order) == modules.keys()


def test_no_header_has_a_name_of_the_c_library(firmware: Path) -> None:
    """gcc's <limits.h> found ours, and took what that includes for headers of the system."""
    c11 = """assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg
        stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype"""
    headers = {path.stem for folder in (*FOLDERS, "tests") for path in (firmware / folder).glob("*.h")}
    assert "link" in headers
    assert headers & set(c11.split()) == set()


def test_every_function_of_the_core_is_called(firmware: Path) -> None:
    functions = _functions(firmware / "core")
    assert {"decide", "controller_poll", "requests_start", "job_step", "frame_encode"} <= functions.keys()
    code = "".join(_code(path) for folder in FOLDERS for path in (firmware / folder).glob("*.c"))
    found = _CALL.findall(code)
    assert [name for name in functions if found.count(name) < 2] == []
