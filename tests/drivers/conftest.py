"""Shared by the tests of drivers: packages of other people, as an installation leaves them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

Install = Callable[[str, Mapping[str, str], Mapping[str, Mapping[str, str]]], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """`install("own-lab", {"own_lab.py": text}, {"eapu_hil.switches": {"own": "own_lab:Matrix"}})`."""
    modules = set(sys.modules)

    def make(package: str, files: Mapping[str, str], offered: Mapping[str, Mapping[str, str]]) -> None:
        site = tmp_path / f"site-{package}"
        metadata = site / f"{package.replace('-', '_')}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = []
        for group, named in offered.items():
            lines += [f"[{group}]", *(f"{name} = {target}" for name, target in named.items())]
        (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for name, text in files.items():
            (site / name).write_text(text)
        monkeypatch.syspath_prepend(site)

    yield make
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    importlib.invalidate_caches()
