"""The live page in a real browser: the system's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from livework import COMMAND
from tiny import BENCH, EXPERIMENT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

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
        page.on(
            "request", lambda request: asked.add(re.sub(r"^(\w+:(//127\.0\.0\.1\b)?).*", r"\1", request.url))
        )
        page.goto(url)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert not complaints
    assert asked <= {"http://127.0.0.1", "data:", "blob:"}


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, ready_chip: Callable[[Path], Path]) -> Path:
    """A directory with one run that is done, whose name is a script."""
    folder = tmp_path_factory.mktemp("finished")
    bench = {**BENCH, "chip": str(ready_chip(folder / "chip"))}
    (folder / "tiny.yaml").write_text(yaml.safe_dump({**EXPERIMENT, "bench": bench}))
    command = [*COMMAND, "train", "tiny.yaml", "--out", "runs/<script>alert(1)<script>"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "runs"
