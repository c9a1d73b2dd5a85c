"""The page beside a run that goes on: what it shows moves, and its emergency stop stops."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from eapu_hil.bench import open_bench

if TYPE_CHECKING:
    from playwright.sync_api import Page

Live = Callable[[Path], AbstractContextManager[str]]
Train = Callable[..., AbstractContextManager[Path]]
LIMITS = {
    "v_max_v": 3.5, "v_gate_max_v": 5.0, "i_max_a": 2e-3, "width_max_s": 2e-2, "pulses_per_cell_max": 1000,
}  # fmt: skip
TWIN = {"backend": "twin", "preset": "ideal", "arrays": 1, "shape": [64, 32], "limits": LIMITS}
CONTROLLER = {
    "backend": "controller", "port": "sim:posix", "preset": "ideal", "arrays": 1, "shape": [64, 32],
    "limits": {**LIMITS, "width_max_s": 1e-3},
}  # fmt: skip
INSTRUMENTS = {
    "backend": "smu", "resource": "sim:2600b", "preset": "ideal", "arrays": 1, "shape": [16, 8], "limits": LIMITS,
    "recipe": "rram_180nm_ms",
}  # fmt: skip


def chip_of_twin(folder: Path) -> None:
    """A chip that is commissioned without the controller: faster."""
    with open_bench({**TWIN, "limits": CONTROLLER["limits"]}, chip_dir=folder / "chip"):
        pass


def small_task(folder: Path) -> str:
    """A task for few cells, as `--set` takes it."""
    rng = np.random.default_rng(1)
    np.savez(folder / "data.npz", x=rng.normal(size=(60, 4)), y=np.arange(60) % 3)
    data = {"train": str(folder / "data.npz")}
    return f"task={json.dumps({'name': 'arrays', 'data': data, 'layers': [3]})}"


def drawn(page: Page) -> str:
    """What the curves say in words."""
    return " ".join(page.locator(".chart .summary").all_inner_texts())


def stop_and_see(page: Page) -> str:
    """Clicks, and returns what the page says when it is over."""
    page.locator(".emergency").click()
    page.locator("#outcome[data-mood='grounded']").wait_for()
    page.locator("#state[data-state='stopped']").wait_for()
    return page.locator("#outcome").inner_text()


@pytest.mark.parametrize("kind", ["twin", "controller", "instruments"])
def test_curves_move_and_stop_stops(
    tmp_path: Path, kind: str, live: Live, train: Train, open_page: Callable[..., Page]
) -> None:
    bench, arguments = TWIN, []
    if kind == "controller":
        if not (shutil.which("make") and shutil.which("cc")):
            pytest.skip("needs make and cc: apt-get install make gcc")
        chip_of_twin(tmp_path)
        bench, arguments = CONTROLLER, ["--exchanged"]
    if kind == "instruments":
        bench, arguments = INSTRUMENTS, ["--set", small_task(tmp_path)]
    with train(tmp_path, "night one", bench, *arguments) as run, live(run.parent) as url:
        page = open_page(f"{url}/")
        page.get_by_role("link", name="night one").click()
        page.locator("#state[data-state='running']").wait_for()
        page.locator(".chart canvas, .chart .bk-Figure").first.wait_for(state="attached")
        before = drawn(page)
        page.wait_for_function("before => [...document.querySelectorAll('.chart .summary')].map(e => e.innerText).join(' ') != before", arg=before)
        page.locator(".map canvas").first.scroll_into_view_if_needed()
        page.wait_for_function("() => /lowest/.test(document.querySelector('.map canvas')?.ariaLabel ?? '')")
        told = stop_and_see(page)
        assert re.search(r"0 V", told)
        assert (run / "summary.json").exists()


def test_a_stop_needs_no_free_connection(
    tmp_path: Path, live: Live, train: Train, open_page: Callable[..., Page]
) -> None:
    """A browser opens six connections to a host; each page that is looked at holds one with its stream."""
    with train(tmp_path, "busy", TWIN) as run, live(run.parent) as url:
        page = open_page(f"{url}/run/busy")
        others = [page.context.new_page() for _ in range(5)]
        for other in others:
            other.goto(f"{url}/run/busy", wait_until="commit")
        page.locator("#state[data-state='running']").wait_for()
        assert "0 V" in stop_and_see(page)


def test_a_stop_works_without_any_script(
    tmp_path: Path, live: Live, train: Train, open_page: Callable[..., Page]
) -> None:
    with train(tmp_path, "plain", TWIN) as run, live(run.parent) as url:
        page = open_page(f"{url}/run/plain", java_script_enabled=False)
        page.locator(".emergency").click()
        assert "SIGTERM" in page.get_by_role("alert").inner_text()
        page.goto(f"{url}/")
        watched = open_page(f"{url}/run/plain")
        watched.locator("#state[data-state='stopped']").wait_for()


def test_pause_and_continue(
    tmp_path: Path, live: Live, train: Train, open_page: Callable[..., Page]
) -> None:
    with train(tmp_path, "paused", TWIN) as run, live(run.parent) as url:
        page = open_page(f"{url}/run/paused")
        page.get_by_role("button", name="Pause at the next step").click()
        page.locator("#state[data-state='paused']").wait_for()
        page.get_by_role("button", name="Continue").click()
        page.locator("#state[data-state='running']").wait_for()


def test_the_list_stops_one_run(
    tmp_path: Path, live: Live, train: Train, open_page: Callable[..., Page]
) -> None:
    with train(tmp_path, "one", TWIN) as run, live(run.parent) as url:
        page = open_page(f"{url}/")
        page.get_by_role("button", name="Stop one").click()
        page.locator("#rows [data-state='stopped']").first.wait_for()
        assert (run / "summary.json").exists()
