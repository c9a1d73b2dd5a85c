"""The driver with the real firmware behind it, and the twin as its front end: calibration, grounding, losses."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchwork import (
    CELLS,
    SHAPE,
    V_READ_V,
    Bed,
    bed_on,
    config_of,
    interrupted,
    plugged_once,
    wait_until,
)
from boards import MISSING
from eapu_drivers.controller.messages import CELLS_MAX
from eapu_drivers.controller.ports import Port, SerialPort
from eapu_drivers.controller.recovery import UnfinishedError
from eapu_drivers.simulated.board import rig, simulator

from eapu_hil.bench.passport import Chip
from eapu_hil.hal import (
    CellStatus,
    HilError,
    Polarity,
    Pulses,
    Targets,
    TransportError,
)

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


class TestCalibration:
    def test_the_board_uses_the_gains_that_the_passport_holds(self, tmp_path: Path) -> None:
        """A driver that gives more than it says is asked for less: the same cells, read and written alike."""
        chip = Chip.create(tmp_path, "model", "serial", SHAPE, 1)
        gain = np.linspace(0.8, 1.2, 8)[None]
        chip.record("converters", {}, {"col_adc_gain": gain}, 0.0)
        with bed_on(tmp_path, plugged_once, config_of()) as bed:
            targets_S = np.full(128, 20e-6)
            outcome = bed.array.program(Targets(CELLS, targets_S))
            assert (outcome.status == CellStatus.OK).all()
            read_S = bed.array.read(CELLS, V_READ_V).g_S
            np.testing.assert_allclose(read_S, outcome.g_after_S, rtol=1e-3)
        chip.record("converters", {}, {}, 0.0)
        with bed_on(tmp_path, plugged_once, config_of()) as bed:
            nominal_S = bed.array.read(CELLS, V_READ_V).g_S.reshape(SHAPE)
            np.testing.assert_allclose(nominal_S * gain, read_S.reshape(SHAPE), rtol=1e-3)


class TestGround:
    def test_control_c_in_the_middle_of_a_train_grounds_and_the_board_goes_on_working(self, bed: Bed) -> None:
        train = Pulses.same(CELLS, Polarity.SET, 1.0, 1.0, 1e-7, 60000)
        with interrupted(lambda: bed.lines().pulses > 200):
            bed.array.pulse(train)
        start_s = time.monotonic()
        bed.array.ground()
        assert time.monotonic() - start_s < 3.0  # the train takes much longer
        lines = bed.lines()
        assert lines.grounded
        assert lines.pulses < len(train.count) * 60000
        time.sleep(0.1)
        assert bed.lines().pulses == lines.pulses
        assert bed.array.read(CELLS, V_READ_V).g_S.shape == (128,)

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

    def test_from_another_thread_the_frames_that_are_left_are_not_sent(self, bed: Bed) -> None:
        ended: list[HilError] = []
        train = Pulses.same(CELLS, Polarity.SET, 1.0, 1.0, 1e-7, 60000)

        def send() -> None:
            with pytest.raises(HilError, match="put to 0 V in the middle of a request") as error:
                bed.array.pulse(train)
            ended.append(error.value)
            bed.array.ground()  # as the interlock does

        thread = threading.Thread(target=send)
        thread.start()
        wait_until(lambda: bed.lines().pulses > 200)
        bed.array.ground()
        thread.join(30.0)
        assert len(ended) == 1
        assert bed.lines().grounded
        assert bed.lines().pulses < 128 * 60000 / 4


class TestLoss:
    def test_firmware_that_dies_in_the_middle_of_writes(self, bed: Bed) -> None:
        killed: list[float] = []

        def kill() -> None:
            wait_until(lambda: bed.lines().pulses > 1000)
            os.kill(bed.rig.pids[0], signal.SIGKILL)
            killed.append(time.monotonic())

        def write() -> None:
            for level_S in 20 * [10e-6, 30e-6]:
                bed.array.program(Targets(CELLS, np.full(128, level_S)))

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
        assert np.isnan(caught.value.g_S).all()
        with pytest.raises(TransportError, match="puts its lines to 0 V by itself, 1 s after the last frame"):
            bed.array.ground()
        with pytest.raises(TransportError):
            bed.array.read(CELLS, V_READ_V)

    def test_a_line_that_comes_back_over_tcp(self, tmp_path: Path) -> None:
        """The board has gone on meanwhile: each cell is told apart, and no pulse was applied twice."""
        with simulator.listening("127.0.0.1:0") as line, bed_on(tmp_path, _served(line), config_of()) as bed:
            bed.array.program(Targets(CELLS, np.full(128, 10e-6)))
            before = bed.lines().pulses
            count = 200
            # just above the threshold of the cells, so that each pulse moves them a little
            train = Pulses.same(CELLS, Polarity.RESET, 0.72, 1.0, 2e-8, count)

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
            np.testing.assert_allclose(caught.value.g_S, 10e-6, atol=1e-6)
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
