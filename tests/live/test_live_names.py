"""Runs of any name can be watched and stopped, and one odd name takes nothing from the others."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from livework import made_run, page

from eapu_hil.live.app import make_app
from eapu_hil.live.places import Place

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not have such names")
NAMES = [
    "12:30",
    "back\\slash",
    "two\nlines",
    "hash#q?",
    "half%2Fway",
    "q'\"<b>",
    "a/b/c/d/e/f",
    os.fsdecode(b"no\xfftext"),
]


def test_a_run_of_any_name_is_listed_opened_and_can_be_asked_to_stop(tmp_path: Path) -> None:
    for name in NAMES:
        with made_run(tmp_path / name, "odd"):
            pass
    with page(tmp_path) as shown:
        listed = {line["id"]: line["url"] for line in shown.get("/api/runs")["runs"]}
        assert set(listed) == set(NAMES)
        origin = {"Origin": f"http://127.0.0.1:{shown.port}"}
        for name, url in listed.items():
            assert url == quote(os.fsencode(name), safe="")
            assert shown.get(f"/api/run/{url}")["id"] == name
            answer = shown.post(f"/api/run/{url}/stop")
            assert (answer.status, "nothing to stop" in answer.json["error"]) == (409, True)
            assert f'<a href="/run/{url}">Back</a>'.encode() in shown.ask("POST", f"/run/{url}", origin).body


def test_no_name_of_a_run_is_taken_for_something_else(tmp_path: Path) -> None:
    """A run in the folder of another, or of a comparison, may be called like a part of the page's addresses."""
    words = [
        "events",
        "stop",
        "pause",
        "continue",
        "map",
        "picture",
        "static",
        "run",
        "charts.js",
        "enter",
    ]
    names = [
        *words,
        *(f"run/{word}" for word in words[:-1]),
        "a/map/0/g",
        "a/picture/0_input",
        "api/stop",
        "mine/stop",
    ]
    for name in names:
        if name != "run":
            with made_run(tmp_path / name, "odd"):
                pass
    with page(tmp_path) as shown:
        listed = {line["id"]: line["url"] for line in shown.get("/api/runs")["runs"]}
        assert set(listed) == set(names) - {"run"}
        for name, url in listed.items():
            assert shown.get(f"/api/run/{url}")["id"] == name
            assert b"<title>run</title>" in shown.ask("GET", f"/run/{url}").body
            answer = shown.post(f"/api/run/{url}/stop")
            assert (answer.status, "nothing to stop" in answer.json["error"]) == (409, True)
            with shown.stream(url) as events:
                events.next("state")


@pytest.mark.parametrize("body", [b"&".join(b"%d=" % number for number in range(100)), None])
def test_an_odd_form_or_one_that_breaks_off_is_no_error_of_ours(tmp_path: Path, body: bytes | None) -> None:
    """Whoever reaches the port may send one, with no token."""
    answers: list[Mapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"} if body is None else {"type": "http.request", "body": body}

    async def send(message: Mapping[str, Any]) -> None:
        answers.append(message)

    async def ask() -> None:
        app, hub = make_app(Place(tmp_path), "token")
        headers = [(b"host", b"127.0.0.1"), (b"origin", b"http://127.0.0.1")]
        about = {
            "type": "http",
            "method": "POST",
            "path": "/enter",
            "raw_path": b"/enter",
            "query_string": b"",
        }
        await app({**about, "headers": headers, "server": ("127.0.0.1", 80), "scheme": "http"}, receive, send)
        hub.close()

    with ThreadPoolExecutor(
        1
    ) as thread:  # a browser of other tests may keep an event loop running in this one
        thread.submit(lambda: asyncio.run(ask())).result(30.0)
    assert answers[0]["status"] == 303
