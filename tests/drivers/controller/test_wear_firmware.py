"""Through the firmware: no cell has seen more pulses than its ledger counts; what was answered is counted exactly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchwork import BENCH, CELLS, RECIPE, SHAPE, Bed, bed_on, config_of, interrupted, wait_until
from boards import MISSING
from eapu_drivers.controller.link import LinkTiming
from eapu_drivers.controller.messages import CELLS_MAX
from eapu_drivers.controller.recovery import UnfinishedError
from eapu_drivers.simulated.board import simulator
from eapu_drivers.simulated.board.linerecord import LineRecord
from test_firmware import _served, _unplug

from eapu_hil.bench import open_bench
from eapu_hil.bench.ledger import ArrayLedger
from eapu_hil.hal import Cells, CellStatus, IntArray, Polarity, Pulses, Targets

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
WINDOW = 16  # frames under way at most


class Account:
    """Counts as the ledger does, and remembers how much was expected at most at a time."""

    def __init__(self) -> None:
        self.pulses = np.zeros(SHAPE, np.int64)
        self.open = self.most_open = 0

    def expect(self, cells: Cells, at_most: IntArray | int) -> None:
        self.pulses[cells.row, cells.col] += at_most
        self.open += len(cells)
        self.most_open = max(self.most_open, self.open)

    def settle(self, cells: Cells, at_most: IntArray | int, pulses: IntArray | int) -> None:
        self.pulses[cells.row, cells.col] -= np.subtract(at_most, pulses)
        self.open -= len(cells)


@pytest.fixture
def counted(bed: Bed) -> tuple[Bed, Account]:
    account = Account()
    bed.array.account_to(account)
    return bed, account


def test_what_was_answered_is_counted_exactly(counted: tuple[Bed, Account]) -> None:
    bed, account = counted
    for level_S in (10e-6, 30e-6):
        bed.array.program(Targets(CELLS, np.full(128, level_S)))
    bed.array.pulse(Pulses.same(CELLS, Polarity.RESET, 1.0, 1.0, 1e-7, 5))
    # hits the current limit at the first pulse, so that the board applies fewer than it was asked for
    limited = bed.array.pulse(Pulses.same(CELLS[:3], Polarity.SET, 3.5, 4.5, 1e-4, 50))
    assert account.pulses.sum() == bed.lines().pulses
    assert account.open == 0
    assert account.most_open <= WINDOW * CELLS_MAX
    if (limited.status == CellStatus.COMPLIANCE).all():
        assert account.pulses.reshape(-1)[:3].max() < 100


def test_control_c_is_counted_exactly_once_the_lines_are_at_0_v(
    counted: tuple[Bed, Account],
) -> None:
    bed, account = counted
    with interrupted(lambda: bed.lines().pulses > 200):
        bed.array.pulse(Pulses.same(CELLS, Polarity.SET, 1.0, 1.0, 1e-7, 60000))
    assert account.pulses.sum() > bed.lines().pulses
    bed.array.ground()
    assert account.pulses.sum() == bed.lines().pulses


def test_after_a_line_that_was_reset_the_board_is_asked(tmp_path: Path) -> None:
    account = Account()
    with simulator.listening("127.0.0.1:0") as line, bed_on(tmp_path, _served(line), config_of()) as bed:
        bed.array.account_to(account)
        for _ in range(3):
            before = bed.lines().pulses
            thread = threading.Thread(
                target=lambda before=before: (
                    wait_until(lambda: bed.lines().pulses - before > 1000),
                    _unplug(line),
                )
            )
            thread.start()
            with pytest.raises(UnfinishedError):
                bed.array.pulse(Pulses.same(CELLS, Polarity.RESET, 0.72, 1.0, 2e-8, 200))
            thread.join()
            bed.array.ground()
            assert account.pulses.sum() == bed.lines().pulses
        assert account.open == 0


def test_a_board_that_dies_leaves_the_most_that_it_may_have_done(counted: tuple[Bed, Account]) -> None:
    bed, account = counted
    thread = threading.Thread(
        target=lambda: (
            wait_until(lambda: bed.lines().pulses > 1000),
            os.kill(bed.rig.pids[0], signal.SIGKILL),
        )
    )
    thread.start()

    def write() -> None:
        for level_S in 20 * [10e-6, 30e-6]:
            bed.array.program(Targets(CELLS, np.full(128, level_S)))

    with pytest.raises(UnfinishedError):
        write()
    thread.join()
    assert 0 <= account.pulses.sum() - bed.lines().pulses <= 128 * RECIPE.pulses_max


_VICTIM = """
    import sys
    from pathlib import Path
    import numpy as np
    from eapu_hil.base.stopping import grounding_signals
    from eapu_hil.bench import open_bench
    from eapu_hil.hal import Cells, Targets

    with grounding_signals(), open_bench(%r, chip_dir=Path(sys.argv[1]), commission=False) as bench:
        cells = Cells.all(%r)
        while True:
            for level_S in (10e-6, 30e-6):
                bench.arrays[0].program(Targets(cells, np.full(len(cells), level_S)))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_host_that_is_killed_has_counted_what_the_board_went_on_to_do(
    tmp_path: Path, how: signal.Signals
) -> None:
    chip = tmp_path / "chip"
    script = textwrap.dedent(_VICTIM % (BENCH, SHAPE))
    process = subprocess.Popen([sys.executable, "-P", "-c", script, str(chip)], stderr=subprocess.DEVNULL)

    def pulses() -> int:
        try:
            return LineRecord.read(chip).pulses
        except (OSError, ValueError, EOFError):
            return 0

    wait_until(lambda: pulses() > 2000, 60.0)
    process.send_signal(how)
    process.wait(30)
    time.sleep(2 * LinkTiming().dead_man_s)  # until the board has noticed
    lines = pulses()
    counted = np.load(chip / "ledger" / "array0" / "pulses.npy").sum()
    assert (
        lines <= counted <= lines + (WINDOW * CELLS_MAX * RECIPE.pulses_max if how == signal.SIGKILL else 0)
    )
    with open_bench(BENCH, chip_dir=chip, commission=False) as bench:
        assert bench.ledger.snapshot().pulses.sum() == counted


def test_a_bench_array_counts_through_the_firmware_once(tmp_path: Path) -> None:
    with open_bench(BENCH, chip_dir=tmp_path, commission=False) as bench:
        ledger: ArrayLedger = bench.ledger.arrays[0]
        bench.arrays[0].program(Targets(CELLS, np.full(128, 20e-6)))
        bench.arrays[0].pulse(Pulses.same(CELLS, Polarity.SET, 1.0, 1.0, 1e-7, 3))
        counts: Any = ledger.snapshot()
    assert counts["pulses"].sum() == LineRecord.read(tmp_path).pulses
