"""Looks into installed packages without running a line of them."""

from __future__ import annotations

import ast
import importlib.util
import sys
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path


def folder_of(package: str) -> Path | None:
    """The folder of a package; None where there is none on this disk."""
    spec = _spec(package)
    locations = list(spec.submodule_search_locations or ()) if spec is not None else []
    return Path(locations[0]) if locations else None


def first_line_of(reference: str) -> str:
    """The first line of the docstring of `package.module:function`, or of `package.module`, read from its source.

    "" where there is none.
    """
    module, _, function = reference.partition(":")
    return _first_lines(module, tuple(sys.path)).get(function, "")


@lru_cache  # a module is read once for all commands in it
def _first_lines(module: str, _path: tuple[str, ...]) -> dict[str, str]:
    """The first lines of the docstrings of a module, "", and of its functions. _path: where Python looks for it now."""
    spec = _spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return {}
    try:
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return {}
    nodes = {"": tree} | {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    return {name: (ast.get_docstring(node) or "").partition("\n")[0].strip() for name, node in nodes.items()}


def _spec(module: str) -> ModuleSpec | None:
    """Where a module lies. `importlib.util.find_spec` would import the packages around it."""
    first, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(first)
    except (ImportError, ValueError):
        return None
    name = first
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        name = f"{name}.{part}"
        spec = PathFinder.find_spec(name, spec.submodule_search_locations)
    return spec
