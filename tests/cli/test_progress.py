"""Progress where nobody looks at a terminal: lines with the time that has gone and the time that is left."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml
from tiny import BENCH

from eapu_hil.cli import cell_bar as bars
from eapu_hil.cli.bars import BatchBar, TrainingBar, measurement_bars
from eapu_hil.cli.cell_bar import cell_bar
from eapu_hil.cli.pace import Pace
from eapu_hil.cli.parser import main
from eapu_hil.cli.terminal import Terminal


class _Time:
    """A clock that is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now_s)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Time:
    return _Time(monkeypatch)


def test_what_is_left_follows_the_pace(clock: _Time) -> None:
    pace = Pace(100)
    assert pace.text(20) == "0 s"  # a run that goes on at step 20
    clock.now_s += 60
    assert pace.text(60) == "1 min 0 s, 1 min 0 s left"
    assert pace.text(100) == "1 min 0 s"


def test_training_says_time_and_time_left(clock: _Time, capsys: pytest.CaptureFixture[str]) -> None:
    bar = TrainingBar(Terminal(as_json=False), "digits")
    bar.on_start(400)
    bar.on_evaluation(0, {"metric": 0.1})
    clock.now_s += 90
    bar.on_evaluation(100, {"metric": 0.5})
    bar.on_end()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("0 s")
    assert lines[1].endswith("1 min 30 s, 4 min 30 s left")


def test_many_runs_and_measurements_say_it_too(clock: _Time, capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(as_json=False)
    with BatchBar(terminal, "table", 3) as bar:
        clock.now_s += 120
        bar.ended("digits-eapu-1", "95 %")
    with measurement_bars(terminal) as begin:
        tell = begin("offsets")
        clock.now_s += 5
        tell(1.0)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "1/3  digits-eapu-1: 95 %  2 min 0 s, 4 min 0 s left",
        "eapu-hil: offsets: measured  5.00 s",
    ]


def test_cells_are_told_of_now_and_then(clock: _Time, capsys: pytest.CaptureFixture[str]) -> None:
    with cell_bar(Terminal(as_json=False), "read") as begin:
        tell = begin(1000)
        for done in (16, 100, 500, 1000):
            clock.now_s += 6
            tell(done)
    assert capsys.readouterr().err.splitlines() == [
        "eapu-hil: read: 100/1000 cells  12.0 s, 1 min 48 s left",
        "eapu-hil: read: 1000/1000 cells  24.0 s",
    ]


def test_form_and_read_tell_and_keep_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bars, "_LINE_EVERY_s", 0.0)
    Path("bench.yaml").write_text(yaml.safe_dump({**BENCH, "preset": "rram_180nm", "shape": [4, 8]}))
    assert main(["form", "bench.yaml", "--out", "formed.csv"]) in (0, 4)
    said = capsys.readouterr().err
    assert "form: 0/32 cells" in said
    assert main(["read", "bench.yaml", "--out", "read.csv"]) == 0
    said = capsys.readouterr().err
    assert "read: 16/32 cells" in said
    assert "read: 32/32 cells" in said
