"""A run of version 0.1, stopped before its end: it is read, goes on, and is reported."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eapu_hil import load_run
from eapu_hil.base.loading import load_model
from eapu_hil.cli.parser import main
from eapu_hil.hal import HilError
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.records import WRITE_DTYPE
from eapu_hil.training.runs import read_metrics, read_snapshots, read_start, read_writes
from eapu_hil.training.trainer import resume

ARRAYS = 3


@pytest.fixture
def run(old_files: Path) -> Path:
    return old_files / "run"


def test_its_experiment_is_read_without_a_word(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody can change the keys of a run: there is nothing to say."""
    caplog.set_level(logging.INFO)
    content = read_start(run)["experiment"]
    experiment = load_model(ExperimentConfig, content, (), "experiments")
    assert content["rule"]["threshold_uS"] == 2.0
    assert experiment.bench.recipe.g_max_S == 4e-5
    assert content["bench"]["overrides"] == {"gate.slope_S_per_v": 4e-5}
    assert caplog.records == []


def test_its_writes_and_snapshots_are_read(run: Path) -> None:
    writes = read_writes(run)
    assert writes.dtype == WRITE_DTYPE
    assert 1e-6 <= writes["target_S"].min() < writes["target_S"].max() <= 4.1e-5
    assert set(writes["cause"]) <= {0, 1, 2}
    found = load_run(run).snapshots
    for number in range(ARRAYS):
        assert found[f"g_before_S_{number}"].shape == (64, 16)
    assert not [name for name in found if "_s_" in name]


def test_it_goes_on_where_it_stopped(run: Path, silent: Callable[..., Any]) -> None:
    """What was done stays; the rest draws other random numbers than it would have drawn then."""
    before = read_writes(run)
    resume(run, silent())
    writes = read_writes(run)
    np.testing.assert_array_equal(writes[: before.size], before)
    lines = (run.parent / "metrics_after_resume.jsonl").read_text().splitlines()
    then = {line["step"]: line for line in map(json.loads, lines) if line["kind"] == "step"}
    now = {line["step"]: line for line in read_metrics(run, "step")}
    assert now.keys() == then.keys()
    stopped = int(before["step"].max())
    rest = [step for step in now if step > stopped]
    for key, share in (("loss", 0.3), ("writes", 0.3), ("pulses", 0.3), ("clock_s", 0.05)):
        for step in now.keys() - set(rest):
            assert now[step][key] == pytest.approx(then[step][key], rel=1e-5)
        assert np.mean([now[step][key] for step in rest]) == pytest.approx(
            np.mean([then[step][key] for step in rest]), rel=share
        )


def test_a_resumed_run_has_one_map_of_each_kind(run: Path, silent: Callable[..., Any]) -> None:
    before = read_snapshots(run)
    resume(run, silent())
    with np.load(run / "snapshots.npz") as archive:
        names = set(archive.files)
        np.testing.assert_array_equal(archive["g_before_S_0"], before["g_before_S_0"])
    assert {f"g_{when}_S_{number}" for when in ("before", "after") for number in range(ARRAYS)} <= names
    assert not [name for name in names if "_s_" in name]


def test_what_cannot_be_proven_is_said_until_it_is_sealed(
    run: Path, silent: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    load_run(run)
    assert "an older version made this run: its files carry no checksums until it is resumed" in caplog.text
    resume(run, silent())
    caplog.clear()
    load_run(run)
    assert caplog.text == ""
    for name in ("start.yaml", "placement.json", "summary.json"):
        assert "sha256" in (run / name).read_text()
    with np.load(run / "snapshots.npz") as archive:
        np.savez(run / "plain.npz", **{name: archive[name] for name in archive.files if name != "seal"})
    (run / "plain.npz").replace(run / "snapshots.npz")
    with pytest.raises(HilError, match=r"snapshots\.npz: carries no seal"):
        load_run(run)


def test_it_is_resumed_and_reported(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", str(run)]) == 0
    assert main(["report", str(run)]) == 0
    assert "old keys" not in capsys.readouterr().err
    page = (run / "report.html").read_text()
    assert "threshold_us" not in page
