"""The driver on the real firmware, with the twin as its front end, for tests."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from eapu_drivers.controller.board import Board
from eapu_drivers.controller.crossbar import ControllerCrossbar
from eapu_drivers.controller.link import Link, LinkTiming
from eapu_drivers.controller.ports import Port, SocketPort
from eapu_drivers.controller.units import load_calibrations
from eapu_drivers.simulated.board import rig
from eapu_drivers.simulated.board.linerecord import LineRecord

from eapu_hil.base.loading import load_model
from eapu_hil.bench.config import BenchConfig
from eapu_hil.hal import (
    Cells,
    TransportError,
)
from eapu_hil.hal.recipe import Recipe

SHAPE = (16, 8)
CELLS = Cells.all(SHAPE)
LIMITS = {
    "v_max_v": 3.5,
    "v_gate_max_v": 4.5,
    "i_max_a": 3e-4,
    "width_max_s": 1e-3,
    "pulses_per_cell_max": 60000,
    "v_read_max_v": 0.2,
}
BENCH = {"backend": "controller", "port": "sim:posix", "preset": "ideal", "shape": SHAPE, "limits": LIMITS}
V_READ_V = 0.2
USUAL = LinkTiming()


RECIPE = load_model(Recipe, "rram_180nm", [], "recipes")


def config_of(**changes: Any) -> BenchConfig:
    return load_model(BenchConfig, {**BENCH, **changes}, (), "benches")


@dataclass
class Bed:
    """An open board with everything in reach. chip: the directory of its chip."""

    array: ControllerCrossbar
    board: Board
    link: Link
    rig: rig.Rig
    chip: Path

    def lines(self) -> LineRecord:
        return LineRecord.read(self.chip)


@contextmanager
def bed_on(
    chip: Path,
    open_port: Callable[[rig.Rig], Callable[[], Port]],
    config: BenchConfig,
    timing: LinkTiming = USUAL,
) -> Iterator[Bed]:
    with rig.start("posix", config, chip) as running, Link(open_port(running), timing) as link:
        calibrations = load_calibrations(chip, 1, SHAPE)
        board = Board(link, "test", config.limits.as_limits(), calibrations, timing.dead_man_s)
        array = ControllerCrossbar(board, 0, calibrations[0], config.recipe)
        yield Bed(array, board, link, running, chip)


def plugged_once(running: rig.Rig) -> Callable[[], Port]:
    lines = [running.host]

    def open_port() -> Port:
        if not lines:
            raise TransportError(f"test: {running.ending()}")
        return SocketPort(lines.pop(), "test")

    return open_port


def wait_until(true: Callable[[], bool], within_s: float = 10.0) -> None:
    end_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end_s, "in vain"
        time.sleep(0.002)


@contextmanager
def interrupted(when: Callable[[], bool]) -> Iterator[None]:
    """Presses Ctrl-C once `when` is so; the block has to end with KeyboardInterrupt.

    Again after a second: numpy drops an exception that falls into one of its look-ups (see stopping.py).
    """
    noticed = threading.Event()

    def press() -> None:
        wait_until(when)
        while not noticed.is_set():
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            noticed.wait(1.0)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        yield
    noticed.set()
    thread.join()
