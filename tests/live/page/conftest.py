"""The live page in a real browser: the system's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

COMMAND = [sys.executable, "-P", "-m", "eapu_hil.cli"]
LIMITS = {
    "v_max_v": 3.5, "v_gate_max_v": 5.0, "i_max_a": 2e-3, "width_max_s": 2e-2, "pulses_per_cell_max": 1000,
}  # fmt: skip
TWIN = {"backend": "twin", "preset": "ideal", "arrays": 1, "shape": [64, 32], "limits": LIMITS}
EXPERIMENT: dict[str, Any] = {
    "name": "tiny",
    "bench": TWIN,
    "task": {"name": "digits", "hidden": 6},
    "rule": {"name": "eapu"},
    "optimizer": {"name": "adam", "lr": 5e-3},
    "steps": 100_000,
    "batch": 8,
    "evaluate_every": 2,
    "checkpoint_every": 100,
}
WAIT_ms = 60_000  # machines that run tests are busy


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium; skips where it or Playwright is not installed."""
    api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install 'eapu-hil[dev]'")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with api.sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        started = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield started
        started.close()


def _is_complaint(told: ConsoleMessage) -> bool:
    """Not where a server is gone or had nothing to stop: the browser says so by itself."""
    expected = re.search(r"status of 409|net::ERR_(CONNECTION|INCOMPLETE|EMPTY)", told.text)
    return told.type in ("error", "warning") and not expected


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens an address. At the end no page may have had a complaint, or have asked another machine for anything.

    Called with the address and options of a browser's context, such as `color_scheme`.
    """
    contexts, complaints, asked = [], [], set[str]()

    def open_one(url: str, **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_ms)
        page.on("console", lambda told: _is_complaint(told) and complaints.append(told.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.add(re.sub(r"^(\w+:(//127\.0\.0\.1\b)?).*", r"\1", request.url)))
        page.goto(url)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert not complaints
    assert asked <= {"http://127.0.0.1", "data:", "blob:"}


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """The address of `eapu-hil live` on a directory."""
    command = [*COMMAND, "live", str(directory), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            told = server.stderr.readline()
            found = re.search(r"http://\S+", told)
            assert found, told + server.stderr.read()
            yield found[0].rstrip("/")
        finally:
            server.kill()


@contextmanager
def training(folder: Path, name: str, bench: dict[str, Any], *arguments: str) -> Iterator[Path]:
    """`eapu-hil train` with a bench, in the middle of it; the run lies in folder/runs/name."""
    experiment = folder / f"{os.urandom(4).hex()}.yaml"
    experiment.write_text(yaml.safe_dump({**EXPERIMENT, "bench": {**bench, "chip": "chip"}}))
    run = folder / "runs" / name
    command = [*COMMAND, "train", experiment.name, "--out", str(run), *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=folder) as child:
        try:
            end_s = time.monotonic() + 150.0
            while not (run / "metrics.jsonl").exists() or not (run / "metrics.jsonl").stat().st_size:
                assert time.monotonic() < end_s, "the run does not get going"
                assert child.poll() is None, child.stderr.read() if child.stderr else ""
                time.sleep(0.1)
            yield run
        finally:
            child.kill()


@pytest.fixture(scope="session")
def live() -> Callable[[Path], AbstractContextManager[str]]:
    """See `serving`."""
    return serving


@pytest.fixture(scope="session")
def train() -> Callable[..., AbstractContextManager[Path]]:
    """See `training`."""
    return training


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory `runs` with one run that is done, whose name is a script."""
    folder = tmp_path_factory.mktemp("finished")
    experiment = folder / "tiny.yaml"
    experiment.write_text(yaml.safe_dump({**EXPERIMENT, "steps": 6, "bench": {**TWIN, "chip": "chip"}}))
    command = [*COMMAND, "train", "tiny.yaml", "--out", "runs/<script>alert(1)<script>"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "runs"
