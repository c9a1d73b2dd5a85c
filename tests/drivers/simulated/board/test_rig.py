"""The real firmware on the twin: that it starts, and that it ends whatever happens, with its lines at 0 V."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from eapu_drivers.controller import messages as m
from eapu_drivers.controller.frames import Decoder, encode
from eapu_drivers.controller.link import LinkTiming
from eapu_drivers.simulated.board import rig
from eapu_drivers.simulated.board.linerecord import LineRecord

import eapu_hil
from eapu_hil.base.loading import load_model
from eapu_hil.bench.config import BenchConfig
from eapu_hil.hal import ConfigError, HilError

SOON_s = 10.0  # generous: other tests run beside
BENCH = {
    "backend": "controller",
    "port": "sim:posix",
    "preset": "ideal",
    "shape": [8, 4],
    "limits": {
        "v_max_v": 3.5,
        "v_gate_max_v": 5.0,
        "i_max_a": 2e-3,
        "width_max_s": 1e-3,
        "pulses_per_cell_max": 60000,
    },
}
NEEDED = {"posix": ("make", "gcc"), "qemu": ("make", "arm-none-eabi-gcc", "qemu-system-arm")}


def skip_without(kind: str) -> None:
    missing = [tool for tool in NEEDED[kind] if shutil.which(tool) is None]
    if missing:
        pytest.skip(
            f"{', '.join(missing)} missing: apt-get install make gcc gcc-arm-none-eabi qemu-system-arm"
        )


@pytest.fixture(params=["posix", "qemu"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    skip_without(name)
    return name


@pytest.fixture
def posix() -> str:
    skip_without("posix")
    return "posix"


def config_of(**changes: Any) -> BenchConfig:
    return load_model(BenchConfig, {**BENCH, **changes}, (), "benches")


def runs(pid: int) -> bool:
    """Whether a process is alive; one that waits to be reaped is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(true: Callable[[], bool], within_s: float = SOON_s) -> float:
    start_s = time.monotonic()
    while not true():
        assert time.monotonic() - start_s < within_s, "in vain"
        time.sleep(0.01)
    return time.monotonic() - start_s


def hello(host: socket.socket) -> m.Welcome:
    """Asks until it is answered: a board that boots may miss the first."""
    decoder = Decoder()
    request = m.Hello(m.VERSION, m.SCHEMA, link=7, resend_ms=200, dead_man_ms=1000)
    host.settimeout(0.5)
    end_s = time.monotonic() + SOON_s
    host.sendall(b"\0" + encode(m.Hello.NUMBER, 0, 0, request.pack()))
    while time.monotonic() < end_s:
        try:
            frames = decoder.feed(host.recv(4096))  # from QEMU in pieces of any size
        except TimeoutError:
            host.sendall(b"\0" + encode(m.Hello.NUMBER, 0, 0, request.pack()))
            continue
        for frame in frames:
            if frame.number == m.Welcome.NUMBER:
                return m.Welcome.unpack(frame.payload)
    raise AssertionError("no answer")


def test_it_starts_answers_and_ends(kind: str, tmp_path: Path) -> None:
    with rig.start(kind, config_of(arrays=2, seed=5), tmp_path) as board:
        welcome = hello(board.host)
        assert (welcome.arrays, welcome.rows, welcome.cols, welcome.simulated_time) == (2, 8, 4, 1)
        assert welcome.read_full_scale_uv == 1_000_000
        assert all(runs(pid) for pid in board.pids)
        start_s = time.monotonic()
    assert time.monotonic() - start_s < 5.0
    assert not any(runs(pid) for pid in board.pids)
    assert LineRecord.read(tmp_path).grounded


# The host of a board, in the middle of a long train of pulses.
HOST = """
import sys
from pathlib import Path
from eapu_drivers.controller.driver import open_arrays
from eapu_hil.bench.config import BenchConfig
from eapu_hil.base.loading import load_model
from eapu_hil.hal import Cells, Polarity, Pulses
from eapu_drivers.simulated.board import rig

def announced(*arguments, start=rig.start):
    board = start(*arguments)
    print(*board.pids, flush=True)
    return board

rig.start = announced
config = load_model(BenchConfig, sys.argv[1], (), "benches")
with open_arrays(config, Path(sys.argv[2])) as arrays:
    while True:
        arrays[0].pulse(Pulses.same(Cells.block(0, 8, 0, 4), Polarity.SET, 1.0, 1.0, 1e-7, 60000))
"""


@contextmanager
def pulsing_host(kind: str, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int], Path]]:
    """The process of a host that pulses, with the pids of its board and the directory of its chip."""
    chip, bench = tmp_path / "chip", tmp_path / "bench.yaml"
    bench.write_text(repr({**BENCH, "port": f"sim:{kind}"}))
    command = [sys.executable, "-P", "-c", HOST, str(bench), str(chip)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as host:
        try:
            assert host.stdout is not None
            pids = [int(pid) for pid in host.stdout.readline().split()]
            assert len(pids) == 2
            wait_until(lambda: LineRecord.read(chip).pulses > 100)
            yield host, pids, chip
        finally:
            host.kill()


def test_a_host_that_is_killed_leaves_grounded_lines_and_no_process(kind: str, tmp_path: Path) -> None:
    dead_man_s = {"posix": LinkTiming().dead_man_s, "qemu": 5.0}[kind]
    with pulsing_host(kind, tmp_path) as (host, pids, chip):
        assert not LineRecord.read(chip).grounded
        host.kill()
        host.wait()
        died_s = time.monotonic()
        wait_until(lambda: not any(runs(pid) for pid in pids), dead_man_s + SOON_s)
    record = LineRecord.read(chip)
    assert record.grounded
    assert max(record.last_ground_s, record.last_drive_s) - died_s < dead_man_s + 0.5


def test_the_next_board_waits_for_one_whose_host_was_killed(posix: str, tmp_path: Path) -> None:
    with pulsing_host(posix, tmp_path) as (host, pids, chip):
        host.kill()
        host.wait()
        assert any(runs(pid) for pid in pids)
        with rig.start(posix, config_of(), chip) as board:
            assert not runs(pids[0])
            pulses = LineRecord.read(chip).pulses
            hello(board.host)
            assert LineRecord.read(chip).pulses == pulses


def test_firmware_that_dies_is_noticed(kind: str, tmp_path: Path) -> None:
    with rig.start(kind, config_of(), tmp_path) as board:
        hello(board.host)
        os.kill(board.pids[0], signal.SIGKILL)
        board.host.settimeout(3.0)
        with suppress(ConnectionResetError):
            while board.host.recv(4096):
                pass
        assert board.ending() == "the simulated board's firmware has died"
        assert not any(runs(pid) for pid in board.pids)


@pytest.mark.parametrize(
    ("number", "said"), [(signal.SIGKILL, "board's rig has died"), (signal.SIGTERM, "board has ended")]
)
def test_a_rig_that_dies_takes_the_firmware_along(
    posix: str, tmp_path: Path, number: signal.Signals, said: str
) -> None:
    with rig.start(posix, config_of(), tmp_path) as board:
        hello(board.host)
        os.kill(board.pids[1], number)
        wait_until(lambda: not runs(board.pids[0]))
        assert board.ending() == f"the simulated {said}"


def test_control_c_at_the_terminal_is_for_the_host(posix: str, tmp_path: Path) -> None:
    """The board is in a session of its own, so that the terminal's signal does not reach it."""
    with rig.start(posix, config_of(), tmp_path) as board:
        assert {os.getsid(pid) for pid in board.pids} == {board.pids[1]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"arrays": 5}, r"arrays, shape: 5 of 8 x 4; a controller has at most 4 arrays"),
        ({"overrides": {"dac.bits": 20}}, r"dac\.bits: 20"),
        ({"overrides": {"dac.bitz": 8}}, r"dac\.bitz \(from overrides\): unknown key"),
    ],
)
def test_what_no_controller_can_be_is_refused_at_once(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        rig.start("posix", config_of(**changes), tmp_path)
    with pytest.raises(ConfigError, match=r"sim:vhdl: no such simulation; allowed are posix, qemu"):
        rig.start("vhdl", config_of(), tmp_path)


def test_a_rig_that_cannot_start_says_why(posix: str, tmp_path: Path) -> None:
    (tmp_path / "twin").write_text("not a directory")
    with pytest.raises(HilError, match=r"^sim:posix: .*twin"):
        rig.start(posix, config_of(), tmp_path)


class TestMissingTools:
    """One line that says what to install."""

    def test_make(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(HilError, match="make, which is missing: apt-get install make"):
            rig.start("posix", config_of(), tmp_path)

    def test_the_compiler(self, posix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOST_CC", "no-such-compiler")
        with pytest.raises(HilError, match=r"posix needs .*: apt-get install gcc") as error:
            rig.start(posix, config_of(), tmp_path)
        assert "\n" not in str(error.value)

    def test_qemu(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(
            HilError, match=r"^sim:qemu: qemu-system-arm is missing: apt-get install qemu-system"
        ):
            rig.start("qemu", config_of(), tmp_path)

    def test_the_sources(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(eapu_hil, "__file__", str(tmp_path / "site-packages/eapu_hil/__init__.py"))
        with pytest.raises(HilError, match=r"built from firmware/ of the repository, and .* is not there"):
            rig.start("posix", config_of(), tmp_path)
