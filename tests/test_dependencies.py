"""What the packages import is named in pyproject.toml, and `make install` brought it."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("eapu_hil", "drivers", "calibration")
OWN = {"eapu_hil", "eapu_drivers", "eapu_calibration"}
BROUGHT = {"pydantic_core"}  # by pydantic, which needs one version of it and documents its names


@cache
def _imported() -> Mapping[str, Path]:
    """Packages that are not Python's own, by name, and one file each that imports it."""
    found: dict[str, Path] = {}
    for file in sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.append(node.module)
            for name in names:
                found.setdefault(name.partition(".")[0], file.relative_to(ROOT))
    return {name: file for name, file in found.items() if name not in OWN | BROUGHT | sys.stdlib_module_names}


@cache
def _provided() -> Mapping[str, Sequence[str]]:
    """The distributions of each package that is installed: a walk over all their files."""
    return packages_distributions()


def _declared() -> set[str]:
    """Names of the distributions of the base and of every extra, as PyPI compares them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    names = {re.match(r"[\w.-]+", line) for line in (*project["dependencies"], *extras)}
    return {re.sub(r"[-_.]+", "-", name[0]).lower() for name in names if name}


@pytest.mark.parametrize("name", _imported())
def test_what_is_imported_is_declared_and_installed(name: str) -> None:
    file = _imported()[name]
    assert importlib.util.find_spec(name), f"{file} imports {name}, which `make install` did not bring"
    theirs = {re.sub(r"[-_.]+", "-", dist).lower() for dist in _provided().get(name, ())}
    assert theirs & _declared(), f"{file} imports {name} of {theirs}; pyproject.toml does not name it"
