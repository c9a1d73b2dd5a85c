"""The live page, the run beside it, or both are killed at any moment: nothing is lost, and a page says what it sees."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from torture_counts import SILENT, Counts
from torture_files import EXPERIMENT

from eapu_hil.hal import HilError
from eapu_hil.training.runs import last_steps, read_metrics, read_writes

COMMAND = [sys.executable, "-P", "-m", "eapu_hil.cli"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
WITHIN_s = 60.0
VICTIMS = ("page", "run", "page and run")


def try_page(folder: Path, trials: int, random: np.random.Generator) -> Counts:
    """One run, which is resumed as often as it is killed, with a page beside it; `trials` kills."""
    counts = Counts("killed pages and runs", trials)
    runs = folder / "watched"
    shutil.rmtree(runs, ignore_errors=True)
    (runs / "chips").mkdir(parents=True)
    (folder / "endless.yaml").write_text(yaml.safe_dump({**EXPERIMENT, "steps": 10**6}))
    before = 0
    for number in range(trials):
        victim = VICTIMS[number % len(VICTIMS)]
        wrong, before = _trial(folder / "endless.yaml", runs, victim, random, before)
        counts.add(SILENT if wrong else f"whole after a kill of {victim}", f"{victim}: {wrong}")
        if wrong:
            break
    return counts


def _trial(
    experiment: Path, runs: Path, victim: str, random: np.random.Generator, before: int
) -> tuple[str, int]:
    """What is wrong, and the steps that the run has taken by then. before: those that it had taken."""
    run = runs / "mine"
    begun = (run / "start.yaml").exists()
    train = ["resume", str(run)] if begun else ["train", str(experiment), "--out", str(run)]
    with _started(train) as training, _started(["live", str(runs), "--port", "0"]) as page:
        url = _url(page)
        if not _until(lambda: _steps(run) > before and _state(url) == "running"):
            return f"the run does not go on: {_state(url)}", before
        time.sleep(float(random.uniform(0.0, 1.0)))
        killed = [
            process for name, process in (("run", training), ("page", page)) if victim in (name, "both")
        ]
        for process in killed:
            process.kill()
            process.wait()
        if victim == "page":
            here = _steps(run)
            if not _until(lambda: _steps(run) > here):
                return "the run stands still without its page", before
            with _started(["live", str(runs), "--port", "0"]) as again:
                seen = _seen(_url(again), "running")
        elif victim == "run":
            seen = _seen(url, "crashed")
        else:
            with _started(["live", str(runs), "--port", "0"]) as again:
                seen = _seen(_url(again), "crashed")
        training.kill()
        training.wait()
    return seen or _wrong_in(run, before), _steps(run)


def _wrong_in(run: Path, before: int) -> str:
    """What is lost, torn or double; "" where all is whole."""
    try:
        steps = [line["step"] for line in read_metrics(run, "step")]
        records = read_writes(run)
        last = last_steps(run)
    except HilError as error:
        return str(error)
    if steps != list(range(1, len(steps) + 1)):
        return "steps are missing or double"
    if len(steps) < before:
        return f"{len(steps)} steps are there; {before} were taken"
    if len(records) and last.writes is not None and last.writes > len(steps) + 1:
        return f"writes of step {last.writes}, lines up to step {len(steps)}"
    return ""


@contextlib.contextmanager
def _started(arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE
        if arguments[0] == "live"
        else subprocess.DEVNULL,  # a full pipe would hold it up
        text=True,
        env=ENVIRONMENT,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _url(page: subprocess.Popen[str]) -> str:
    assert page.stderr is not None
    found = re.search(r"http://\S+", page.stderr.readline())
    assert found is not None, "the page has not started"
    return found[0]


def _state(url: str) -> str:
    with urllib.request.urlopen(f"{url}api/runs", timeout=WITHIN_s) as answer:
        told: list[dict[str, Any]] = json.load(answer)["runs"]
    return next((str(line["state"]) for line in told if line["id"] == "mine"), "not listed")


def _seen(url: str, wanted: str) -> str:
    return "" if _until(lambda: _state(url) == wanted) else f"the page says {_state(url)}, not {wanted}"


def _steps(run: Path) -> int:
    """The last step that a line stands for."""
    try:
        return max((line["step"] for line in read_metrics(run, "step")), default=0)
    except HilError:  # it is being made
        return 0


def _until(asked: Any) -> bool:
    end_s = time.monotonic() + WITHIN_s
    while not asked():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.1)
    return True
