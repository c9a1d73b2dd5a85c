"""stdout and stderr that are closed or full, limits of the system, a parent that is killed: no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no shell of that kind there")


def _shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    whole = f"exec {sys.executable} -P -m eapu_hil.cli {command}"
    return subprocess.run(["sh", "-c", whole], capture_output=True, text=True, cwd=folder, check=False)


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("list rules >&-", 2, "stdout is closed"),
        (
            "list rules > /dev/full",
            1,
            "stdout: what was to be printed cannot be written (No space left on device)",
        ),
        (
            "list rules --json > /dev/full",
            1,
            "stdout: what was to be printed cannot be written (No space left on device)",
        ),
        ("nonsense --json > /dev/full", 2, "nonsense"),
    ],
)
def test_a_stdout_that_takes_nothing_is_told(tmp_path: Path, command: str, code: int, said: str) -> None:
    done = _shell(command, tmp_path)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert said in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("command", ["list rules", "list rules --json", "read twin --block 0:1,0:2"])
def test_a_pipe_that_nobody_reads_is_told(tmp_path: Path, command: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "eapu_hil.cli", *command.split()],
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.endswith(
        "eapu-hil: error: stdout: what was to be printed cannot be written (Broken pipe)\n"
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_an_error_that_nobody_reads(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-P", "-m", "eapu_hil.cli", "list", "rulse"]
    with os.fdopen(writing, "w") as pipe:
        done = subprocess.run(command, stdout=pipe, stderr=pipe, cwd=tmp_path, check=False)
    assert done.returncode == 2


@pytest.mark.parametrize("stderr", [">&-", "> /dev/full"])
def test_a_stderr_that_takes_nothing_ends_nothing(tmp_path: Path, stderr: str) -> None:
    done = _shell(f"read twin --block 0:1,0:2 2{stderr}", tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("row,col")


def test_too_many_open_files_are_told(tmp_path: Path) -> None:
    limited = f"ulimit -n 24; exec {sys.executable} -P -m eapu_hil.cli train digits --set steps=1 --out a"
    done = subprocess.run(["sh", "-c", limited], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode in (1, 2)
    assert "Too many open files" in done.stderr
    assert "Traceback" not in done.stderr


PARENT = textwrap.dedent(
    """
    import subprocess, sys, time
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "eapu_hil.cli.attached", "train", "digits", "--set", "steps=100000", "--set",
         "rule={name: digital}", "--out", "a"], stdin=subprocess.PIPE)
    print(child.pid, flush=True)
    time.sleep(600)
    """
)


def test_a_run_of_a_batch_does_not_outlive_it(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-P", "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        metrics = tmp_path / "a" / "metrics.jsonl"
        while not metrics.is_file() or not metrics.stat().st_size:
            time.sleep(0.05)
        parent.send_signal(signal.SIGKILL)
    while _runs(child):
        time.sleep(0.05)
    assert '"exit_status": "stopped"' in (tmp_path / "a" / "summary.json").read_text()
    assert not list(tmp_path.rglob("*.part"))


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")
