"""What ends a program without a word to it: its guard switches the outputs off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from eapu_drivers.simulated.instruments.sim_keithley2450 import SimulatedKeithley2450
from eapu_drivers.visa.families import open_source_meter
from eapu_drivers.visa.guard import Guard
from eapu_drivers.visa.sources import Place
from eapu_drivers.visa.transport import VisaTransport
from stations import LIMITS, SmallStation

from eapu_hil.hal import HilError

STATION = Path(__file__).parent / "station_process.py"
HOST = """
import json, os, sys, time
from pathlib import Path
import numpy as np
from eapu_drivers.visa import guard
from eapu_hil.bench import open_bench
from eapu_hil.hal import Cells, Polarity, Pulses

guard.SILENCE_s = 2.0
with open_bench(json.loads(sys.argv[1]), chip_dir=Path(sys.argv[2]), commission=False) as bench:
    [array] = bench.arrays
    cells = Cells.all(array.shape)
    print("open", flush=True)
    number = 0
    while True:
        array.pulse(Pulses.same(cells, Polarity.SET, 1.0, 1.5, 2e-3, 1))
        number += 1
        if number == 2:
            print("pulsing", flush=True)
            if sys.argv[3] == "exit":
                os._exit(7)
            if sys.argv[3] == "wait":
                time.sleep(6.0)
                break
"""
posix = pytest.mark.skipif(os.name != "posix", reason="signals of other systems")


class Station:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert process.stdout is not None
        self.bench: dict[str, Any] = json.loads(process.stdout.readline())["bench"]

    def on(self) -> list[float]:
        """The levels of the outputs that are on, V."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found: list[float] = json.loads(self._process.stdout.readline())["on"]
        return found


@contextmanager
def station(kind: str, directory: Path) -> Iterator[Station]:
    content = {
        "backend": "smu",
        "resource": f"sim:{kind}",
        "preset": "ideal",
        "shape": [4, 3],
        "limits": LIMITS,
    }
    command = [sys.executable, "-P", str(STATION), json.dumps(content), str(directory / "cells")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Station(process)
        finally:
            process.kill()


@contextmanager
def host(bench: dict[str, Any], directory: Path, how: str) -> Iterator[subprocess.Popen[str]]:
    """A program that pulses."""
    command = [sys.executable, "-P", "-c", HOST, json.dumps(bench), str(directory / "chip"), how]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            for expected in ("open\n", "pulsing\n"):
                assert process.stdout.readline() == expected, process.stderr and process.stderr.read()
            yield process
        finally:
            process.kill()


def wait_until(true: Callable[[], bool], within_s: float = 60.0) -> None:
    end_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end_s, "in vain"
        time.sleep(0.05)


def said(process: subprocess.Popen[str]) -> str:
    """All that it and its guard wrote to stderr, once both have ended."""
    assert process.stderr is not None
    return process.stderr.read()


@posix
@pytest.mark.parametrize("kind", ["2400", "2450", "2600b", "b2900"])
def test_a_program_that_is_killed_leaves_no_output_on(kind: str, tmp_path: Path) -> None:
    with station(kind, tmp_path) as instruments:
        with host(instruments.bench, tmp_path, "pulse") as process:
            assert instruments.on()
            process.kill()
            wait_until(lambda: not instruments.on())
            assert f"guard: process {process.pid} ended without switching off; the outputs of" in said(
                process
            )
        with host(instruments.bench, tmp_path, "wait") as process:  # the locks are free again
            assert process.wait(60) == 0
            assert instruments.on() == []


@posix
@pytest.mark.parametrize("kind", ["2450", "2600b"])
def test_a_program_that_stands_still_is_ended_first(kind: str, tmp_path: Path) -> None:
    with station(kind, tmp_path) as instruments, host(instruments.bench, tmp_path, "pulse") as process:
        os.kill(process.pid, signal.SIGSTOP)
        wait_until(lambda: not instruments.on())
        assert process.wait(60) == -signal.SIGKILL
        assert f"process {process.pid} stood still for 2 s and was ended" in said(process)


@posix
def test_an_exit_past_every_handler(tmp_path: Path) -> None:
    with station("2400", tmp_path) as instruments, host(instruments.bench, tmp_path, "exit") as process:
        assert process.wait(60) == 7
        wait_until(lambda: not instruments.on())


@posix
def test_a_program_that_waits_long_is_left_alone(tmp_path: Path) -> None:
    """Longer than the guard would allow a silence; and after a goodbye it says nothing."""
    with station("2400", tmp_path) as instruments, host(instruments.bench, tmp_path, "wait") as process:
        assert process.wait(60) == 0
        assert instruments.on() == []
        assert said(process) == ""


@posix
@pytest.mark.parametrize(
    ("number", "code"),
    [("SIGINT", -signal.SIGINT), ("SIGHUP", 129), ("SIGUSR1", 138)],
)
def test_signals_that_end_a_program_switch_off_without_a_guard(
    number: str, code: int, tmp_path: Path
) -> None:
    with station("2400", tmp_path) as instruments, host(instruments.bench, tmp_path, "pulse") as process:
        os.kill(process.pid, getattr(signal, number))
        assert process.wait(60) == code
        assert instruments.on() == []
        assert "guard" not in said(process)


@posix
def test_control_z_is_refused(tmp_path: Path) -> None:
    with station("2400", tmp_path) as instruments, host(instruments.bench, tmp_path, "pulse") as process:
        os.kill(process.pid, signal.SIGTSTP)
        time.sleep(1.0)  # of two that wait, Python hears SIGTERM first
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(60) == 143
        assert "Ctrl-Z refused: a program that stands still leaves voltages on lines" in said(process)


def test_what_the_program_could_not_switch_off_itself(tmp_path: Path) -> None:
    """It is left to the guard, which begins with a line of its own."""
    small = SmallStation(tmp_path)
    with small.serving(SimulatedKeithley2450(small.probe, ["source"])) as server:
        with Guard() as guard:
            with VisaTransport(server.resource) as line:
                meter = open_source_meter(line, None)
                meter.output(True)
                guard.watch({"source": Place(server.resource, None)}, {"source": meter}, "@py")
                guard.needed = True
            assert small.probe.source("source").on
        assert not small.probe.source("source").on


def test_a_guard_that_does_not_start_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(HilError, match="the guard of the instruments did not start"), Guard() as guard:
        guard.watch({}, {}, "@py")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(HilError, match="the guard of the instruments cannot be started: No such file"):
        Guard()
