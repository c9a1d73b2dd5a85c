"""The page beside a run that goes on: what it shows moves, and its emergency stop stops."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from livework import page as live
from livework import training
from tiny import BENCH

if TYPE_CHECKING:
    from playwright.sync_api import Page

ReadyChip = Callable[[Path], Path]
CONTROLLER = {**BENCH, "backend": "controller", "port": "sim:posix"}
INSTRUMENTS = {
    **BENCH, "backend": "smu", "resource": "sim:2600b", "shape": [16, 8], "recipe": "rram_180nm_ms",
    "limits": {**BENCH["limits"], "width_max_s": 2e-2},
}  # fmt: skip


@contextmanager
def beside(run: Path, chip: Path, *about: Any, **changes: Any) -> Iterator[str]:
    """The address of the page of the directory in which a run goes on. about, changes: see `training`."""
    run.parent.mkdir()
    with training(run, chip, *about, **{"evaluate_every": 5, **changes}), live(run.parent) as server:
        yield f"http://127.0.0.1:{server.port}"


def small_task(folder: Path) -> dict[str, Any]:
    """A task for few cells."""
    rng = np.random.default_rng(1)
    np.savez(folder / "data.npz", x=rng.normal(size=(60, 4)), y=np.arange(60) % 3)
    return {"name": "arrays", "data": {"train": str(folder / "data.npz")}, "layers": [3]}


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
    tmp_path: Path, kind: str, ready_chip: ReadyChip, open_page: Callable[..., Page]
) -> None:
    run, chip = tmp_path / "runs" / "night one", tmp_path / "chip"
    if kind == "controller" and not (shutil.which("make") and shutil.which("cc")):
        pytest.skip("needs make and cc: apt-get install make gcc")
    if kind == "twin":
        watched = beside(run, ready_chip(chip))
    elif kind == "controller":
        watched = beside(run, ready_chip(chip), CONTROLLER, "--exchanged")  # the twin commissioned the chip
    else:
        watched = beside(run, chip, INSTRUMENTS, task=small_task(tmp_path))
    with watched as url:
        page = open_page(f"{url}/")
        page.get_by_role("link", name="night one").click()
        page.locator("#state[data-state='running']").wait_for()
        page.locator(".chart .bk-Figure").first.wait_for(state="attached")
        page.wait_for_function(MOVED, arg=drawn(page))
        page.locator(".map canvas").first.scroll_into_view_if_needed()
        page.wait_for_function("() => /lowest/.test(document.querySelector('.map canvas').ariaLabel)")
        assert "0 V" in stop_and_see(page)
        assert (run / "summary.json").exists()


def test_a_stop_needs_no_free_connection(
    tmp_path: Path, ready_chip: ReadyChip, open_page: Callable[..., Page]
) -> None:
    """A browser opens six connections to a host; each page that is looked at holds one with its stream."""
    with beside(tmp_path / "runs" / "busy", ready_chip(tmp_path / "chip")) as url:
        page = open_page(f"{url}/run/busy")
        for _ in range(5):
            page.context.new_page().goto(f"{url}/run/busy", wait_until="commit")
        page.locator("#state[data-state='running']").wait_for()
        assert "0 V" in stop_and_see(page)


def test_a_stop_works_without_any_script(
    tmp_path: Path, ready_chip: ReadyChip, open_page: Callable[..., Page]
) -> None:
    with beside(tmp_path / "runs" / "plain", ready_chip(tmp_path / "chip")) as url:
        page = open_page(f"{url}/run/plain", java_script_enabled=False)
        page.locator(".emergency").click()
        assert "SIGTERM" in page.get_by_role("alert").inner_text()
        open_page(f"{url}/run/plain").locator("#state[data-state='stopped']").wait_for()


def test_pause_and_continue(tmp_path: Path, ready_chip: ReadyChip, open_page: Callable[..., Page]) -> None:
    with beside(tmp_path / "runs" / "paused", ready_chip(tmp_path / "chip")) as url:
        page = open_page(f"{url}/run/paused")
        page.get_by_role("button", name="Pause at the next step").click()
        page.locator("#state[data-state='paused']").wait_for()
        page.get_by_role("button", name="Continue").click()
        page.locator("#state[data-state='running']").wait_for()


def test_the_list_stops_one_run(
    tmp_path: Path, ready_chip: ReadyChip, open_page: Callable[..., Page]
) -> None:
    run = tmp_path / "runs" / "one"
    with beside(run, ready_chip(tmp_path / "chip")) as url:
        page = open_page(f"{url}/")
        page.get_by_role("button", name="Stop one").click()
        page.locator("#rows [data-state='stopped']").first.wait_for()
        assert (run / "summary.json").exists()


# Whether what the curves say in words has changed.
MOVED = """(before) => {
  const now = [...document.querySelectorAll(".chart .summary")].map((summary) => summary.innerText).join(" ");
  return now !== before;
}"""
