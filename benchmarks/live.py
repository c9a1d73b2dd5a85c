"""Times of the live page: from the click to 0 V, what it costs a run, and what a night of lines takes.

    python benchmarks/live.py [stop] [clients] [frames] [night]

stop: on the twin, on the controller's firmware and on simulated instruments, and with a host that stands still. "Click"
is the moment before the request is sent. For the controller the record of the simulated front end is looked at, for the
others what the run writes down. clients: the step time of a run with 20 clients of the event stream, without and with
in turn. frames: processor time of the page for 4 arrays of 128 x 64 at 2 frames a second, with a client that gets all
maps. night: memory of the page for 500,000 lines.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from eapu_drivers.simulated.board.linerecord import LineRecord

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
TRIALS = 5


def main(chosen: list[str]) -> None:
    rows: dict[str, Callable[[Path], None]] = {
        "stop": stops,
        "clients": clients,
        "frames": frames,
        "night": night,
    }
    for name in chosen or rows:
        with tempfile.TemporaryDirectory(prefix="eapu-hil-live-") as directory:
            rows[name](Path(directory))


def stops(directory: Path) -> None:
    print(
        f"{'bench':12} {'answer':>8} {'0 V, by the run':>16} {'0 V, by the lines':>18}   median of {TRIALS}"
    )
    for name in BENCHES:
        with page(directory) as url:
            times = [stopped(directory, url, name, trial) for trial in range(TRIALS)]
        print(f"{name:12} {_ms(times, 0):>8} {_ms(times, 1):>16} {_ms(times, 2):>18}", flush=True)
    with page(directory) as url:
        print(frozen(directory, url), flush=True)


def stopped(directory: Path, url: str, name: str, trial: int) -> tuple[float, float, float | None]:
    """From the click, s: to the answer, to the ground that the run writes down, to the last ground of the lines."""
    with training(directory, name, f"{name}-{trial}") as (run, process):
        time.sleep(0.1 * trial + 0.05)
        click_s, clicked_s = time.monotonic(), time.time()
        ask(f"{url}api/run/{run.name}/stop", post=True)
        answer_s = time.monotonic() - click_s
        process.wait(60)
        [grounded] = [line for line in read_metrics(run, "event") if line["what"] == "grounded"]
        lines_s = None
        if name == "sim:posix":
            record = LineRecord.read(chip_of(directory, name))
            assert record.grounded
            lines_s = record.last_ground_s - click_s
        return answer_s, grounded["unix_s"] - clicked_s, lines_s


def frozen(directory: Path, url: str) -> str:
    """A host that stands still when the stop is clicked."""
    with training(directory, "sim:posix", "frozen") as (run, process):
        process.send_signal(signal.SIGSTOP)
        click_s = time.monotonic()
        ask(f"{url}api/run/{run.name}/stop", post=True)
        process.wait(30)
        ended_s = time.monotonic() - click_s
        time.sleep(2.0)  # the dead man is set to 1 s
        record = LineRecord.read(chip_of(directory, "sim:posix"))
        assert record.grounded
        at_s = record.last_ground_s - click_s
        killed = f"host at SIGSTOP: killed after {1e3 * ended_s:.0f} ms"
        return f"{killed}, last ground of the board {at_s:.2f} s after the click"


def clients(directory: Path) -> None:
    """Step times, alternately without and with 20 clients."""
    times: dict[int, list[float]] = {0: [], 20: []}
    with training(directory, "twin", "watched") as (run, _), page(directory) as url:
        for _ in range(6):
            for count in times:
                with ExitStack() as stack:
                    for _ in range(count):
                        stack.enter_context(client(f"{url}api/run/{run.name}/events"))
                    time.sleep(2.0)
                    before = len(read_metrics(run, "step"))
                    time.sleep(5.0)
                    times[count] += [line["wall_s"] for line in read_metrics(run, "step")[before:]]
    without, watched = (1e3 * statistics.median(times[count]) for count in times)
    print(
        f"step time: {without:.2f} ms without, {watched:.2f} ms with 20 clients: {100 * (watched / without - 1):+.1f} %"
    )


def frames(directory: Path) -> None:
    """A run that writes much of 4 arrays twice a second, its page, and a client that gets every map that is new."""
    rng = np.random.default_rng(0)
    with made_run(directory / "wide", arrays=4, shape=[128, 64]) as store, page(directory) as url:
        address = f"{url}api/run/wide"
        pid = _pid_of(url)
        with client(f"{address}/events"):
            begun_s, spent_s = 0.0, 0.0
            for frame in range(34):
                if frame == 4:
                    begun_s, spent_s = time.monotonic(), cpu_s(pid)
                store.append_writes(some_writes(rng, frame, 4096))
                store.append_metrics("step", step_line(frame))
                for array in range(4):
                    for quantity in ("g", "wear"):
                        ask(f"{address}/map/{array}/{quantity}") if frame else None
                time.sleep(0.5)
            share = (cpu_s(pid) - spent_s) / (time.monotonic() - begun_s)
    print(
        f"page: {100 * share:.1f} % of a core for 4 arrays of 128 x 64 at 2 frames a second, all maps fetched"
    )


def night(directory: Path) -> None:
    """500,000 lines of a run."""
    with made_run(directory / "night", arrays=1, shape=[64, 32]):
        pass
    with (directory / "night/metrics.jsonl").open("ab") as file:
        for step in range(500_000):
            file.write(json.dumps({"kind": "step", **step_line(step)}).encode() + b"\n")
    with page(directory) as url:
        before = resident_mb(_pid_of(url))
        began_s = time.monotonic()
        with client(f"{url}api/run/night/events") as heard:
            while heard.step < 499_999:
                time.sleep(0.1)
            took_s = time.monotonic() - began_s
            resident = resident_mb(_pid_of(url))
    print(
        f"500,000 lines: {took_s:.1f} s until all are shown, page {before:.0f} MB before, {resident:.0f} MB after"
    )


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


def _pid_of(url: str) -> int:
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


def _ms(times: list[tuple[float, float, float | None]], column: int) -> str:
    known = [found for row in times if (found := row[column]) is not None]
    return f"{1e3 * statistics.median(known):.1f} ms" if known else "\u2013"


if __name__ == "__main__":
    main(sys.argv[1:])
