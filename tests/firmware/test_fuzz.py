"""The fuzzers find nothing. EAPU_FUZZ_SECONDS: for how long each of them looks, 3 s where it is not set."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SECONDS = int(os.environ.get("EAPU_FUZZ_SECONDS", "3"))


@pytest.mark.timeout(SECONDS + 240)
@pytest.mark.parametrize("name", ["frame", "board", "controller"])
def test_nothing_is_found(need: Callable[..., None], make: Callable[..., str], name: str) -> None:
    need("fuzz")
    printed = make("fuzz", f"FUZZERS={name}", f"FUZZ_SECONDS={SECONDS}")
    assert f"fuzz_{name}: " in printed
    assert "nothing found" in printed


def test_seeds_are_those_of_the_message_table(firmware: Path) -> None:
    command: list[str | Path] = [sys.executable, firmware / "tests" / "seeds.py", "--check"]
    same = subprocess.run(command, check=False).returncode == 0
    assert same, "the message table changed: run python firmware/tests/seeds.py"
