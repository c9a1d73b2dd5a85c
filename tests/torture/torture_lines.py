"""A bad network between host and controller: damaged bytes, resets of the connection, in the midst of writes.

The simulated controller runs in a process of its own; what its lines saw is compared with what the ledger counts.
"""

from __future__ import annotations

import contextlib
import json
import random as plain_random
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml
from eapu_drivers.simulated.board.linerecord import LineRecord
from torture_counts import SILENT, Counts
from torture_files import LIMITS

from eapu_hil.bench import open_bench
from eapu_hil.hal import Cells, HilError, Targets

SHAPE = (16, 16)
BENCH = {"backend": "twin", "preset": "ideal", "arrays": 1, "shape": list(SHAPE), "limits": LIMITS}
REQUESTS = 6  # of one session, at most


def try_lines(folder: Path, trials: int, random: np.random.Generator) -> Counts:
    """Programs all cells through `trials` bad connections."""
    counts = Counts("bad lines (damage, resets)", trials)
    with _controller(folder) as address:
        chip, lines = folder / "host_chip", folder / "line_chip"
        before = 0, 0
        while counts.tried < trials:
            with _BadLine(address, int(random.integers(1 << 31))) as line:
                answered = _session(line.port, chip, random)
            now = _counted(chip), LineRecord.read(lines).pulses
            counted, seen = now[0] - before[0], now[1] - before[1]
            before = now
            if counted < seen or (answered and counted > seen):
                counts.add(SILENT, f"answered {answered}: the ledger counts {counted} of {seen} pulses")
            else:
                counts.add("exact" if counted == seen else "lost, counted as an upper bound")
    return counts


def _session(port: int, chip: Path, random: np.random.Generator) -> bool:
    """Whether every request was answered."""
    bench = {**BENCH, "backend": "controller", "port": f"socket://127.0.0.1:{port}"}
    del bench["preset"]
    try:
        with open_bench(bench, chip_dir=chip, commission=False) as opened:
            array = opened.arrays[0]
            for _ in range(REQUESTS):
                array.program(Targets(Cells.all(SHAPE), random.uniform(5e-6, 30e-6, SHAPE[0] * SHAPE[1])))
    except HilError:
        return False
    return True


def _counted(chip: Path) -> int:
    return sum(int(np.load(path).sum()) for path in sorted((chip / "ledger").glob("array*/pulses.npy")))


@contextlib.contextmanager
def _controller(folder: Path) -> Iterator[tuple[str, int]]:
    """`eapu-hil sim controller` on a chip of its own; yields its address."""
    bench = folder / "lines.yaml"
    bench.write_text(yaml.safe_dump({**BENCH, "chip": str(folder / "line_chip")}), encoding="utf-8")
    command = [sys.executable, "-P", "-m", "eapu_hil.cli", "sim", "controller", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        [*command, "--bench", str(bench), "--json"], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            host, port = json.loads(process.stdout.readline())["port"].removeprefix("socket://").split(":")
            yield host, int(port)
        finally:
            process.terminate()
            process.wait()


class _BadLine:
    """A TCP port that passes bytes on to `far`; now and then one is changed, or the connection is reset."""

    def __init__(self, far: tuple[str, int], seed: int) -> None:
        self._far = far
        self._random = plain_random.Random(seed)
        self._resets = self._random.randrange(3)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> _BadLine:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed: the session is over
            while True:
                near, _ = self._listener.accept()
                with near, socket.create_connection(self._far) as far:
                    self._carry(near, far)

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        left = self._random.randrange(2_000, 60_000) if self._resets > 0 else 1 << 60  # bytes until the reset
        self._resets -= 1
        over = threading.Event()

        def passed(source: socket.socket, sink: socket.socket) -> None:
            nonlocal left
            with contextlib.suppress(OSError):
                while not over.is_set() and (data := source.recv(4096)):
                    left -= len(data)
                    if left < 0:
                        break
                    sink.sendall(self._damaged(data))
            over.set()
            for end in (near, far):
                _reset(end)

        up = threading.Thread(target=passed, args=(near, far), daemon=True)
        up.start()
        passed(far, near)
        up.join()

    def _damaged(self, data: bytes) -> bytes:
        if self._random.random() > 0.02:
            return data
        content = bytearray(data)
        content[self._random.randrange(len(content))] ^= 1 << self._random.randrange(8)
        return bytes(content)


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other direction has closed it
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RDWR)
