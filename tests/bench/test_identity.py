"""Another board, other instruments, another chip, another clock: compared, said, and kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from eapu_hil.bench import Bench, open_bench
from eapu_hil.bench.config import BenchConfig
from eapu_hil.bench.driver import Driver
from eapu_hil.hal import ConfigError, Crossbar, Identity

BENCH = {
    "backend": "board",
    "shape": [6, 4],
    "limits": {
        "v_max_v": 3.5,
        "v_gate_max_v": 5.0,
        "i_max_a": 2e-3,
        "width_max_s": 1e-3,
        "pulses_per_cell_max": 100,
    },
}


class Board:
    """What stands at the port. serial: which board; clock_s: what its clock shows when it is opened."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make
        self.serial, self.clock_s, self.requests = "A1", 100.0, list[str]()

    @contextmanager
    def open_arrays(self, config: BenchConfig, _: Path) -> Iterator[list[Crossbar]]:
        array = self._make(config.shape, self.requests.append)
        array.identity = Identity("board", self.serial, "1.0", "")
        array._time_s = self.clock_s
        yield [array]


@pytest.fixture
def board(
    make_crossbar: Callable[..., Any],
    install_package: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> Board:
    board = Board(make_crossbar)
    entry = {"eapu_hil.drivers": {"board": "board_driver:DRIVER"}}
    install_package("board_driver", {"board_driver.py": "DRIVER = None\n"}, entry)
    monkeypatch.setattr("board_driver.DRIVER", Driver(BenchConfig, board.open_arrays))
    return board


@pytest.fixture
def use(tmp_path: Path) -> Callable[..., Bench]:
    """Opens the bench on the chip and closes it."""

    def opened(exchanged: bool = False, **keys: Any) -> Bench:
        with open_bench(BENCH | keys, chip_dir=tmp_path / "chip", exchanged=exchanged) as bench:
            return bench

    return opened


def test_another_board_is_refused_until_somebody_says_that_it_was_exchanged(
    board: Board, use: Callable[..., Bench]
) -> None:
    use()
    board.serial = "B2"
    with pytest.raises(ConfigError, match=r"array 0 was board, A1 and is board, B2.*--exchanged"):
        use()
    assert board.requests == ["ground"]  # of the first session: the second sent nothing
    chip = use(exchanged=True).chip
    assert use().chip.passport.serial == "A1"
    [entry] = [entry for entry in chip.history() if entry.kind == "identity"]
    assert entry.values["identities"][0]["serial"] == "B2"
    assert "@" in entry.values["by"]
    board.serial = "A1"  # back again: the history keeps both
    with pytest.raises(ConfigError, match="was board, B2 and is board, A1"):
        use()
    assert len([1 for entry in use(exchanged=True).chip.history() if entry.kind == "identity"]) == 2


def test_another_chip_needs_another_passport(board: Board, use: Callable[..., Bench]) -> None:
    use(serial="W12-D07")
    with pytest.raises(ConfigError, match="the passport of chip 'W12-D07'; the bench file names 'W12-D08'"):
        use(serial="W12-D08")
    with pytest.raises(
        ConfigError, match=r"needs another passport.* If it is the same chip, write serial: W12-D07"
    ):
        use(exchanged=True, serial="W12-D08")
    use(serial="W12-D07")
    use()
    assert board.requests == ["ground"] * 3


def test_a_chip_that_gets_its_serial_number_later(board: Board, use: Callable[..., Bench]) -> None:
    use()
    use(serial="W12-D07")
    with pytest.raises(ConfigError, match="the passport of chip 'W12-D07'"):
        use(serial="W12-D08")
    assert len(use(serial="W12-D07").chip.history()) == 1
    assert board.serial == "A1"


def test_a_clock_behind_the_passport_is_another_clock(
    board: Board, use: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    chip = use().chip
    chip.record("noise", {}, {}, 101.04)
    board.clock_s = 100.0
    with caplog.at_level(logging.WARNING):
        chip = use().chip
    assert "the bench's clock is 1.04 s behind that of entry 1" in caplog.text
    chip.record("noise", {}, {}, 100.0)
    board.clock_s = 102.0
    use().chip.record("noise", {}, {}, 102.0)
    clocks = [entry.clock for entry in chip.history()]
    assert clocks == ["time of day", "time of day #2", "time of day #2"]
