"""Output that reaches nobody: one line where it can be said, an exit code, and never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-P", "-m", "eapu_hil.cli"]


def said(line: str, done: subprocess.CompletedProcess[str]) -> None:
    assert done.stderr.endswith(line)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", [["list", "rules"], ["list", "rules", "--json"]])
def test_a_full_disk(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    said(
        "eapu-hil: error: stdout: what was to be printed cannot be written (No space left on device)\n", done
    )


@pytest.mark.skipif(os.name != "posix", reason="pipes of other systems")
@pytest.mark.parametrize("arguments", [["list", "rules"], ["list", "rules", "--json"]])
def test_a_pipe_that_nobody_reads(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        done = subprocess.run(
            [*COMMAND, *arguments], stdout=pipe, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    said("eapu-hil: error: stdout: what was to be printed cannot be written (Broken pipe)\n", done)


@pytest.mark.skipif(os.name != "posix", reason="pipes of other systems")
def test_an_error_that_nobody_reads() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        done = subprocess.run([*COMMAND, "list", "rulse"], stdout=pipe, stderr=pipe, check=False)
    assert done.returncode == 2
