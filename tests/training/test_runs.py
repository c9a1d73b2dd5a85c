"""A run directory is looked at from Python, also while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eapu_hil.hal import ConfigError
from eapu_hil.training import load_run, train
from eapu_hil.training.config import ExperimentConfig


def test_all_of_a_run_is_there(
    tmp_path: Path, make_experiment: Callable[..., ExperimentConfig], silent: Callable[..., Any]
) -> None:
    seen: list[int] = []

    def look(step: int) -> None:
        run = load_run(tmp_path / "a")
        assert run.summary is None
        seen.append(len(run.metrics("step")))
        assert len(run.checkpoints) == 1 + (step > 4)

    summary = train(make_experiment(steps=6), tmp_path / "a", silent(look))
    assert seen == list(range(1, 7))
    run = load_run(str(tmp_path / "a"))
    assert run.path == tmp_path / "a"
    assert run.start["name"] == "tiny"
    assert run.summary == summary
    assert [line["step"] for line in run.metrics("evaluation")] == [0, 5, 6]
    assert len(run.metrics()) == 6 + 3
    assert run.writes["step"].max() == 6
    assert [path.name for path in run.checkpoints] == [f"step_00000{step}.npz" for step in (0, 4, 6)]
    assert run.snapshots["pulses_0"].shape == (64, 16)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a run directory"):
        load_run(tmp_path)


@pytest.mark.parametrize("left", ["metrics.jsonl", "writes.bin", "summary.json"])
def test_a_run_without_its_start_is_not_to_be_removed(tmp_path: Path, left: str) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / left).touch()
    with pytest.raises(ConfigError, match=r"start.yaml was lost: bring it back from a copy"):
        load_run(tmp_path)
