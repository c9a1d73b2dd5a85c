"""What other sites, strangers and hostile clients can do: nothing to a run, and little to the page."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from livework import Page, made_run, page, step_line, training, until, wait_for_steps

from eapu_hil.live import connections
from eapu_hil.training.runs import read_metrics

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux shows them")
NASTY = """<img src=x onerror=alert('1')>&"'"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("attacked")
    (directory / "secret.txt").write_text("secret")
    for name in ("runs/mine", "outside"):
        with made_run(directory / name, NASTY) as store:
            store.append_metrics("event", {"at_step": 1, "unix_s": 1.0, "what": "log", "text": NASTY})
    return directory / "runs"


@pytest.fixture(scope="module")
def shown(runs: Path) -> Iterator[Page]:
    with page(runs) as found:
        yield found


@pytest.fixture(scope="module")
def listening(runs: Path) -> Iterator[Page]:
    with page(runs, "--listen", "0.0.0.0") as found:
        yield found


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd",
        "/run/..%2Foutside", "/api/run/..%2Foutside", "/api/run/../outside", "/api/run/%2e%2e/outside/events",
        "/api/run/mine%2F..%2F..%2Foutside", "/api/run//etc", "/api/run/mine%00", "/api/run/..%5Coutside",
        "/api/run/mine/picture/..%2Fstart.yaml", "/api/run/mine/picture/start.yaml", "/api/run/mine/map/-1/g",
        "/api/run/mine/map/0/..", "/api/run/mine/map/99999999999999999999/g", "/api/run/mine/map/0,0/g",
        "/api/run/mine/map/0,/g",
        "/api/run/" + "a/" * 2000, "/api/run/" + "%F0" * 50,
    ],
)  # fmt: skip
def test_no_path_leads_to_another_file(shown: Page, path: str) -> None:
    answer = shown.ask("GET", path)
    assert answer.status in (400, 404), answer.body[:200]
    assert b"secret" not in answer.body
    assert b"experiment" not in answer.body


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "localhost.evil.example", "127.0.0.1.evil.example", "", None],
)
def test_a_name_that_was_made_to_lead_here_is_refused(shown: Page, host: str | None) -> None:
    """DNS rebinding."""
    asked = None if host is None else host.format(port=shown.port)
    answer = shown.ask("GET", "/api/runs", {"Host": asked})
    assert answer.status in (400, 421)
    assert b"mine" not in answer.body


def test_two_hosts_are_refused(shown: Page) -> None:
    with socket.create_connection(("127.0.0.1", shown.port)) as line:
        line.sendall(b"GET /api/runs HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert line.recv(100).split()[1] in (b"400", b"421")


@pytest.mark.parametrize("host", ["localhost:{port}", "127.0.0.1:9000", "[::1]:{port}"])
def test_names_of_this_machine_and_a_tunnel_are_let_through(shown: Page, host: str) -> None:
    assert shown.ask("GET", "/api/runs", {"Host": host.format(port=shown.port)}).status == 200


@pytest.mark.parametrize("path", ["/api/runs", "/api/run/mine", "/api/run/mine/events", "/"])
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1:{port}", "http://127.0.0.1:1"]
)
def test_another_origin_is_refused(shown: Page, path: str, origin: str) -> None:
    assert shown.ask("GET", path, {"Origin": origin.format(port=shown.port)}).status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://evil.example"},
        {"Origin": "http://evil.example", "X-Eapu": "1"},
        {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "cross-site"},
        {"X-Eapu": "1", "Sec-Fetch-Site": "cross-site"},
    ],
)
@pytest.mark.parametrize("path", ["/api/run/mine/stop", "/api/stop", "/run/mine", "/", "/api/run/mine/pause"])
def test_a_form_of_another_site_stops_nothing(shown: Page, path: str, headers: dict[str, str]) -> None:
    assert shown.ask("POST", path, headers).status in (403, 421)


def test_a_form_of_ours_cannot_ask_the_api(shown: Page) -> None:
    """What only a script of ours can send is what a form cannot."""
    assert shown.ask("POST", "/api/stop", {"Origin": f"http://127.0.0.1:{shown.port}"}).status == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"])
def test_other_methods_are_refused(shown: Page, method: str) -> None:
    assert shown.ask(method, "/api/runs").status == 405


def test_every_answer_says_that_nothing_else_may_run_or_frame_it(shown: Page) -> None:
    for path in ("/", "/api/runs", "/nothing"):
        headers = shown.ask("GET", path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "script-src 'self'" in headers["content-security-policy"].replace(" 'unsafe-eval'", "")
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


def test_names_come_as_text_and_errors_as_json(shown: Page) -> None:
    assert shown.get("/api/run/mine")["name"] == NASTY
    with shown.stream("mine") as events:
        assert events.next("events")["items"][0]["text"] == NASTY
    answer = shown.ask("GET", "/api/run/nothing")
    assert (answer.status, answer.headers["content-type"]) == (404, "application/json")
    assert answer.json == {"error": "no such run here"}
    assert shown.ask("GET", "/api/nothing").json.keys() == {"error"}


def test_without_the_token_nothing_is_shown_and_nothing_stopped(listening: Page) -> None:
    token = listening.token
    assert token is not None
    assert len(token) >= 32
    for wrong in (None, "", "x", token[:-1], token + "x", token.lower() + "x", "é"):
        headers = {} if wrong is None else {"Authorization": f"Bearer {wrong}"}
        assert listening.ask("GET", "/api/runs", headers).status == 401
        assert listening.ask("POST", "/api/stop", {**headers, "X-Eapu": "1"}).status == 401
        assert listening.ask("GET", "/", {"Cookie": f"eapu_live={wrong}"}).status == 401
        assert listening.ask("GET", "/static/live.js", headers).status == 401
    assert listening.ask("GET", f"/api/runs?token={token}").status == 401  # addresses are kept in histories
    assert listening.ask("GET", "/api/runs", {"Authorization": f"Bearer {token}"}).status == 200
    assert listening.ask("GET", "/api/runs", {"Cookie": f"a=b; eapu_live={token}"}).status == 200


def test_the_token_is_handed_in_once_and_kept_where_no_script_sees_it(listening: Page) -> None:
    origin = {"Origin": f"http://127.0.0.1:{listening.port}"}
    asked = listening.ask("GET", "/")
    assert b'action="/enter"' in asked.body
    wrong = listening.ask("POST", "/enter", origin, b"token=guess")
    assert "set-cookie" not in wrong.headers
    assert listening.ask("POST", "/enter", {"Origin": "http://evil.example"}, b"token=guess").status == 403
    assert "set-cookie" not in listening.ask("POST", "/enter", origin, b"token=" + b"x" * 5000).headers
    right = listening.ask("POST", "/enter", origin, f"token={listening.token}".encode())
    assert right.status == 303
    cookie = right.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert (
        listening.ask("GET", "/api/runs", {"Cookie": right.headers["set-cookie"].split(";")[0]}).status == 200
    )


def test_only_this_machine_reaches_a_page_without_a_token(shown: Page) -> None:
    found = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    bound = {
        it[1].split(":")[0] for it in found if it[3] == "0A" and int(it[1].split(":")[1], 16) == shown.port
    }
    assert bound == {"0100007F"}  # 127.0.0.1


def test_10_000_requests_and_clients_that_take_nothing_hold_up_no_stop(
    tmp_path: Path, ready_chip: Callable[[Path], Path]
) -> None:
    run = tmp_path / "runs/mine"
    run.parent.mkdir()
    with (
        training(run, ready_chip(tmp_path / "chip")) as process,
        page(run.parent) as shown,
        contextlib.ExitStack() as lines,
    ):
        idle = [
            lines.enter_context(socket.create_connection(("127.0.0.1", shown.port)))
            for _ in range(connections.MOST + 44)  # more than it keeps
        ]
        for line in idle[:100]:
            line.sendall(b"GET /api/run/mine/events HTTP/1.1\r\nHost: localhost\r\n\r\n")  # and never reads
        for line in idle[100:200]:
            line.sendall(b"GET /api/runs HTTP/1.1\r\nHost: loc")
        paths = ["/api/runs", "/api/run/mine", "/nothing", "/api/run/mine/map/0/g"]

        def flood(number: int) -> int:
            connection = http.client.HTTPConnection("127.0.0.1", shown.port, timeout=60)
            done = 0
            try:
                for turn in range(1250):
                    connection.request("GET", paths[(number + turn) % len(paths)])
                    connection.getresponse().read()
                    done += 1
            except (OSError, http.client.HTTPException):
                pass  # the page lets go of whoever asked nothing for longest
            finally:
                connection.close()
            return done

        before = len(read_metrics(run, "step"))
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            floods = [pool.submit(flood, number) for number in range(8)]
            wait_for_steps(run, process, before + 2)
            began_s = time.monotonic()
            assert shown.post("/api/run/mine/stop").status == 200
            assert time.monotonic() - began_s < 10.0
            assert process.wait(60) == 128 + signal.SIGTERM, process.stderr and process.stderr.read()
            assert sum(it.result() for it in floods) > 1000
        resident = int(Path(f"/proc/{shown.process.pid}/statm").read_text().split()[1]) * os.sysconf(
            "SC_PAGE_SIZE"
        )
        assert resident < 150e6
        held = [str(name.readlink()) for name in Path(f"/proc/{shown.process.pid}/fd").iterdir()]
        assert sum(name.startswith("socket:") for name in held) < connections.MOST + 20
        assert until(lambda: shown.state_of("mine")["state"] == "stopped", "it answers as before")


def test_a_slow_client_gets_the_newest_and_costs_no_memory(tmp_path: Path) -> None:
    with made_run(tmp_path / "runs/mine") as store, page(tmp_path / "runs") as shown:
        with socket.create_connection(("127.0.0.1", shown.port)) as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.sendall(b"GET /api/run/mine/events HTTP/1.0\r\nHost: localhost\r\n\r\n")
            for step in range(2, 600):
                store.append_metrics("step", step_line(step))
                store.append_metrics(
                    "event", {"at_step": step, "unix_s": 1.0, "what": "log", "text": "x" * 400}
                )
                if step % 60 == 0:
                    time.sleep(0.3)
            line.settimeout(60.0)
            heard = b""
            while b'"step":599,' not in heard:
                heard += line.recv(1 << 16)
        events = [
            json.loads(text[6:])
            for text in heard[: heard.rfind(b"\n\n")].decode().split("\n")
            if text.startswith("data: ")
        ]
        assert len(events) < 600


@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense", b"experiment: [1]\n", b"experiment: {bench: {arrays: 1e9}}\n", b"a: &a [*a]\n"],
)
def test_a_run_of_any_content_is_listed_and_hurts_nobody(tmp_path: Path, content: bytes) -> None:
    with made_run(tmp_path / "runs/good"):
        pass
    (tmp_path / "runs/bad").mkdir()
    (tmp_path / "runs/bad/start.yaml").write_bytes(content)
    (tmp_path / "runs/bad/metrics.jsonl").write_bytes(b'{"kind": "step", "step": "x"}\n\xff\xfe\n[[[[\n')
    (tmp_path / "runs/bad/writes.bin").write_bytes(b"x" * 1000)
    (tmp_path / "runs/bad/summary.json").write_bytes(b"[")
    with page(tmp_path / "runs") as shown:
        assert {line["id"] for line in shown.get("/api/runs")["runs"]} == {"good", "bad"}
        with shown.stream("bad") as events:
            assert events.next("state")["state"] == "damaged"
        assert shown.get("/api/run/bad")["arrays"] == []
