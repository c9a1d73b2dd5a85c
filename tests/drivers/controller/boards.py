"""The real firmware as a program of this machine, for the link's tests and benchmark: without a front end of its own
(`--free`), or with one in Python that counts what reaches the cells.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from eapu_drivers.controller import messages
from eapu_drivers.controller.frames import Decoder, Frame, encode
from eapu_drivers.controller.link import Link
from eapu_drivers.controller.message import Message
from eapu_drivers.controller.messages import Refused, Write

FIRMWARE = Path(__file__).parents[3] / "firmware"
SHAPE = (16, 8)
FREE = ["--free", f"{SHAPE[0]}x{SHAPE[1]}x1"]
G_LOW_S, G_HIGH_S = 1e-6, 30e-6
GATE_OFFSET_V, GATE_SLOPE_S_PER_V = 0.7, 40e-6
MISSING = (
    None if shutil.which("make") and shutil.which("cc") else "needs make and cc: apt-get install make gcc"
)


def build() -> str:
    """The program, built where that is due."""
    subprocess.run(["make", "-s", "-C", str(FIRMWARE), "posix"], check=True)
    return str(FIRMWARE / "build" / "posix" / "eapu-firmware")


@dataclass
class Board:
    """host: the host's end of the line."""

    host: socket.socket
    process: subprocess.Popen[bytes]


@contextmanager
def firmware(front_end: list[str], pass_fds: tuple[int, ...] = ()) -> Iterator[Board]:
    """A running firmware; `front_end` are its arguments for that."""
    program = build()
    host, theirs = socket.socketpair()
    command = [program, "--host-fd", str(theirs.fileno()), *front_end]
    with theirs:
        process = subprocess.Popen(command, pass_fds=(theirs.fileno(), *pass_fds))
    try:
        yield Board(host, process)
    finally:
        host.close()
        process.terminate()
        process.wait(5)


@contextmanager
def free_board() -> Iterator[Board]:
    """A board whose front end answers at once."""
    with firmware(FREE) as board:
        yield board


@contextmanager
def counting_board() -> Iterator[tuple[Board, CountingFrontEnd]]:
    """A board with the same cells, but every pulse is counted where it arrives."""
    ours, theirs = socket.socketpair()
    front_end = CountingFrontEnd(ours)
    with ours, theirs, firmware(["--afe-fd", str(theirs.fileno())], (theirs.fileno(),)) as board:
        threading.Thread(target=front_end.serve, daemon=True).start()
        yield board, front_end


class CountingFrontEnd:
    """Perfect cells. pulses: how many each (row, column) got."""

    def __init__(self, line: socket.socket) -> None:
        self.pulses: Counter[tuple[int, int]] = Counter()
        self._g_S = np.full(SHAPE, G_LOW_S)
        self._line = line
        self._time_ns = 0

    def serve(self) -> None:
        decoder = Decoder(messages.AFE_PAYLOAD_MAX)
        try:
            while data := self._line.recv(65_536):
                for frame in decoder.feed(data):
                    answer = self._answer(frame)
                    self._line.sendall(encode(answer.NUMBER, 0, 0, answer.pack()))
        except OSError:
            return

    def _answer(self, frame: Frame) -> Message:
        self._time_ns += 1000
        request = messages.BY_NUMBER[frame.number].unpack(frame.payload)
        if isinstance(request, messages.AfeOpen):
            full, top = 5_000_000, 32767
            ranges_a = (4e-6, 2e-5, 1e-4, 5e-4, 0.0, 0.0, 0.0, 0.0)
            board = (full, full, 10_000_000, 10_000_000)
            return messages.AfeInfo(
                0, 1, *SHAPE, *board, 500_000, top, full, top, full, top, top, 1, 4, ranges_a
            )
        if isinstance(request, messages.AfeRead):
            cells = request.tail
            volts = cells["code"] * (0.5 / 32767)
            codes = np.rint(self._g_S[cells["row"], cells["col"]] * volts / 2e-5 * 32767)
            return messages.AfeReadIs(self._time_ns, codes.astype(np.int16))
        if isinstance(request, messages.AfePulse):
            for row, col, polarity, _, gate, _ in request.tail.tolist():
                self.pulses[row, col] += 1
                reached_S = GATE_SLOPE_S_PER_V * (gate * (5.0 / 32767) - GATE_OFFSET_V)
                self._g_S[row, col] = max(self._g_S[row, col], reached_S) if polarity > 0 else G_LOW_S
            return messages.AfePulsed(self._time_ns, np.zeros(len(request.tail), np.uint8))
        return messages.AfeDone(self._time_ns)


def configure(link: Link) -> None:
    """Limits, and in slot 0 a recipe that takes these cells to any target with a single pulse."""
    limits = messages.Limits(link.take_ids(), 3_500_000, 5_000_000, 500_000, 2_000_000, 1_000_000, 100)
    recipe = messages.Recipe(
        id=link.take_ids(),
        slot=0,
        rewrite_in_band=0,
        pulses_max=60,
        flips_max=20,
        pulses_at_cap_max=5,
        g_min_S=G_LOW_S,
        g_max_S=40e-6,
        band_S=1e-6,
        v_read_v=0.2,
        set_gate_start_v=GATE_OFFSET_V,
        set_gate_step_v=0.02,
        set_gate_stop_v=2.0,
        set_gate_offset_v=GATE_OFFSET_V,
        set_gate_slope_S_per_v=GATE_SLOPE_S_PER_V,
        set_start_v=2.0,
        set_step_v=0.1,
        set_stop_v=2.5,
        set_width_s=1e-7,
        reset_gate_v=4.0,
        reset_start_v=1.0,
        reset_step_v=0.05,
        reset_stop_v=2.5,
        reset_width_s=1e-7,
        time_max_s=10.0,
    )
    for request in (limits, recipe):
        answer = link.submit(request).result(5)
        if isinstance(answer, Refused):
            raise AssertionError(answer)


def writes(link: Link, count: int) -> Iterator[Write]:
    """`count` cell writes, twelve a frame: every cell of the array in turn, up in one round and down in the next."""
    rows, cols = SHAPE
    for start in range(0, count, messages.CELLS_MAX):
        index = np.arange(start, min(start + messages.CELLS_MAX, count))
        tail = np.empty(index.size, Write.TAIL)
        tail["row"], tail["col"] = np.divmod(index % (rows * cols), cols)
        tail["g_target_S"] = np.where(index // (rows * cols) % 2, G_LOW_S, G_HIGH_S)
        yield Write(link.take_ids(index.size), 0, 0, tail)
