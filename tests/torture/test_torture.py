"""The short form of `make torture`: a few of each kind."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from torture_counts import Counts
from torture_files import make_scene, try_files
from torture_frames import try_decoder
from torture_kills import try_kills
from torture_lines import try_lines
from torture_requests import try_requests

SEED = 7
needs_firmware = pytest.mark.skipif(
    not (shutil.which("make") and shutil.which("gcc")), reason="make, gcc missing: apt-get install make gcc"
)


def _random() -> np.random.Generator:
    return np.random.default_rng(SEED)


def _none_silent(counts: Counts, tried: int) -> None:
    assert counts.tried >= tried
    assert not counts.faults, "\n".join(counts.lines())


def test_hostile_requests_are_refused() -> None:
    _none_silent(try_requests(2_000, _random()), 2_000)


def test_damaged_frames_are_not_taken_for_others() -> None:
    _none_silent(try_decoder(4_000, _random()), 4_000)


def test_damaged_files_are_refused_or_said(tmp_path: Path) -> None:
    _none_silent(try_files(make_scene(tmp_path), tmp_path, 40, _random()), 40)


@needs_firmware
def test_a_bad_line_costs_no_pulse_of_the_ledger(tmp_path: Path) -> None:
    _none_silent(try_lines(tmp_path, 3, _random()), 3)


@needs_firmware
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_killed_processes_lose_nothing(tmp_path: Path) -> None:
    for counts in try_kills(tmp_path, 6, _random()):
        _none_silent(counts, 3)
