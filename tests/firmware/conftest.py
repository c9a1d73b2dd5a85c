"""Shared by the firmware's tests: its build, which is skipped with what to install where a tool is missing."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

FIRMWARE = Path(__file__).parents[2] / "firmware"


@pytest.fixture(scope="session")
def firmware() -> Path:
    """The folder."""
    return FIRMWARE


@pytest.fixture(scope="session")
def need() -> Callable[..., None]:
    """Skips the test where a tool is missing: `need("arm", "qemu")`; the names are those of tools/need.sh."""

    def check(*tools: str) -> None:
        asked = subprocess.run(
            [FIRMWARE / "tools" / "need.sh", "this test", *tools], capture_output=True, text=True, check=False
        )
        if asked.returncode != 0:
            pytest.skip(asked.stderr.strip())

    return check


@pytest.fixture(scope="session")
def make() -> Callable[..., str]:
    """Runs make in the firmware's folder and returns what it printed; the test fails where it does."""

    def run(*arguments: str) -> str:
        done = subprocess.run(
            ["make", "-s", "-C", FIRMWARE, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"make {' '.join(arguments)}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
        return done.stdout

    return run
