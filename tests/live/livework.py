"""A live page and runs beside it, as processes of their own."""

from __future__ import annotations

import http.client
import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from tiny import BENCH, EXPERIMENT

from eapu_hil.training.run_store import RunStore
from eapu_hil.training.runs import read_metrics

COMMAND = [sys.executable, "-P", "-m", "eapu_hil.cli"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
ENDLESS = {**EXPERIMENT, "steps": 1_000_000, "evaluate_every": 500_000, "checkpoint_every": 1000}
PATIENCE_s = 60.0
Found = TypeVar("Found")


def until(ask: Callable[[], Found | None], what: str, within_s: float = PATIENCE_s) -> Found:
    """The first answer that is something; the machine may be busy."""
    end_s = time.monotonic() + within_s
    while True:
        found = ask()
        if found:
            return found
        assert time.monotonic() < end_s, f"in vain: {what}"
        time.sleep(0.05)


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.body)
        return content


@dataclass(frozen=True)
class Page:
    """A page that is served. token: that it printed, None on loopback."""

    port: int
    process: subprocess.Popen[str]
    token: str | None
    host: str = "127.0.0.1"

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str | None] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """One request. headers: those that it has besides; None leaves one out."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE_s)
        try:
            wanted = {"Host": f"{self.host}:{self.port}", **(headers or {})}
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in wanted.items():
                if value is not None:
                    connection.putheader(name, value)
            if method == "POST":
                connection.putheader("Content-Length", str(len(body or b"")))
            connection.endheaders(body)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()})
        finally:
            connection.close()

    def get(self, path: str) -> dict[str, Any]:
        answer = self.ask("GET", path)
        assert answer.status == 200, answer.body
        return answer.json

    def post(self, path: str) -> Answer:
        return self.ask("POST", path, {"X-Eapu": "1"})

    def state_of(self, name: str) -> dict[str, Any]:
        """Its line in the list; empty where it is not in it."""
        return next((line for line in self.get("/api/runs")["runs"] if line["id"] == name), {})

    @contextmanager
    def stream(self, name: str) -> Iterator[Events]:
        """The events of a run."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE_s)
        try:
            connection.request("GET", f"/api/run/{name}/events")
            events = Events(connection.getresponse())
            yield events
        finally:
            if connection.sock is not None:
                connection.sock.shutdown(2)
            connection.close()


class Events:
    """The events of a stream, as they come; a thread reads them."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/event-stream"
        self._heard: queue.SimpleQueue[tuple[str, dict[str, Any]]] = queue.SimpleQueue()
        self._answer = answer
        threading.Thread(target=self._read, daemon=True).start()

    def next(self, kind: str, like: Callable[[dict[str, Any]], object] = lambda _: True) -> dict[str, Any]:
        """The content of the next event of a kind that is `like` that; all before it are passed over."""
        end_s = time.monotonic() + PATIENCE_s
        while True:
            its_kind, content = self._heard.get(timeout=max(0.1, end_s - time.monotonic()))
            if its_kind == kind and like(content):
                return content

    def _read(self) -> None:
        kind = ""
        try:
            for line in self._answer:
                name, _, text = line.decode().rstrip("\n").partition(": ")
                if name == "event":
                    kind = text
                elif name == "data":
                    self._heard.put((kind, json.loads(text)))
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            return  # the test is over


@contextmanager
def page(directory: Path, *arguments: str) -> Iterator[Page]:
    """`eapu-hil live` of a directory."""
    command = [*COMMAND, "live", str(directory), "--port", "0", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        try:
            assert process.stderr is not None
            said = process.stderr.readline()
            found = re.search(r"http://\S+:(\d+)/", said)
            assert found, said + process.stderr.read()
            token = process.stderr.readline().split()[-1] if "--listen" in arguments else None
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield Page(int(found[1]), process, token)
        finally:
            process.kill()


@contextmanager
def training(
    run: Path, chip: Path, bench: Mapping[str, Any] | None = None, *arguments: str, **changes: Any
) -> Iterator[subprocess.Popen[str]]:
    """An endless `eapu-hil train` in the middle of its steps, on a chip that is ready; killed at the end."""
    run.parent.mkdir(exist_ok=True)
    experiment = run.with_suffix(".yaml")
    content = {**ENDLESS, "bench": {**(bench or BENCH), "chip": str(chip)}, **changes}
    experiment.write_text(yaml.safe_dump(content))
    command = [*COMMAND, "train", str(experiment), "--out", str(run), *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        try:
            wait_for_steps(run, process, 3)
            yield process
        finally:
            process.kill()


def wait_for_steps(run: Path, process: subprocess.Popen[str], steps: int) -> None:
    def there() -> bool:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        return (run / "start.yaml").exists() and len(read_metrics(run, "step")) >= steps

    until(there, f"{steps} steps of {run}", 120.0)


def events_of(run: Path, what: str) -> list[dict[str, Any]]:
    """The lines of that kind of event that the run has written."""
    return [line for line in read_metrics(run, "event") if line["what"] == what]


@contextmanager
def made_run(path: Path, name: str | None = None, **more: Any) -> Iterator[RunStore]:
    """A run that this process writes, without a bench."""
    experiment = {"name": name or path.name, "bench": {**BENCH, "recipe": {"band_S": 1e-6}}, "steps": 100}
    start = {"name": name or path.name, "experiment": experiment, "identities": [{}], **more}
    with RunStore.create(path, start) as store:
        store.append_metrics("step", step_line(1))
        yield store


def step_line(step: int, **more: Any) -> dict[str, Any]:
    """What the trainer writes of a step."""
    numbers = {"writes": 10, "pulses": 20, "clock_s": 0.5 * step, "wall_s": 0.25}
    return {"step": step, "loss": 1.0 / step, "update_ratio_layer": {"dense1": 0.5}, **numbers, **more}
