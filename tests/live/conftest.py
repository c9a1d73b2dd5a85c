"""Chips that are ready, made once: commissioning takes seconds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny import BENCH

from eapu_hil.bench import open_bench

pytest.importorskip("starlette", reason="the extra `live` is not installed")


@pytest.fixture(scope="session")
def ready_chip(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Puts a copy of a commissioned chip of the twin at a path."""
    made = tmp_path_factory.mktemp("ready") / "chip"
    with open_bench(BENCH, chip_dir=made):
        pass

    def copy(path: Path) -> Path:
        shutil.copytree(made, path)
        return path

    return copy
