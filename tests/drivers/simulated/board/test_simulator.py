"""A simulated controller on a port: clients one after another, whatever they do; and the way to ask for one."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eapu_drivers.controller.driver import open_arrays
from eapu_drivers.controller.link import Link, LinkTiming
from eapu_drivers.controller.ports import SerialPort
from eapu_drivers.simulated.board import rig, simulator

from eapu_hil.base.loading import load_model
from eapu_hil.bench.config import BenchConfig
from eapu_hil.hal import Cells, ConfigError, Polarity, Pulses, TransportError

BENCH: dict[str, Any] = {
    "backend": "controller",
    "port": "sim:posix",
    "preset": "ideal",
    "shape": [8, 4],
    "limits": {
        "v_max_v": 3.5,
        "v_gate_max_v": 5.0,
        "i_max_a": 2e-3,
        "width_max_s": 1e-3,
        "pulses_per_cell_max": 100,
    },
}
PATIENT = LinkTiming(hello_s=10.0)


def config_of(**changes: Any) -> BenchConfig:
    return load_model(BenchConfig, {**BENCH, **changes}, (), "benches")


@pytest.fixture
def board(tmp_path: Path) -> Iterator[rig.Rig]:
    missing = [tool for tool in ("make", "gcc") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} missing: apt-get install make gcc")
    with rig.start("posix", config_of(), tmp_path / "simulated") as started:
        yield started


@contextmanager
def served(board: rig.Rig, where: str) -> Iterator[tuple[str, list[TransportError]]]:
    """The address of the board's line, and what the service ended with."""
    ended: list[TransportError] = []

    def serve() -> None:
        try:
            simulator.serve(board, line)
        except TransportError as error:
            ended.append(error)

    with simulator.listening(where) as line:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield line.address, ended
        finally:
            os.kill(board.pids[0], signal.SIGKILL)
            thread.join(10)
    assert not thread.is_alive()


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("where", ["127.0.0.1:0", "[::1]:0", simulator.PTY])
def test_clients_come_one_after_another(board: rig.Rig, where: str) -> None:
    if where.startswith("[") and not has_ipv6():
        pytest.skip("no IPv6 on this machine")
    with served(board, where) as (address, _):
        assert address.startswith("/dev/" if where == simulator.PTY else f"socket://{where[:-2]}:")
        sessions = set()
        for _ in range(3):
            with Link(lambda: SerialPort(address), PATIENT) as link:
                assert (link.welcome.rows, link.welcome.cols) == (8, 4)
                sessions.add(link.welcome.session)
        assert len(sessions) == 1  # one board, and it was never restarted


def test_a_bench_file_names_it_as_any_port(board: rig.Rig, tmp_path: Path) -> None:
    with served(board, "127.0.0.1:0") as (address, _):
        real = {key: value for key, value in BENCH.items() if key != "preset"}
        config = load_model(BenchConfig, {**real, "port": address}, (), "benches")
        for gate_v, g_S in ((1.2, 20e-6), (1.7, 40e-6)):  # the cells stay as the one before left them
            with open_arrays(config, tmp_path / "chip") as arrays:
                cells = Cells.block(0, 2, 0, 4)
                arrays[0].pulse(Pulses.same(cells, Polarity.SET, 2.5, gate_v, 1e-6))
                np.testing.assert_allclose(arrays[0].read(cells, 0.2).g_S, g_S, rtol=1e-3)
                assert (arrays[0].read(Cells.block(2, 8, 0, 4), 0.2).g_S < 2e-6).all()


def test_clients_that_talk_nonsense_or_vanish(board: rig.Rig) -> None:
    with served(board, "127.0.0.1:0") as (address, _):
        port = int(address.rpartition(":")[2])
        for nonsense in (b"", b"\0\0\0", b"GET / HTTP/1.1\r\n\r\n" * 5000):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(nonsense)
        with Link(lambda: SerialPort(address), PATIENT) as link:
            assert link.welcome.rows == 8


def test_the_end_of_the_board_ends_the_service(board: rig.Rig) -> None:
    with served(board, "127.0.0.1:0") as (_, ended):
        pass
    assert [str(error) for error in ended] == ["the simulated board's firmware has died"]


@pytest.mark.parametrize("where", ["nowhere", "127.0.0.1", ":80", "127.0.0.1:x", "127.0.0.1:70000"])
def test_places_that_are_none(where: str) -> None:
    with (
        pytest.raises(ConfigError, match=r"^--listen .*: expected HOST:PORT or pty$"),
        simulator.listening(where),
    ):
        pass


def test_a_port_that_is_taken() -> None:
    with (
        simulator.listening("127.0.0.1:0") as line,
        pytest.raises(ConfigError, match=r"--listen 127\.0\.0\.1:\d+: .*in use"),
        simulator.listening(line.address.removeprefix("socket://")),
    ):
        pass
