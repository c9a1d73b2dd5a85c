"""--notify: one line of JSON to a webhook, which can do no harm."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from eapu_hil.base.errors import HilError
from eapu_hil.cli.notify import notified
from eapu_hil.cli.parser import main
from eapu_hil.cli.terminal import Terminal

ABOUT = {"command": "train", "name": "mine"}


class Hook(HTTPServer):
    """Keeps what it is sent."""

    heard: list[bytes]
    answer = 204


class _Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        self.server.heard.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(self.server.answer)
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook(("127.0.0.1", 0), _Handler) as server:
        server.heard = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def url_of(hook: Hook) -> str:
    return f"http://127.0.0.1:{hook.server_address[1]}/hook/SECRET?key=SECRET"


def test_the_end_is_told_in_one_line(hook: Hook) -> None:
    with notified(url_of(hook), Terminal(as_json=False), ABOUT, lambda: {"steps": 6}):
        assert not hook.heard
    [body] = hook.heard
    assert body.count(b"\n") == 1
    told = json.loads(body)
    assert told.pop("time").startswith("20")
    assert told == {**ABOUT, "what": "end", "steps": 6}


def test_a_fault_is_told_and_passed_on(hook: Hook) -> None:
    with pytest.raises(HilError, match="broken"), notified(url_of(hook), Terminal(as_json=False), ABOUT):
        raise HilError("broken")
    told = json.loads(hook.heard[0])
    assert (told["what"], told["error"]) == ("fault", "broken")


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(143)])
def test_a_stop_is_told_and_passed_on(hook: Hook, stop: BaseException) -> None:
    with pytest.raises(type(stop)), notified(url_of(hook), Terminal(as_json=False), ABOUT):
        raise stop
    assert json.loads(hook.heard[0])["what"] == "stop"


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:1/SECRET"])
def test_a_webhook_that_is_not_there_harms_nothing(
    url: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with notified(url, Terminal(as_json=False), ABOUT):
        pass
    said = capsys.readouterr().err
    assert said.count("\n") == (url is not None)
    assert "SECRET" not in said


def test_neither_does_one_that_answers_with_an_error(hook: Hook, capsys: pytest.CaptureFixture[str]) -> None:
    hook.answer = 500
    with notified(url_of(hook), Terminal(as_json=False), ABOUT):
        pass
    said = capsys.readouterr().err
    assert "http://127.0.0.1 did not take the message: it answered 500" in said
    assert "SECRET" not in said


def test_one_that_answers_in_drops_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("eapu_hil.cli.notify._WITHIN_s", 0.3)
    over = threading.Event()

    def drip(listening: socket.socket) -> None:
        line, _ = listening.accept()
        with line:
            line.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not over.wait(0.05):
                line.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=drip, args=(listening,), daemon=True)
        thread.start()
        with notified(f"http://127.0.0.1:{listening.getsockname()[1]}/", Terminal(as_json=False), ABOUT):
            pass
        assert thread.is_alive()
        over.set()
    assert "did not take the message: no answer within 0.3 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x/SECRET",
        "file:///SECRET",
        "SECRET",
        "http://",
        "http://x:99999/SECRET",
        "http://me:SECRET@x/",
        "http://x/ SECRET",
        "http://x/SECRET\u00e4",
    ],
)
def test_what_is_no_webhook_is_refused_without_being_repeated(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "denoise", "--notify", url]) == 2
    said = capsys.readouterr().err
    assert "--notify: expected an address such as https://" in said
    assert "SECRET" not in said
