"""The state of a run: each word means one thing, everywhere."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eapu_hil.base.locks import own
from eapu_hil.training.run_state import STATES, Ending, SILENT_s, standing, stands_still

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("ending", "state"),
    [
        (None, "crashed"),
        (Ending("success"), "done"),
        (Ending("stopped"), "stopped"),
        (Ending("failed", "the link is lost"), "failed"),
        (Ending("diverged", "the loss is nan"), "failed"),
        (Ending("damaged", "start.yaml: checksum"), "damaged"),
    ],
)
def test_without_a_process_the_run_itself_says_how_it_ended(
    tmp_path: Path, ending: Ending | None, state: str
) -> None:
    found = standing(tmp_path / "run.lock", 100.0, ending)
    assert (found.state, found.process) == (state, None)
    assert found.note == (ending.error if ending else found.note)
    assert bool(found.note) == (state not in ("done", "stopped"))


def test_with_a_process_it_is_running_until_it_is_silent(tmp_path: Path) -> None:
    lock = tmp_path / "run.lock"
    with own(lock, "run"):
        assert standing(lock, SILENT_s - 1, None).state == "running"
        assert standing(lock, None, None).state == "running"
        assert standing(lock, SILENT_s + 1, None).state == "frozen"
        assert standing(lock, 1.0, None, pause_asked=True).state == "running"
        assert "at the end of this step" in standing(lock, 1.0, None, pause_asked=True).note
        assert standing(lock, SILENT_s + 1, None, paused=True, pause_asked=True).state == "paused"
        # it was told to go on, or was killed while it waited and goes on
        assert standing(lock, 1.0, None, paused=True).state == "running"


@contextmanager
def suspended(lock: Path) -> Iterator[int]:
    """A process that holds a lock and stands still."""
    code = (
        "import os, pathlib, signal, sys\nfrom eapu_hil.base.locks import own\n"
        "with own(pathlib.Path(sys.argv[1]), 'run'):\n    os.kill(os.getpid(), signal.SIGSTOP)\n"
    )
    with subprocess.Popen([sys.executable, "-P", "-c", code, str(lock)]) as process:
        while not stands_still(process.pid):
            assert process.poll() is None
        yield process.pid
        process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux shows them")
def test_a_process_that_was_suspended_is_frozen_at_once(tmp_path: Path) -> None:
    with suspended(tmp_path / "run.lock") as process:
        found = standing(tmp_path / "run.lock", 0.0, None, paused=True, pause_asked=True)
    assert (found.state, found.process) == ("frozen", process)
    assert "SIGSTOP" in found.note


def test_the_manual_says_the_same() -> None:
    text = (ROOT / "docs/runs.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", text, re.MULTILINE))
    assert rows == dict(STATES)
    words = (ROOT / "eapu_hil/live/page/run.js").read_text(encoding="utf-8")
    shown = re.search(r"const STATES = \{(.*?)\}", words, re.DOTALL)
    assert shown is not None
    assert set(re.findall(r"(\w+): \"", shown[1])) == set(STATES)
