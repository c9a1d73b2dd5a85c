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
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from eapu_drivers.simulated.board.linerecord import LineRecord
from live_runs import (
    BENCHES,
    ask,
    chip_of,
    client,
    cpu_s,
    made_run,
    page,
    pid_of,
    resident_mb,
    some_writes,
    step_line,
    training,
)

from eapu_hil.training.runs import read_metrics

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
        pid = pid_of(url)
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
        before = resident_mb(pid_of(url))
        began_s = time.monotonic()
        with client(f"{url}api/run/night/events") as heard:
            while heard.step < 499_999:
                time.sleep(0.1)
            took_s = time.monotonic() - began_s
            resident = resident_mb(pid_of(url))
    print(
        f"500,000 lines: {took_s:.1f} s until all are shown, page {before:.0f} MB before, {resident:.0f} MB after"
    )


def _ms(times: list[tuple[float, float, float | None]], column: int) -> str:
    known = [found for row in times if (found := row[column]) is not None]
    return f"{1e3 * statistics.median(known):.1f} ms" if known else "\u2013"


if __name__ == "__main__":
    main(sys.argv[1:])
