"""Every image boots and answers: as a program, in QEMU's MPS2 board and in its STM32F405 board."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from eapu_drivers.controller import messages as m
from eapu_drivers.controller.frames import Decoder, encode

PATIENCE_s = 60.0  # a busy machine's QEMU is slow
LIMITS = (3_000_000, 3_000_000, 200_000, 1_000_000, 100_000, 50)
INFO = m.AfeInfo(
    time_ns=0,
    arrays=1,
    rows=16,
    cols=8,
    v_max_uv=3_500_000,
    v_gate_max_uv=5_000_000,
    i_max_na=2_000_000,
    width_max_ns=1_000_000,
    read_full_scale_uv=250_000,
    read_top=2047,
    pulse_full_scale_uv=3_500_000,
    pulse_top=4095,
    gate_full_scale_uv=5_000_000,
    gate_top=4095,
    adc_top=2047,
    read_range=1,
    ranges=2,
    range_full_scale_a=(1e-6, 1e-5, 0, 0, 0, 0, 0, 0),
)
# One row drives, one column measures; its codes never come.
PRODUCT = m.Product(2, 0, m.LineDirection.FORWARD, 0, 5, np.array([1, 0, 1], np.uint8))


class Host:
    """Frames on one end of a line; sequenced ones are numbered, and none is lost here."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._decoder = Decoder()
        self._next = self._expected = 0

    def hello(self, link: int, dead_man_ms: int = 60_000) -> m.Welcome:
        """Says hello until it is heard: what comes while the board boots may be lost."""
        self._next = self._expected = 0
        for _ in range(round(PATIENCE_s / 2)):
            self._send(m.Hello(m.VERSION, m.SCHEMA, link, 1000, dead_man_ms))
            welcome = self._hear(lambda message: isinstance(message, m.Welcome), 2.0)
            if welcome is not None:
                assert isinstance(welcome, m.Welcome)
                return welcome
        raise AssertionError("no answer to HELLO")

    def ask(self, request: m.Exchange) -> m.Message:
        self._send(request)
        answer = self._hear(
            lambda message: isinstance(message, m.Exchange) and message.id == request.id, PATIENCE_s
        )
        assert answer is not None, f"no answer to {request}"
        return answer

    def status(self, request_id: int) -> m.StatusIs:
        answer = self.ask(m.Status(request_id))
        assert isinstance(answer, m.StatusIs)
        return answer

    def send_only(self, request: m.Message) -> None:
        self._send(request)

    def _send(self, message: m.Message) -> None:
        seq = self._next if message.SEQUENCED else 0
        self._next = (self._next + message.SEQUENCED) % 256
        os.write(self._fd, encode(message.NUMBER, seq, self._expected, message.pack()))

    def _hear(self, wanted: Callable[[m.Message], bool], within_s: float) -> m.Message | None:
        until_s = time.monotonic() + within_s
        while select.select([self._fd], [], [], max(0.0, until_s - time.monotonic()))[0]:
            for frame in self._decoder.feed(os.read(self._fd, 4096)):
                kind = m.BY_NUMBER[frame.number]
                self._expected = (self._expected + kind.SEQUENCED) % 256
                message = kind.unpack(frame.payload)
                if wanted(message):
                    return message
        return None


class FrontEnd:
    """Answers every request of the firmware, and remembers their names."""

    def __init__(self, line: socket.socket) -> None:
        self.asked: list[str] = []
        self._line = line
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        decoder = Decoder(m.AFE_PAYLOAD_MAX)
        while data := self._line.recv(4096):
            for frame in decoder.feed(data):
                self.asked.append(m.BY_NUMBER[frame.number].__name__)
                answer = INFO if frame.number == m.AfeOpen.NUMBER else m.AfeDone(len(self.asked))
                self._line.sendall(encode(answer.NUMBER, 0, 0, answer.pack()))

    def join(self) -> None:
        self._thread.join(PATIENCE_s)
        assert not self._thread.is_alive()


@contextmanager
def _running(command: Sequence[str | Path], *lines: socket.socket) -> Iterator[subprocess.Popen[bytes]]:
    """lines: the program's ends; it alone has them afterwards."""
    process = subprocess.Popen(command, pass_fds=[line.fileno() for line in lines], stderr=subprocess.DEVNULL)
    for line in lines:
        line.close()
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _qemu(machine: str, image: Path, *lines: socket.socket) -> list[str | Path]:
    serial = [
        part
        for i, line in enumerate(lines)
        for part in ("-chardev", f"socket,id=line{i},fd={line.fileno()}", "-serial", f"chardev:line{i}")
    ]
    return [
        "qemu-system-arm",
        "-M",
        machine,
        "-kernel",
        image,
        "-display",
        "none",
        "-monitor",
        "none",
        *serial,
    ]


def _configure(host: Host, board: str) -> m.Welcome:
    """What every image answers, whatever front end it has."""
    welcome = host.hello(1)
    assert welcome.board == board
    assert welcome.schema == m.SCHEMA
    assert len(welcome.git_hash) == 12 or welcome.git_hash == "unknown"
    assert welcome.session != 0
    assert welcome.rx_bytes >= 4096
    assert isinstance(host.ask(m.Limits(1, *LIMITS)), m.Done)
    limits = host.ask(m.GetLimits(2))
    assert isinstance(limits, m.LimitsAre)
    assert limits.pack() == m.LimitsAre(2, *LIMITS).pack()
    status = host.status(3)
    assert (status.state, status.fault, status.grounded) == (m.BoardState.READY, m.Fault.NONE, 1)
    assert status.rx_damaged <= 1  # a HELLO that came while the board booted
    return welcome


def test_posix(need: Callable[..., None], make: Callable[..., str], firmware: Path) -> None:
    need("host")
    make("posix")
    ours, theirs = socket.socketpair()
    program = firmware / "build" / "posix" / "eapu-firmware"
    command: list[str | Path] = [
        program,
        "--host-fd",
        str(theirs.fileno()),
        "--free",
        "20x10x2",
        "--serial",
        "bench-7",
    ]
    with ours, _running(command, theirs) as process:
        host = Host(ours.fileno())
        welcome = _configure(host, "posix")
        assert (welcome.serial, welcome.rows, welcome.cols, welcome.arrays) == ("bench-7", 20, 10, 2)
        codes = host.ask(m.Read(4, 1, 200_000, 3, 4, 2, 5))
        assert isinstance(codes, m.ReadIs)
        assert len(codes.tail) == 10
        ours.close()
        assert process.wait(PATIENCE_s) == 0


def test_mps2(need: Callable[..., None], make: Callable[..., str], firmware: Path) -> None:
    need("arm", "qemu")
    make("mps2")
    ours, theirs = socket.socketpair()
    afe, afe_theirs = socket.socketpair()
    image = firmware / "build" / "mps2" / "eapu-firmware.elf"
    front_end = FrontEnd(afe)
    with ours, afe:
        with _running(_qemu("mps2-an385", image, theirs, afe_theirs), theirs, afe_theirs):
            welcome = _configure(Host(ours.fileno()), "mps2-an385")
            assert (welcome.rows, welcome.cols, welcome.adc_top) == (INFO.rows, INFO.cols, INFO.adc_top)
            assert front_end.asked[:2] == ["AfeOpen", "AfeGround"]
            assert "AfeArm" in front_end.asked
        front_end.join()


def test_sessions_differ(need: Callable[..., None], make: Callable[..., str], firmware: Path) -> None:
    """The image in QEMU has no source of random numbers but its clock."""
    need("arm", "qemu")
    make("mps2")
    sessions = set()
    for _ in range(3):
        ours, theirs = socket.socketpair()
        afe, afe_theirs = socket.socketpair()
        image = firmware / "build" / "mps2" / "eapu-firmware.elf"
        front_end = FrontEnd(afe)
        with ours, afe:
            with _running(_qemu("mps2-an385", image, theirs, afe_theirs), theirs, afe_theirs):
                sessions.add(Host(ours.fileno()).hello(1).session)
            front_end.join()
    assert len(sessions) == 3


def test_stm32f405_without_its_parts(
    need: Callable[..., None], make: Callable[..., str], firmware: Path
) -> None:
    need("arm", "qemu")
    make("stm32f405")
    ours, theirs = socket.socketpair()
    image = firmware / "build" / "stm32f405" / "eapu-firmware.elf"
    with ours, _running(_qemu("netduinoplus2", image, theirs), theirs):
        host = Host(ours.fileno())
        welcome = _configure(host, "stm32f405")
        assert (welcome.arrays, welcome.rows, welcome.cols, welcome.simulated_time) == (1, 16, 16, 0)
        refused = host.ask(m.Read(4, 0, 200_000, 0, 0, 2, 2))
        assert isinstance(refused, m.Refused)
        assert refused.reason == m.Reason.FRONT_END
        status = host.status(5)
        assert (status.state, status.fault, status.grounded) == (m.BoardState.FAULT, m.Fault.FRONT_END, 1)
        assert isinstance(host.ask(m.Clear(6)), m.StatusIs)
        assert host.status(7).fault == m.Fault.NONE


def test_the_board_outlives_its_host_until_the_lines_are_grounded(
    need: Callable[..., None], make: Callable[..., str], firmware: Path
) -> None:
    need("host")
    make("posix")
    ours, theirs = socket.socketpair()
    afe, afe_theirs = socket.socketpair()
    program = firmware / "build" / "posix" / "eapu-firmware"
    command: list[str | Path] = [
        program,
        "--host-fd",
        str(theirs.fileno()),
        "--afe-fd",
        str(afe_theirs.fileno()),
    ]
    front_end = FrontEnd(afe)
    with ours, afe, _running(command, theirs, afe_theirs) as process:
        host = Host(ours.fileno())
        host.hello(1, dead_man_ms=600)
        assert isinstance(host.ask(m.Limits(1, *LIMITS)), m.Done)
        host.send_only(PRODUCT)
        while front_end.asked[-1] != "AfeSelect":
            time.sleep(0.01)
        gone_s = time.monotonic()
        ours.close()
        assert process.wait(PATIENCE_s) == 0
        assert time.monotonic() - gone_s > 0.4  # it was the dead-man timer: HELLO may be 0.2 s old
        front_end.join()
        assert front_end.asked[-2:] == ["AfeSelect", "AfeGround"]


def test_a_stop_signal_grounds_the_lines(
    need: Callable[..., None], make: Callable[..., str], firmware: Path
) -> None:
    need("host")
    make("posix")
    ours, theirs = socket.socketpair()
    afe, afe_theirs = socket.socketpair()
    program = firmware / "build" / "posix" / "eapu-firmware"
    command: list[str | Path] = [
        program,
        "--host-fd",
        str(theirs.fileno()),
        "--afe-fd",
        str(afe_theirs.fileno()),
    ]
    front_end = FrontEnd(afe)
    with ours, afe, _running(command, theirs, afe_theirs) as process:
        host = Host(ours.fileno())
        host.hello(1)
        host.ask(m.Limits(1, *LIMITS))
        host.send_only(PRODUCT)
        while front_end.asked[-1] != "AfeSelect":
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_s) == 0
        front_end.join()
        assert front_end.asked[-1] == "AfeGround"


def test_pty(need: Callable[..., None], make: Callable[..., str], firmware: Path) -> None:
    """A client may close the terminal and open it again, as with a real board."""
    need("host")
    make("posix")
    program = firmware / "build" / "posix" / "eapu-firmware"
    with subprocess.Popen(
        [program, "--pty", "--free", "16x8x1"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        sessions = []
        for link in (1, 2):
            terminal = os.open(name, os.O_RDWR | os.O_NOCTTY)
            sessions.append(Host(terminal).hello(link).session)
            os.close(terminal)
        assert sessions[0] == sessions[1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_s) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--free", "16x8x1"],
        ["--pty"],
        ["--pty", "--free", "16x129x1"],
        ["--pty", "--free", "16x8"],
        ["--pty", "--what"],
    ],
)
def test_usage(
    need: Callable[..., None], make: Callable[..., str], firmware: Path, arguments: list[str]
) -> None:
    need("host")
    make("posix")
    program = firmware / "build" / "posix" / "eapu-firmware"
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, timeout=PATIENCE_s
    )
    assert done.returncode == 2
    assert done.stderr.startswith("usage:")
