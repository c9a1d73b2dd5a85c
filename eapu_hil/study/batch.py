"""Many training runs side by side, each in a process of its own: `eapu-hil train`, or `resume` where one was begun.

A process for each keeps runs apart as people's are: one that fails or is killed grounds its own array and leaves a run
directory that can be gone on with. A run that has ended, well or because training diverged, is not repeated. No run
outlives the process that started it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from eapu_hil.base.libraries import allowed_libraries
from eapu_hil.base.stopping import raise_if_stopped
from eapu_hil.base.storage import read_json, storage_errors
from eapu_hil.hal import HilError
from eapu_hil.study.compare import own_runs, require_same_experiment
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.runs import DIVERGED, read_summary, succeeded

_DIVERGED = "failed.json"  # in a run directory that an earlier version made: what a run that diverged said
_POLL_s = 0.2


@dataclass(frozen=True)
class Ended:
    """How a run ended. summary: of a run that succeeded. error: one line, of one that failed."""

    summary: dict[str, Any] | None
    error: str = ""


def run_all(
    experiments: Mapping[str, ExperimentConfig],
    directory: Path,
    jobs: int,
    progress: Callable[[str, Ended], None],
) -> dict[str, Ended]:
    """Trains each of `experiments` in `directory`/NAME, `jobs` at a time, and returns how each ended.

    progress: called when a run has ended, also for those that had before. Raises ConfigError before anything is trained
    when a run of another configuration is in the way or another process trains there. Ctrl-C and SIGTERM stop all
    processes and wait for them.
    """
    with own_runs(directory):
        return _run_all(experiments, directory, jobs, progress)


def _run_all(
    experiments: Mapping[str, ExperimentConfig],
    directory: Path,
    jobs: int,
    progress: Callable[[str, Ended], None],
) -> dict[str, Ended]:
    found = {name: ended(directory / name, experiment) for name, experiment in experiments.items()}
    for name, its in found.items():
        if its is not None:
            progress(name, its)
    waiting = [name for name, its in found.items() if its is None]
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                name = waiting.pop(0)
                running[name] = _start(experiments[name], directory / name, alone=jobs == 1)
            raise_if_stopped()
            time.sleep(_POLL_s)
            for name in [name for name, process in running.items() if process.poll() is not None]:
                code = _closed(running.pop(name)).returncode
                its = _judge(directory / name, experiments[name], code)
                found[name] = its
                progress(name, its)
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            _closed(process).wait()
    return {name: its for name, its in found.items() if its is not None}


def ended(run_dir: Path, experiment: ExperimentConfig) -> Ended | None:
    """How the run in `run_dir` ended; None if it has not, or is not there. Raises ConfigError for another
    experiment.
    """
    if not run_dir.exists():
        return None
    require_same_experiment(run_dir, experiment)
    before = read_json(run_dir / _DIVERGED)
    if before is not None:
        return Ended(None, str(before["error"]))
    summary = read_summary(run_dir) or {}
    if succeeded(summary):
        return Ended(summary)
    return Ended(None, str(summary["error"])) if summary.get("exit_status") == DIVERGED else None


def _start(experiment: ExperimentConfig, run_dir: Path, alone: bool) -> subprocess.Popen[bytes]:
    command: Sequence[str | Path]
    if run_dir.exists():
        command = ["resume", run_dir]
    else:
        file = _beside(run_dir, ".yaml")
        with storage_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(
                yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False), encoding="utf-8"
            )
        command = ["train", file, "--out", run_dir]
    allowed = [text for module in experiment.modules for text in ("--allow-module", module)]
    allowed += [text for library in allowed_libraries() for text in ("--allow-library", library)]
    # Several processes with several threads each would only stand in each other's way.
    environment = os.environ if alone else {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with storage_errors(run_dir), _beside(run_dir, ".log").open("wb") as log:
        return subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "eapu_hil.cli.attached",
                *command,
                *allowed,
            ],  # -P: nothing from where we stand
            stdin=subprocess.PIPE,  # never written to: it ends when this process does, and so does the run
            stdout=log,
            stderr=log,
            env=environment,
        )


def _closed(process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    """A process that has ended or was told to, with its stdin closed."""
    if process.stdin is not None:
        process.stdin.close()
    return process


def _beside(run_dir: Path, suffix: str) -> Path:
    """A file of the run next to its directory; a dot in the name of the run is part of the name."""
    return run_dir.with_name(run_dir.name + suffix)


def _judge(run_dir: Path, experiment: ExperimentConfig, code: int) -> Ended:
    """How a process ended. Training that diverged is a result; any other failure stops the batch."""
    its = ended(run_dir, experiment)
    if its is not None and (code == 0 or its.summary is None):
        return its
    log = _beside(run_dir, ".log")
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    error = next((line for line in reversed(lines) if "error:" in line), f"ended with code {code}")
    raise HilError(f"{run_dir}: {error.partition('error: ')[2] or error} (see {log})")
