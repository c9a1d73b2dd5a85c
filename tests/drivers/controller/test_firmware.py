"""The driver with the real firmware behind it, and the twin as its front end: limits, losses, grounding."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boards import FIRMWARE, MISSING
from eapu_drivers.controller import messages
from eapu_drivers.controller.board import Board
from eapu_drivers.controller.crossbar import ControllerCrossbar
from eapu_drivers.controller.discover import find_controllers
from eapu_drivers.controller.driver import open_arrays
from eapu_drivers.controller.link import Link, RefusedError, Timing
from eapu_drivers.controller.messages import CELLS_MAX, LineDirection, Reason, Refused
from eapu_drivers.controller.ports import Port, SerialPort, SocketPort
from eapu_drivers.controller.recipes import recipe_message
from eapu_drivers.controller.recovery import UnfinishedError
from eapu_drivers.controller.units import load_calibrations

from eapu_hil.chip import Chip
from eapu_hil.config import BenchConfig, load_model
from eapu_hil.hal import (
    Cells,
    CellStatus,
    ConfigError,
    Direction,
    LimitError,
    Polarity,
    ProtocolError,
    Pulses,
    Targets,
    TransportError,
)
from eapu_hil.recipe import Recipe
from eapu_hil.twin import rig, simulator
from eapu_hil.twin.linerecord import LineRecord

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))

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
    chip: Path, open_port: Callable[[rig.Rig], Callable[[], Port]], config: BenchConfig
) -> Iterator[Bed]:
    with rig.start("posix", config, chip) as running, Link(open_port(running)) as link:
        calibrations = load_calibrations(chip, 1, SHAPE)
        board = Board(link, "test", config.limits.as_limits(), calibrations, Timing().dead_man_s)
        array = ControllerCrossbar(board, 0, calibrations[0], config.recipe)
        yield Bed(array, board, link, running, chip)


def plugged_once(running: rig.Rig) -> Callable[[], Port]:
    lines = [running.host]

    def open_port() -> Port:
        if not lines:
            raise TransportError(f"test: {running.ending()}")
        return SocketPort(lines.pop(), "test")

    return open_port


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """A board whose line cannot be plugged in again."""
    with bed_on(tmp_path, plugged_once, config_of()) as opened:
        yield opened


def wait_until(true: Callable[[], bool], within_s: float = 10.0) -> None:
    end_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end_s, "in vain"
        time.sleep(0.002)


class TestLimitsOfTheFirmware:
    """Requests that no interlock has seen."""

    def test_ten_thousand_requests_beyond_the_limits_reach_no_line(self, bed: Bed) -> None:
        rng = np.random.default_rng(5)
        slot = bed.board.slot(RECIPE)
        makers = [_pulse, _write, _read, _recipe, _limits]
        before, clock_s = bed.lines(), bed.array.clock_s()
        futures = [
            bed.link.submit(makers[number % len(makers)](bed.link, rng, slot)) for number in range(9_500)
        ]
        answers = [future.result(30.0) for future in futures]
        assert all(isinstance(answer, Refused) for answer in answers)
        reasons = {Reason(answer.reason) for answer in answers if isinstance(answer, Refused)}
        for _ in range(500):
            with pytest.raises(RefusedError) as caught:
                bed.link.stream(*_product(bed.link, rng)).result(30.0)
            reasons.add(Reason(caught.value.refused.reason))
        assert reasons == {
            *(Reason.V_MAX, Reason.V_GATE_MAX, Reason.I_MAX, Reason.WIDTH_MAX, Reason.PULSES_MAX),
            *(Reason.V_READ_MAX, Reason.BAD_CELL, Reason.BAD_VALUE, Reason.BOARD_LIMIT),
        }
        after = bed.lines()
        assert after.grounded
        assert (after.reads, after.pulse_requests, after.pulses, after.products) == (
            before.reads,
            before.pulse_requests,
            before.pulses,
            before.products,
        )
        assert after.last_drive_s == before.last_drive_s
        assert bed.array.clock_s() == clock_s

    def test_the_driver_tells_them_apart(self, bed: Bed) -> None:
        array, some = bed.array, CELLS[:3]
        for act, what in (
            (lambda: array.pulse(Pulses.same(some, Polarity.SET, 3.6, 1.0, 1e-7)), r"3\.6 V .*v_max_v"),
            (lambda: array.pulse(Pulses.same(some, Polarity.SET, 1.0, 4.6, 1e-7)), r"4\.6 V .*v_gate_max_v"),
            (lambda: array.pulse(Pulses.same(some, Polarity.SET, 1.0, 1.0, 2e-3)), r"0\.002 s .*width_max_s"),
            (
                lambda: array.pulse(Pulses.same(some, Polarity.SET, 1.0, 1.0, 1e-7, 60001)),
                r"60001 pulses .*pulses_per_cell_max",
            ),
            (lambda: array.read(some, 0.21), r"0\.21 V .*v_read_max_v"),
            (lambda: array.vmm(np.full((1, 16), -0.21), Direction.FORWARD), r"v_read_max_v"),
            (lambda: array.program(Targets(some, np.array([1e-5, 1e-5, 1e-3]))), r"cell \(0, 2\).*i_max_a"),
            (lambda: array.program(Targets(some, np.array([1e-5, np.nan, 1e-3]))), r"cell \(0, 1\)"),
        ):
            with pytest.raises(LimitError, match=what) as caught:
                act()
            assert "\n" not in str(caught.value)
        array.read(some, -0.2)
        assert bed.lines().pulses == 0

    def test_limits_beyond_the_board_are_an_error_of_the_bench_file(self, tmp_path: Path) -> None:
        with (
            pytest.raises(ConfigError, match=r"^bench: .*limits\.v_max_uv: 9 asked; allowed is at most 5 "),
            open_arrays(config_of(limits={**LIMITS, "v_max_v": 9.0}), tmp_path),
        ):
            pass


def _frame(rng: np.random.Generator, dtype: np.dtype[Any]) -> tuple[np.ndarray, int]:
    """Cells of one request, once each, and which of them is to be at fault."""
    count = int(rng.integers(1, CELLS_MAX + 1))
    records = np.zeros(count, dtype)
    records["row"], records["col"] = np.divmod(rng.choice(128, count, replace=False), 8)
    return records, int(rng.integers(count))


def _pulse(link: Link, rng: np.random.Generator, _slot: int) -> messages.Pulse:
    records, bad = _frame(rng, messages.Pulse.TAIL)
    records["polarity"] = rng.choice([-1, 1, 2], records.size)
    records["amplitude_uv"] = rng.integers(1_000, 3_500_001, records.size)
    records["gate_uv"] = rng.integers(0, 4_500_001, records.size)
    records["width_ns"] = rng.integers(1, 1_000_001, records.size)
    records["count"] = 1
    field, low, high = [
        ("amplitude_uv", 3_500_001, 2**31 - 1),
        ("amplitude_uv", -(2**31), 0),
        ("gate_uv", 4_500_001, 2**31 - 1),
        ("gate_uv", -(2**31), -1),
        ("width_ns", 1_000_001, 2**32 - 1),
        ("count", 60_001, 2**16 - 1),
        ("row", 16, 2**16 - 1),
        ("col", 8, 2**16 - 1),
        ("polarity", 3, 127),
    ][rng.integers(9)]
    records[field][bad] = rng.integers(low, high, endpoint=True)
    return messages.Pulse(link.take_ids(records.size), 0, records)


def _write(link: Link, rng: np.random.Generator, slot: int) -> messages.Write:
    records, bad = _frame(rng, messages.Write.TAIL)
    records["g_target_s"] = rng.uniform(2e-6, 38e-6, records.size)
    kind = rng.integers(4)
    if kind == 0:
        records["g_target_s"][bad] = rng.choice([np.nan, np.inf, -np.inf, 0.0, -1e-5])
    elif kind == 1:
        records["g_target_s"][bad] = rng.uniform(2e-4, 1.0)
    elif kind == 2:
        records["row"][bad] = rng.integers(16, 2**16)
    else:
        records["col"][bad] = rng.integers(8, 2**16)
    return messages.Write(link.take_ids(records.size), 0, slot, records)


def _read(link: Link, rng: np.random.Generator, _slot: int) -> messages.Read:
    if rng.integers(2):
        volts_uv = int(rng.integers(200_001, 2**31)) * int(rng.choice([-1, 1]))
        return messages.Read(link.take_ids(), 0, volts_uv, 0, 0, 4, 4)
    row, col = (int(value) for value in rng.integers(0, [16, 8]))
    return messages.Read(link.take_ids(), 0, 100_000, row, col, 17 - row, 1)


def _recipe(link: Link, rng: np.random.Generator, slot: int) -> messages.Recipe:
    fine = vars(recipe_message(RECIPE, link.take_ids(), slot))
    name, low, high = [
        ("set_stop_v", 3.500001, 1e3),
        ("reset_stop_v", 3.500001, 1e300),
        ("set_gate_stop_v", 4.500001, 1e3),
        ("reset_gate_v", 4.500001, 1e3),
        ("set_width_s", 1.00001e-3, 1.0),
        ("reset_width_s", 1.00001e-3, 1.0),
        ("v_read_v", 0.200001, 1.0),
        ("pulses_max", 60_001, 65_535),
        ("set_step_v", -1.0, 0.0),
        ("time_max_s", np.nan, np.nan),
    ][rng.integers(10)]
    value = np.nan if np.isnan(low) else rng.uniform(low, high)
    return messages.Recipe(**{**fine, name: int(value) if name == "pulses_max" else float(value)})


def _limits(link: Link, rng: np.random.Generator, _slot: int) -> messages.Limits:
    values = dict(
        zip(
            ("v_max_uv", "v_gate_max_uv", "v_read_max_uv", "i_max_na", "width_max_ns", "pulses_per_cell_max"),
            (3_500_000, 4_500_000, 200_000, 300_000, 1_000_000, 60_000),
            strict=True,
        )
    )
    name, low, high = [
        ("v_max_uv", 5_000_001, 2**31 - 1),
        ("v_gate_max_uv", 6_000_001, 2**31 - 1),
        ("i_max_na", 5_000_001, 2**32 - 1),
        ("width_max_ns", 10_000_001, 2**32 - 1),
        ("v_max_uv", -(2**31), 0),
    ][rng.integers(5)]
    values[name] = int(rng.integers(low, high, endpoint=True))
    return messages.Limits(link.take_ids(), **values)


def _product(link: Link, rng: np.random.Generator) -> tuple[messages.Product, np.ndarray]:
    """One frame of codes; the limit of 0.2 V is code 6553 of 32767 at 1 V."""
    direction = LineDirection(int(rng.integers(2)))
    lines = SHAPE[direction]
    codes = rng.integers(-6553, 6554, (int(rng.integers(1, 117 // lines + 1)), lines)).astype(np.int16)
    bad = int(rng.choice([-1, 1])) * int(rng.integers(6554, 32768))
    codes.reshape(-1)[rng.integers(codes.size)] = bad
    bits = np.full((SHAPE[0] + SHAPE[1]) // 8, 0xFF, np.uint8)
    return messages.Product(link.take_ids(), 0, direction, 0, codes.shape[0], bits), codes


class TestCalibration:
    def test_the_board_uses_the_gains_that_the_passport_holds(self, tmp_path: Path) -> None:
        """A driver that gives more than it says is asked for less: the same cells, read and written alike."""
        chip = Chip.create(tmp_path, "model", "serial", SHAPE, 1)
        gain = np.linspace(0.8, 1.2, 8)[None]
        chip.record("converters", {}, {"col_adc_gain": gain}, 0.0)
        with bed_on(tmp_path, plugged_once, config_of()) as bed:
            targets_s = np.full(128, 20e-6)
            outcome = bed.array.program(Targets(CELLS, targets_s))
            assert (outcome.status == CellStatus.OK).all()
            read_s = bed.array.read(CELLS, V_READ_V).g_s
            np.testing.assert_allclose(read_s, outcome.g_after_s, rtol=1e-3)
        chip.record("converters", {}, {}, 0.0)
        with bed_on(tmp_path, plugged_once, config_of()) as bed:
            nominal_s = bed.array.read(CELLS, V_READ_V).g_s.reshape(SHAPE)
            np.testing.assert_allclose(nominal_s * gain, read_s.reshape(SHAPE), rtol=1e-3)


class TestGround:
    def test_control_c_in_the_middle_of_a_train_grounds_and_the_board_goes_on_working(self, bed: Bed) -> None:
        train = Pulses.same(CELLS, Polarity.SET, 1.0, 1.0, 1e-7, 60000)

        def interrupt() -> None:
            wait_until(lambda: bed.lines().pulses > 200)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            bed.array.pulse(train)
        start_s = time.monotonic()
        bed.array.ground()
        assert time.monotonic() - start_s < 0.5
        thread.join()
        lines = bed.lines()
        assert lines.grounded
        assert lines.pulses < len(train.count) * 60000
        time.sleep(0.1)
        assert bed.lines().pulses == lines.pulses
        assert bed.array.read(CELLS, V_READ_V).g_s.shape == (128,)

    def test_from_another_thread_what_runs_is_aborted(self, bed: Bed) -> None:
        ended: list[Any] = []
        train = Pulses.same(CELLS[:12], Polarity.SET, 1.0, 1.0, 1e-7, 60000)
        thread = threading.Thread(target=lambda: ended.append(bed.array.pulse(train)))
        thread.start()
        wait_until(lambda: bed.lines().pulses > 200)
        bed.array.ground()
        thread.join(5.0)
        assert (ended[0].status == CellStatus.ABORTED).all()
        assert bed.lines().grounded


class TestLoss:
    def test_firmware_that_dies_in_the_middle_of_writes(self, bed: Bed) -> None:
        killed: list[float] = []

        def kill() -> None:
            wait_until(lambda: bed.lines().pulses > 1000)
            os.kill(bed.rig.pids[0], signal.SIGKILL)
            killed.append(time.monotonic())

        def write() -> None:
            for level_s in 20 * [10e-6, 30e-6]:
                bed.array.program(Targets(CELLS, np.full(128, level_s)))

        thread = threading.Thread(target=kill)
        thread.start()
        with pytest.raises(UnfinishedError) as caught:
            write()
        assert time.monotonic() - killed[0] < 3.0
        thread.join()
        text = str(caught.value)
        for part in (
            "array 0",
            "of 128 cells",
            "had answered",
            "nothing was sent twice",
            "firmware has died",
        ):
            assert part in text
        assert "last good frame" in text
        assert "\n" not in text
        assert 0 < len(caught.value.cells) <= 128
        assert np.isnan(caught.value.g_s).all()
        start_s = time.monotonic()
        with pytest.raises(TransportError, match="puts its lines to 0 V by itself, 1 s after the last frame"):
            bed.array.ground()
        assert time.monotonic() - start_s < 0.5
        with pytest.raises(TransportError):
            bed.array.read(CELLS, V_READ_V)

    def test_a_line_that_comes_back_over_tcp(self, tmp_path: Path) -> None:
        """The board has gone on meanwhile: each cell is told apart, and no pulse was applied twice."""
        with simulator.listening("127.0.0.1:0") as line, bed_on(tmp_path, _served(line), config_of()) as bed:
            bed.array.program(Targets(CELLS, np.full(128, 10e-6)))
            before = bed.lines().pulses
            count = 200
            train = Pulses.same(CELLS, Polarity.RESET, 0.5, 1.0, 1e-7, count)

            def unplug() -> None:
                wait_until(lambda: bed.lines().pulses - before > 40 * count)
                _unplug(line)

            thread = threading.Thread(target=unplug)
            thread.start()
            with pytest.raises(UnfinishedError) as caught:
                bed.array.pulse(train)
            thread.join()
            text = str(caught.value)
            assert "reconnected" in text
            assert "the others were read: 9" in text
            unfinished = len(caught.value.cells)
            assert 0 < unfinished < 128
            np.testing.assert_allclose(caught.value.g_s, 10e-6, atol=1e-6)
            applied = bed.lines().pulses - before
            assert (128 - unfinished) * count <= applied <= (128 - unfinished + CELLS_MAX) * count
            bed.array.ground()
            assert bed.lines().pulses - before == applied
            assert (bed.array.program(Targets(CELLS, np.full(128, 20e-6))).status == CellStatus.OK).all()
            assert bed.link.counters.reconnects == 1


def _served(line: simulator.Line) -> Callable[[rig.Rig], Callable[[], Port]]:
    """A board behind a TCP port, in a thread of its own; the driver connects as to any pyserial URL."""

    def serve(running: rig.Rig) -> Callable[[], Port]:
        def until_closed() -> None:
            try:
                simulator.serve(running, line)
            except (TransportError, OSError, ValueError):
                return  # the test is over

        threading.Thread(target=until_closed, daemon=True).start()
        return lambda: SerialPort(line.address)

    return serve


def _unplug(line: Any) -> None:
    line._client.shutdown(socket.SHUT_RDWR)


class TestDiscover:
    def test_what_answers_and_what_does_not(self, tmp_path: Path) -> None:
        subprocess.run(["make", "-s", "-C", str(FIRMWARE), "posix"], check=True)
        program = str(FIRMWARE / "build" / "posix" / "eapu-firmware")
        command = [program, "--pty", "--free", "16x8x2", "--serial", "bench-3"]
        silent, other_end = os.openpty()
        try:
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as board:
                try:
                    assert board.stdout is not None
                    port = board.stdout.readline().strip()
                    missing = str(tmp_path / "ttyUSB9")
                    found, quiet, gone = find_controllers([port, os.ttyname(other_end), missing])
                finally:
                    board.terminate()
        finally:
            os.close(silent)
            os.close(other_end)
        assert (found.port, found.board, found.serial) == (port, "posix", "bench-3")
        assert (found.arrays, found.rows, found.columns, found.geometry) == (2, 16, 8, "2 x 16 x 8")
        assert found.git_hash
        assert found.state == "LINKED"
        assert not found.problem
        assert quiet.problem == "no answer"
        assert gone.problem.startswith("cannot be opened (")
        assert gone.geometry == ""

    def test_a_port_that_another_program_uses(self) -> None:
        def taken(name: str) -> Port:
            cause = OSError(errno.EAGAIN, "Resource temporarily unavailable")
            raise TransportError(f"{name}: cannot be opened") from cause

        [found] = find_controllers(["/dev/ttyACM0"], taken)
        assert found.problem == "busy, or not allowed (Resource temporarily unavailable)"

    def test_firmware_of_another_release_says_so(self) -> None:
        def other(name: str) -> Port:
            raise ProtocolError(f"{name}: the firmware (git 0ld) speaks protocol 0")

        [found] = find_controllers(["COM3"], other)
        assert found.problem == "the firmware (git 0ld) speaks protocol 0"
