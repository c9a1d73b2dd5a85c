"""Ports: every kind of line, wakers, and lines that go away."""

from __future__ import annotations

import os
import pty
import socket
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from eapu_drivers.controller.ports import Port, SerialPort, SocketPort

from eapu_hil.base.locks import InUseError
from eapu_hil.hal import TransportError

Ends = tuple[Port, Callable[[int], bytes], Callable[[bytes], object], Callable[[], None]]


@pytest.fixture(params=["socket", "pty", "socket://"])
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    """A port and what the other side can do: read, write, hang up."""
    if request.param == "pty":
        far, near = pty.openpty()
        tty.setraw(near)
        name = os.ttyname(near)
        os.close(near)
        with closing(SerialPort(name)) as port:
            state = {"open": True}

            def hang_up() -> None:
                if state.pop("open", None):
                    os.close(far)

            yield port, lambda count: os.read(far, count), lambda data: os.write(far, data), hang_up
            hang_up()
        return
    if request.param == "socket":
        near_socket, far_socket = socket.socketpair()
        port = SocketPort(near_socket, "pair")
    else:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = SerialPort(f"socket://127.0.0.1:{server.getsockname()[1]}")
            far_socket, _ = server.accept()
    with closing(port), far_socket:
        yield port, far_socket.recv, far_socket.sendall, far_socket.close


def read_all(port: Port, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = port.read(2.0)
        assert part
        data += part
    return data


def test_bytes_pass_both_ways(ends: Ends) -> None:
    port, read, write, _ = ends
    everything = bytes(range(256))
    assert port.write(everything) == 256
    received = b""
    while len(received) < 256:
        received += read(256)
    assert received == everything
    write(everything)
    assert read_all(port, 256) == everything


def test_nothing_arrives_within_the_time(ends: Ends) -> None:
    start_s = time.monotonic()
    assert ends[0].read(0.05) == b""
    assert 0.04 < time.monotonic() - start_s < 0.5


def test_another_thread_wakes_a_reader(ends: Ends) -> None:
    port = ends[0]
    threading.Timer(0.05, port.wake).start()
    start_s = time.monotonic()
    assert port.read(5.0) == b""
    assert time.monotonic() - start_s < 1.0
    port.wake()  # and one that is about to read
    assert port.read(5.0) == b""
    assert time.monotonic() - start_s < 1.0


def settled(port: Port, chunk: bytes) -> int:
    """What the line takes after all: a pty first moves what it holds to the other side."""
    time.sleep(0.05)
    return port.write(chunk)


def test_a_full_line_takes_a_part_and_says_when_it_takes_more(ends: Ends) -> None:
    port, read, _, _ = ends
    chunk = bytes(1 << 20)
    total = 0
    while taken := port.write(chunk) or settled(port, chunk):
        total += taken
    start_s = time.monotonic()
    assert port.read(0.02, sending=True) == b""
    assert time.monotonic() - start_s > 0.01
    drained = 0
    while drained < total:
        drained += len(read(1 << 20))
    start_s = time.monotonic()
    assert port.read(5.0, sending=True) == b""
    assert time.monotonic() - start_s < 1.0
    assert port.write(b"x") == 1


def test_a_line_that_goes_away_is_named(ends: Ends) -> None:
    port, _, _, hang_up = ends
    hang_up()

    def use() -> None:
        for _ in range(100):
            port.read(0.1)
            port.write(b"x")

    with pytest.raises(TransportError, match=r"lost") as caught:
        use()
    assert str(caught.value).startswith(port.name)


def test_a_closed_port_may_be_woken_and_closed_again(ends: Ends) -> None:
    port = ends[0]
    port.close()
    port.wake()
    port.close()


def test_a_port_without_a_descriptor_is_asked_again_and_again() -> None:
    with closing(SerialPort("loop://", handlers=("loop",))) as port:
        assert port.write(b"abc") == 3
        assert read_all(port, 3) == b"abc"
        start_s = time.monotonic()
        assert port.read(0.02) == b""
        threading.Timer(0.02, port.wake).start()
        assert port.read(5.0) == b""
        assert time.monotonic() - start_s < 1.0


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("/dev/does-not-exist", "eapu-hil discover"),
        ("nonsense", "eapu-hil discover"),
        ("socket://127.0.0.1:1", "listening"),
        ("socket://127.0.0.1:none", "listening"),
    ],
)
def test_a_port_that_does_not_open_is_named_with_what_to_do(name: str, advice: str) -> None:
    with pytest.raises(TransportError, match=rf"cannot be opened .*{advice}") as caught:
        SerialPort(name)
    assert str(caught.value).startswith(name)
    assert "\n" not in str(caught.value)


def test_a_serial_port_is_for_one_program_alone() -> None:
    far, near = pty.openpty()
    name = os.ttyname(near)
    try:
        with closing(SerialPort(name)), pytest.raises(TransportError, match="cannot be opened"):
            SerialPort(name)
    finally:
        os.close(near)
        os.close(far)


def test_a_link_to_a_serial_port_is_the_same_port(tmp_path: Path) -> None:
    far, near = pty.openpty()
    (tmp_path / "by-id").symlink_to(os.ttyname(near))
    refused = pytest.raises(InUseError, match=rf"by-id: cannot be opened: in use by process {os.getpid()};")
    try:
        with closing(SerialPort(os.ttyname(near))), refused:
            SerialPort(str(tmp_path / "by-id"))
    finally:
        os.close(near)
        os.close(far)


def test_a_board_behind_a_socket_is_for_one_program_alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        with closing(SerialPort(f"socket://127.0.0.1:{number}")), pytest.raises(InUseError, match="in use"):
            SerialPort(f"socket://LOCALHOST:{number}")
        SerialPort(f"socket://localhost:{number}").close()
