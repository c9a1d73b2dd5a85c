"""Runs that a live page is measured with, the page itself, and a client of its event stream."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from eapu_hil.bench import open_bench
from eapu_hil.training.records import WRITE_DTYPE
from eapu_hil.training.run_store import RunStore
from eapu_hil.training.runs import read_metrics

LIMITS = {
    "v_max_v": 3.5,
    "v_gate_max_v": 5.0,
    "i_max_a": 2e-3,
    "width_max_s": 1e-2,
    "pulses_per_cell_max": 10**6,
}
BENCHES: dict[str, dict[str, Any]] = {
    "twin": {"backend": "twin", "preset": "ideal", "arrays": 1, "shape": [64, 32]},
    "sim:posix": {"backend": "controller", "port": "sim:posix", "preset": "ideal", "arrays": 1, "shape": [64, 32]},
    "sim:2600b": {
        "backend": "smu", "resource": "sim:2600b", "preset": "ideal", "arrays": 1, "shape": [16, 8],
        "recipe": "rram_180nm_ms",
    },
}  # fmt: skip
EXPERIMENT: dict[str, Any] = {
    "name": "endless", "task": {"name": "digits", "hidden": 6}, "rule": {"name": "eapu"},
    "optimizer": {"name": "adam", "lr": 5e-3}, "steps": 1_000_000, "batch": 8, "evaluate_every": 500_000,
    "checkpoint_every": 1000,
}  # fmt: skip
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
COMMAND = [sys.executable, "-P", "-m", "eapu_hil.cli"]


@contextmanager
def training(directory: Path, bench: str, name: str) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """An endless training in the middle of its steps: its directory, and its process, which is killed at the end."""
    content = {**BENCHES[bench], "limits": LIMITS, "chip": str(chip_of(directory, bench))}
    if not chip_of(directory, bench).exists():
        with open_bench(content):
            pass
    task = EXPERIMENT["task"]
    if bench == "sim:2600b":  # its matrix has room for a small network only
        rng = np.random.default_rng(0)
        np.savez(directory / "data.npz", x=rng.normal(size=(60, 4)), y=np.arange(60) % 3)
        task = {"name": "arrays", "data": {"train": str(directory / "data.npz")}, "layers": [3]}
    experiment, run = directory / f"{name}.yaml".replace(":", "-"), directory / name.replace(":", "-")
    experiment.write_text(yaml.safe_dump({**EXPERIMENT, "bench": content, "task": task}))
    command = [*COMMAND, "train", str(experiment), "--out", str(run)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=ENVIRONMENT) as process:
        try:
            while not (run / "start.yaml").exists() or len(read_metrics(run, "step")) < 3:
                assert process.poll() is None, f"{name}: the training has ended"
                time.sleep(0.05)
            yield run, process
        finally:
            process.kill()


def chip_of(directory: Path, bench: str) -> Path:
    return directory / f"chip-{bench.replace(':', '-')}"


@contextmanager
def made_run(path: Path, *, arrays: int, shape: list[int]) -> Iterator[RunStore]:
    """A run that no bench has made; it is being written meanwhile."""
    bench = {
        "backend": "twin",
        "preset": "ideal",
        "arrays": arrays,
        "shape": shape,
        "recipe": {"band_S": 1e-6},
    }
    start = {
        "name": path.name,
        "experiment": {"name": path.name, "bench": bench, "steps": 500_000},
        "identities": [{}],
    }
    with RunStore.create(path, start) as store:
        store.append_metrics("step", step_line(0))
        yield store


def step_line(step: int) -> dict[str, Any]:
    """What the trainer writes of a step."""
    rng = np.random.default_rng(step)
    ratios = {f"dense{number}": float(rng.random()) for number in range(1, 4)}
    numbers = {"writes": 431, "pulses": 440, "not_converged": 0, "clock_s": 1e-3 * step, "wall_s": 0.03}
    return {
        "step": step, "loss": float(rng.random()), "lr": 5e-3, "products_per_weight": 8.0, "update_ratio": 0.5,
        "update_ratio_layer": ratios, **numbers,
    }  # fmt: skip


def some_writes(rng: np.random.Generator, step: int, count: int) -> np.ndarray[Any, np.dtype[np.void]]:
    records = np.zeros(count, WRITE_DTYPE)
    records["step"], records["pulses"] = step, rng.integers(1, 9, count)
    for name, limit in (("array", 4), ("row", 128), ("col", 64)):
        records[name] = rng.integers(0, limit, count)
    records["target_S"] = rng.uniform(1e-6, 4e-5, count)
    records["after_S"] = records["target_S"] + rng.normal(0, 5e-7, count)
    return records


@contextmanager
def page(directory: Path) -> Iterator[str]:
    """`eapu-hil live` of a directory; its URL."""
    command = [*COMMAND, "live", str(directory), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        try:
            assert process.stderr is not None
            url = process.stderr.readline().split()[3]
            _PIDS[url] = process.pid
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield url
        finally:
            process.terminate()


_PIDS: dict[str, int] = {}


def pid_of(url: str) -> int:
    return _PIDS[url]


class Heard:
    """step: the last one that the stream told of."""

    step = -1


@contextmanager
def client(url: str) -> Iterator[Heard]:
    """Reads an event stream as fast as it comes."""
    heard = Heard()
    answer = urllib.request.urlopen(url)

    def read() -> None:
        try:
            for line in answer:
                if line.startswith(b'data: {"state"'):
                    heard.step = json.loads(line[6:])["step"]
        except (OSError, ValueError, AttributeError):
            return  # closed

    threading.Thread(target=read, daemon=True).start()
    try:
        yield heard
    finally:
        answer.fp.raw._sock.shutdown(2)  # wakes the thread that reads


def ask(url: str, *, post: bool = False) -> bytes:
    request = urllib.request.Request(url, b"" if post else None, {"X-Eapu": "1"})
    with urllib.request.urlopen(request) as answer:
        return bytes(answer.read())


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
