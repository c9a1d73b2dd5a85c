"""What the command line imports before it does anything: a person waits for that at every call."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Of packages: those that no answer about arguments needs, and those that a bench needs only for some of its work.
FOR_FILES_AND_ARRAYS = {"numpy", "pydantic", "yaml", "filelock", "rich", "shtab"}
FOR_SOME_WORK = {
    "scipy", "numba", "torch", "matplotlib", "sklearn", "skimage", "PIL", "jinja2", "rich", "shtab", "pyvisa", "serial",
    "lupa", "cobs", "eapu_calibration", "eapu_drivers",
}  # fmt: skip
# One of each module of commands. `sim` is none of them: its devices are those of the installed drivers.
HELP = ["", "apply", "compare", "read", "list", "calibrate", "passport show", "discover"]

PROGRAM = """
import sys
from eapu_hil.cli.parser import main
for words in {calls!r}:
    try:
        code = main(words.split())
    except SystemExit as end:
        code = end.code
    assert code == {code}, (words, code)
print(*sorted(set({heavy!r}) & set(sys.modules)), file=sys.stderr)
"""


def imported(calls: list[str], heavy: set[str], where: Path, code: int = 0) -> str:
    """Those of the modules `heavy` that these calls of `eapu-hil`, in one new process, have imported."""
    program = PROGRAM.format(calls=calls, heavy=sorted(heavy), code=code)
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, cwd=where, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()[-1]


def test_help_waits_for_no_package(tmp_path: Path) -> None:
    calls = [*(f"{name} --help" for name in HELP), "--version"]
    assert (
        imported(calls, FOR_FILES_AND_ARRAYS | FOR_SOME_WORK - {"eapu_calibration", "eapu_drivers"}, tmp_path)
        == ""
    )
    assert imported(["--help"], FOR_SOME_WORK, tmp_path) == ""


@pytest.mark.parametrize("words", ["read", "train", "no-such-command"])
def test_neither_does_a_mistake_in_the_arguments(tmp_path: Path, words: str) -> None:
    assert imported([words], FOR_FILES_AND_ARRAYS | FOR_SOME_WORK, tmp_path, code=2) == ""


def test_reading_a_twin_waits_for_what_reads_and_for_nothing_else(tmp_path: Path) -> None:
    assert imported(["read twin --block 0:2,0:2"], FOR_SOME_WORK, tmp_path) == ""
