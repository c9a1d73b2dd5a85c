"""Boards at serial ports: opened by name, and found without one."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchwork import (
    BENCH,
    CELLS,
)
from boards import FIRMWARE, MISSING
from eapu_drivers.controller.discover import find_controllers
from eapu_drivers.controller.driver import open_arrays
from eapu_drivers.controller.ports import Port

from eapu_hil.base.loading import load_model
from eapu_hil.bench.config import BenchConfig
from eapu_hil.hal import (
    CellStatus,
    ConfigError,
    ProtocolError,
    Targets,
    TransportError,
)

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


@contextmanager
def board_at_a_pty() -> Iterator[str]:
    """A board of two arrays without a twin, and the name of its serial port."""
    subprocess.run(["make", "-s", "-C", str(FIRMWARE), "posix"], check=True)
    program = str(FIRMWARE / "build" / "posix" / "eapu-firmware")
    command = [program, "--pty", "--free", "16x8x2", "--serial", "bench-3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as board:
        try:
            assert board.stdout is not None
            yield board.stdout.readline().strip()
        finally:
            board.terminate()


def at_port(port: str, **changes: Any) -> BenchConfig:
    plain = {key: value for key, value in BENCH.items() if key != "preset"}
    return load_model(BenchConfig, {**plain, "port": port, **changes}, (), "benches")


class TestSerialPort:
    def test_it_works_like_any_bench_and_can_be_opened_again(self, tmp_path: Path) -> None:
        with board_at_a_pty() as port:
            for level_S in (10e-6, 30e-6):
                with open_arrays(at_port(port, arrays=2), tmp_path) as arrays:
                    assert [array.identity.serial for array in arrays] == ["bench-3-array0", "bench-3-array1"]
                    outcome = arrays[1].program(Targets(CELLS, np.full(128, level_S)))
                    assert (outcome.status == CellStatus.OK).all()
                    arrays[1].ground()

    @pytest.mark.parametrize("changes", [{"arrays": 3}, {"shape": (8, 16)}])
    def test_a_board_of_another_geometry_is_refused(self, tmp_path: Path, changes: dict[str, Any]) -> None:
        with (
            board_at_a_pty() as port,
            pytest.raises(
                ConfigError, match=r"^bench: arrays, shape: the board at .* has 2 of 16 x 8; asked"
            ),
            open_arrays(at_port(port, **changes), tmp_path),
        ):
            pass

    def test_a_port_that_is_not_there(self, tmp_path: Path) -> None:
        port = str(tmp_path / "ttyUSB9")
        expected = r"ttyUSB9: cannot be opened .*eapu-hil discover"
        with pytest.raises(TransportError, match=expected), open_arrays(at_port(port), tmp_path):
            pass


class TestDiscover:
    def test_what_answers_and_what_does_not(self, tmp_path: Path) -> None:
        silent, other_end = os.openpty()
        try:
            with board_at_a_pty() as port:
                missing = str(tmp_path / "ttyUSB9")
                found, quiet, gone = find_controllers([port, os.ttyname(other_end), missing])
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
