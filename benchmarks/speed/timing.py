"""Times that hold on a busy machine: processor time, medians, all ways in turn in one process."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
Ways = Mapping[str, Callable[[], object]]


def processor_s(action: Callable[[], object]) -> float:
    """Processor time of this process, all threads, that `action` takes."""
    start_s = time.process_time()
    action()
    return time.process_time() - start_s


def interleaved_s(ways: Ways, rounds: int, warm: int = 2) -> dict[str, list[float]]:
    """Processor times of each way, which take turns. warm: rounds before those that count."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for count in range(-warm, rounds):
        for name, way in ways.items():
            took_s = processor_s(way)
            if count >= 0:
                taken[name].append(took_s)
    return taken


def medians_s(ways: Ways, rounds: int, warm: int = 2) -> dict[str, float]:
    """Medians of `interleaved_s`."""
    return {name: statistics.median(taken) for name, taken in interleaved_s(ways, rounds, warm).items()}


def user_s(command: Sequence[str | Path], patience_s: float | None = None) -> float:
    """User time of a command and what it started.

    Raises RuntimeError, with what it said, where it fails, and TimeoutExpired after `patience_s` of wall time.
    """
    before = os.times().children_user
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=patience_s)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stderr}")
    return os.times().children_user - before


def with_threads(threads: int) -> dict[str, str]:
    """The environment of a command that may use so many threads."""
    return {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}


def machine() -> str:
    """Processor, cores, and versions, in a line."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return (
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()}; Python {platform.python_version()}, numpy "
        f"{np.__version__} with {blas['name']} {blas['version']}; one thread unless a row says otherwise"
    )


def _processor() -> str:
    """Its name, from Linux where it is that."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
