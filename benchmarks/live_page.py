"""The live page in a browser after a night: first paint, memory, and frames while somebody scrolls.

    python benchmarks/live_page.py [LINES]

Needs Playwright and the system's Chromium. First, what maps of four arrays of 128 x 64 that change twice a second cost
the browser. Then a run of 500,000 lines is written while the page looks at it and the maps change. Memory is what the
page's process holds alone (its private pages, as the browser's task manager counts); frames are those of ten seconds of
scrolling with the wheel, without a graphics card.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from live_runs import cpu_s, made_run, page, some_writes, step_line
from playwright.sync_api import Page, sync_playwright

from eapu_hil.training.run_store import RunStore

LINES = 500_000
ARRAYS, SHAPE = 4, (128, 64)
NIGHT_s = 60.0
SCROLL_s = 10.0
MAPS_s = 15.0
# Notes in `window.frames_ms` how long each frame took, for so many seconds.
FRAMES = """(seconds) => {
  const took = [];
  const end = performance.now() + 1000 * seconds;
  let last = performance.now();
  const look = (now) => {
    took.push(now - last);
    last = now;
    if (now < end) requestAnimationFrame(look);
    else window.frames_ms = took.slice(1);
  };
  window.frames_ms = null;
  requestAnimationFrame(look);
}"""


def main() -> None:
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else LINES
    with (
        tempfile.TemporaryDirectory() as folder,
        made_run(Path(folder) / "night", arrays=ARRAYS, shape=list(SHAPE)) as store,
        page(Path(folder)) as url,
        sync_playwright() as playwright,
    ):
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        shown = chromium.new_page(viewport={"width": 1280, "height": 900})
        shown.goto(f"{url}run/night")
        shown.wait_for_selector(".chart canvas, .chart .bk-Figure", state="attached", timeout=120_000)
        first_ms = shown.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        chart_ms = shown.evaluate("performance.now()")
        print(
            f"first paint {first_ms:.0f} ms, first chart within {chart_ms:.0f} ms, {private_mb():.0f} MB alone"
        )
        with_maps, without = maps(store, shown)
        print(f"browser: {with_maps:.1f} % of a core with four maps in view, {without:.1f} % with none")
        shown.reload()  # what was put out of view is there again
        shown.wait_for_selector(".chart canvas, .chart .bk-Figure", state="attached", timeout=120_000)
        night(store, shown, lines)
        print(
            f"{lines:,} lines: {private_mb():.0f} MB alone, {heap_mb(shown):.1f} MB of it objects of JavaScript"
        )
        took_ms = np.array(scroll(store, shown, lines))
        within, slowest_ms = 100 * np.mean(took_ms <= 33.4), np.quantile(took_ms, 0.95)
        print(
            f"scrolling: {took_ms.size} frames, {within:.1f} % within 33 ms, 95 % within {slowest_ms:.0f} ms"
        )
        chromium.close()


def maps(store: RunStore, shown: Page) -> tuple[float, float]:
    """Percent of a core that the browser takes while a run writes: with the maps of conductance in view, with none."""
    found = []
    with writing(store, 1):
        for hidden in ("#curves-panel, #maps-wear-panel", "#maps-g-panel"):
            shown.evaluate(
                "all => document.querySelectorAll(all).forEach(one => { one.hidden = true; })", hidden
            )
            shown.evaluate("scrollTo(0, 0)")
            shown.wait_for_timeout(3000)
            before_s, began_s = browser_s(), time.monotonic()
            shown.wait_for_timeout(1e3 * MAPS_s)
            found.append(100 * (browser_s() - before_s) / (time.monotonic() - began_s))
    return found[0], found[1]


def night(store: RunStore, shown: Page, lines: int) -> None:
    """Writes the lines in a minute, and waits until the page shows the last step."""
    rng, pieces = np.random.default_rng(1), int(NIGHT_s * 2)
    for piece in np.array_split(np.arange(1, lines), pieces):
        began_s = time.monotonic()
        with (store.path / "metrics.jsonl").open("ab") as file:
            file.write(
                b"".join(
                    json.dumps({"kind": "step", **step_line(int(step))}).encode() + b"\n" for step in piece
                )
            )
        store.append_writes(some_writes(rng, int(piece[-1]), 400))
        shown.wait_for_timeout(max(0.0, 1e3 * (NIGHT_s / pieces - (time.monotonic() - began_s))))
    last = f"{lines - 1:,}"
    shown.wait_for_function(
        "last => document.querySelector('#step').innerText.startsWith(last)", arg=last, timeout=300_000
    )
    shown.wait_for_timeout(3000)


def scroll(store: RunStore, shown: Page, lines: int) -> list[float]:
    """How long the frames took, ms, while the wheel turns and the maps change."""
    with writing(store, lines):
        shown.evaluate(FRAMES, SCROLL_s)
        shown.mouse.move(640, 450)
        for turn in turns():
            shown.mouse.wheel(0, turn)
            shown.wait_for_timeout(40)
            if shown.evaluate("window.frames_ms !== null"):
                break
    return list(shown.evaluate("window.frames_ms"))


@contextmanager
def writing(store: RunStore, step: int) -> Iterator[None]:
    """400 cell writes twice a second, in a thread."""
    ended = threading.Event()

    def write() -> None:
        rng = np.random.default_rng(2)
        while not ended.wait(0.5):
            store.append_writes(some_writes(rng, step, 400))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        ended.set()
        writer.join()


def turns() -> Iterator[int]:
    while True:
        yield from [120] * 20
        yield from [-120] * 20


def browser_s() -> float:
    """Processor time of all the browser's processes, s."""
    return sum(cpu_s(pid) for pid in _children(os.getpid()) if b"chrom" in _command(pid))


def private_mb() -> float:
    """What the largest of the browser's processes that draw pages holds alone, MB."""
    return max(_private_mb(pid) for pid in _children(os.getpid()) if b"--type=renderer" in _command(pid))


def heap_mb(shown: Page) -> float:
    """Objects of JavaScript after a collection, MB."""
    session = shown.context.new_cdp_session(shown)
    session.send("Performance.enable")
    session.send("HeapProfiler.collectGarbage")
    told = {line["name"]: line["value"] for line in session.send("Performance.getMetrics")["metrics"]}
    return told["JSHeapUsedSize"] / 2**20


def _private_mb(pid: int) -> float:
    told = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(size) for size in re.findall(r"^Private_\w+:\s+(\d+) kB", told, re.MULTILINE)) / 1024


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _children(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            yield child
            yield from _children(child)


if __name__ == "__main__":
    main()
