"""Training through the controller's real firmware, as a person at the bench does it, and what becomes of a crash."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from eapu_drivers.simulated.board.linerecord import LineRecord

from eapu_hil.bench import open_bench
from eapu_hil.hal import Cells, CellStatus
from eapu_hil.training.runs import read_metrics, read_summary, read_writes

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not (shutil.which("make") and shutil.which("cc")),
    reason="needs Linux, make and cc: apt-get install make gcc",
)

EXPERIMENT: dict[str, Any] = {
    "name": "tiny",
    "bench": {
        "backend": "controller",
        "port": "sim:posix",
        "arrays": 3,
        "shape": [64, 16],
        "limits": {
            "v_max_v": 3.5,
            "v_gate_max_v": 5.0,
            "i_max_a": 2e-3,
            "width_max_s": 1e-3,
            "pulses_per_cell_max": 1000,
        },
    },
    "task": {"name": "digits", "hidden": 6},
    "rule": {"name": "eapu"},
    "optimizer": {"name": "adam", "lr": 5e-3},
    "steps": 100_000,
    "batch": 8,
    "evaluate_every": 50_000,
    "checkpoint_every": 5,
}
COMMAND = [sys.executable, "-P", "-m", "eapu_hil.cli"]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with an experiment that goes on for ever, and its chip, commissioned without a controller: faster."""
    bench = {**EXPERIMENT["bench"], "chip": "chip"}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**EXPERIMENT, "bench": bench}))
    direct = {key: value for key, value in EXPERIMENT["bench"].items() if key != "port"}
    with open_bench({**direct, "backend": "twin"}, chip_dir=tmp_path / "chip"):
        pass
    return tmp_path


@pytest.fixture
def training(files: Path) -> Iterator[subprocess.Popen[str]]:
    """`eapu-hil train` in the middle of it."""
    command = [
        *COMMAND,
        "train",
        "tiny.yaml",
        "--out",
        "run",
        "--exchanged",
    ]  # the twin commissioned the chip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=files) as child:
        try:
            end_s = time.monotonic() + 60.0
            while not (files / "run/start.yaml").exists() or len(read_metrics(files / "run", "step")) < 12:
                assert time.monotonic() < end_s, "the run does not get going"
                assert child.poll() is None, child.stderr.read() if child.stderr else ""
                time.sleep(0.05)
            yield child
        finally:
            child.kill()


def child_of(pid: int) -> int:
    """The one child of a process."""
    [child] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def finish(files: Path) -> dict[str, Any]:
    """Resumes the run for another five steps, and returns its summary."""
    done = len(read_metrics(files / "run", "step"))
    command = [*COMMAND, "resume", "run", "--steps", str(done + 5)]
    resumed = subprocess.run(command, cwd=files, capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    summary = read_summary(files / "run")
    assert summary is not None
    assert (summary["exit_status"], summary["steps"]) == ("success", done + 5)
    steps = [line["step"] for line in read_metrics(files / "run", "step")]
    assert steps == list(range(1, done + 6))
    return dict(summary)


def test_firmware_that_dies_ends_the_run_at_once_and_resume_goes_on(
    files: Path, training: subprocess.Popen[str]
) -> None:
    firmware = child_of(child_of(training.pid))
    assert Path(f"/proc/{firmware}/comm").read_text().startswith("eapu-firmware")
    os.kill(firmware, signal.SIGKILL)
    start_s = time.monotonic()
    _, err = training.communicate(timeout=30)
    assert time.monotonic() - start_s < 15.0  # nothing is waited for; the machine may be busy
    assert training.returncode == 1
    errors = [line for line in err.splitlines() if line.startswith("eapu-hil: error: ")]
    assert len(errors) == 1, err
    assert err.splitlines()[-1] == errors[0]
    assert "firmware has died" in errors[0]
    assert "Traceback" not in err

    before = read_writes(files / "run")
    finish(files)
    after = read_writes(files / "run")
    np.testing.assert_array_equal(after[: len(before)], before)
    cells = after[["step", "array", "row", "col"]].tolist()
    assert len(set(cells)) == len(cells)  # nothing written twice


def test_a_host_that_is_killed_leaves_grounded_lines_and_resume_goes_on(
    files: Path, training: subprocess.Popen[str]
) -> None:
    training.kill()
    training.wait()
    time.sleep(1.5)  # the dead-man timer is set to 1 s
    lines = LineRecord.read(files / "chip")
    assert lines.grounded
    assert lines.last_ground_s >= lines.last_drive_s
    finish(files)
    assert LineRecord.read(files / "chip").pulses > lines.pulses


def test_control_c_ends_in_good_order(files: Path, training: subprocess.Popen[str]) -> None:
    training.send_signal(signal.SIGINT)
    _, err = training.communicate(timeout=30)
    assert training.returncode == 130, err
    assert re.search(r"^eapu-hil: stopped; to continue: eapu-hil resume run$", err, re.MULTILINE), err
    assert LineRecord.read(files / "chip").grounded
    finish(files)


def test_offsets_of_the_reads_do_not_reach_the_cells(tmp_path: Path) -> None:
    """5 % of the range of a read are 4 uS: targets as the board reads them are below 0 in some columns."""
    bench = {**EXPERIMENT["bench"], "arrays": 1, "shape": [32, 16]}
    errors = {"adc.offset_error_sd": 0.05, "adc.gain_error_sd": 0.0, "faults.stuck_fraction": 0.0}
    with open_bench({**bench, "overrides": errors}, chip_dir=tmp_path / "chip") as opened:
        offset_S = opened.arrays[0].corrections.read_offset_a / opened.recipe.v_read_v
        assert offset_S.min() < -2e-6
        assert offset_S.max() > 2e-6
        assert (opened.chip.bad_cells(0) == CellStatus.OK).mean() > 0.97
        low_S = opened.arrays[0].read(Cells.all((32, 16)), 0.2).g_S
        assert np.median(low_S) == pytest.approx(opened.recipe.g_min_S, abs=opened.recipe.band_S)
