"""A simulated instrument's line: clients come and go, and each mishap happens as often as it was told to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from eapu_drivers.simulated.instruments.server import Mishap, Server

from eapu_hil.hal import ConfigError


class Echo:
    def __init__(self) -> None:
        self.carried_out: list[str] = []

    def handle(self, message: str) -> bytes:
        self.carried_out.append(message)
        return f"{message}!\n".encode() if message.endswith("?") else b""


@pytest.fixture
def server() -> Iterator[Server]:
    with closing(Server(Echo(), threading.RLock(), lambda: None)) as one:
        yield one


class Client:
    def __init__(self, server: Server) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), 2.0)
        self.socket.settimeout(0.3)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self) -> bytes:
        try:
            return self.socket.recv(1000)
        except TimeoutError:
            return b"<silence>"


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    one = Client(server)
    with closing(one.socket):
        yield one


def carried_out(server: Server) -> list[str]:
    device: Any = server.device
    return list(device.carried_out)


def test_messages_are_lines(client: Client, server: Server) -> None:
    client.send(b"a\nb")
    client.send(b"?\r\nc?\n")
    received = client.receive()
    while received.count(b"\n") < 2:
        received += client.receive()
    assert received == b"b?!\nc?!\n"
    assert carried_out(server) == ["a", "b?", "c?"]
    assert server.messages == 3


def test_several_clients(client: Client, server: Server) -> None:
    other = Client(server)
    with closing(other.socket):
        client.send(b"one?\n")
        other.send(b"two?\n")
        assert (client.receive(), other.receive()) == (b"one?!\n", b"two?!\n")


@pytest.mark.parametrize(
    ("kind", "received"),
    [
        ("drop", b"<silence>"),
        ("garble", b"#? not what was asked\n"),
        ("truncate", b"who"),
        ("disconnect", b""),
    ],
)
def test_mishaps(client: Client, server: Server, kind: Any, received: bytes) -> None:
    server.mishaps.append(Mishap(kind, matches="who"))
    client.send(b"other?\n")
    assert client.receive() == b"other?!\n"
    client.send(b"who?\n")
    assert client.receive() == received
    assert carried_out(server) == ["other?", "who?"]


def test_a_mishap_runs_down(client: Client, server: Server) -> None:
    server.mishaps.append(Mishap("garble", count=2))
    answers = []
    for _ in range(3):
        client.send(b"who?\n")
        answers.append(client.receive())
    assert answers == [b"#? not what was asked\n"] * 2 + [b"who?!\n"]


def test_a_late_answer_holds_up_nobody_else(client: Client, server: Server) -> None:
    server.mishaps.append(Mishap("delay", matches="slow", delay_s=0.5))
    other = Client(server)
    with closing(other.socket):
        client.send(b"slow?\n")
        other.send(b"quick?\n")
        assert other.receive() == b"quick?!\n"
    assert client.receive() == b"<silence>"
    assert client.receive() == b"slow?!\n"


def test_closing_hangs_up(client: Client, server: Server) -> None:
    client.send(b"who?\n")
    assert client.receive() == b"who?!\n"
    server.close()
    assert server.closed
    assert client.receive() == b""
    with pytest.raises(ConnectionRefusedError):
        Client(server)


def test_a_port_that_is_taken(server: Server) -> None:
    with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{server.port}: cannot listen there"):
        Server(Echo(), threading.RLock(), lambda: None, port=server.port)


def test_time_ticks_before_each_message() -> None:
    ticks: list[int] = []
    with closing(Server(Echo(), threading.RLock(), lambda: ticks.append(1))) as server:
        one = Client(server)
        with closing(one.socket):
            one.send(b"a?\nb?\n")
            assert one.receive().startswith(b"a?!")
    assert len(ticks) == server.messages
