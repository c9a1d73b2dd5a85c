"""A run goes on with another rate or beyond its end, and start.yaml says since which step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eapu_hil.hal import ConfigError
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.run_changes import CHANGEABLE
from eapu_hil.training.runs import read_metrics, read_start
from eapu_hil.training.trainer import resume, train

Make = Callable[..., ExperimentConfig]


@pytest.fixture
def run(tmp_path: Path, make_experiment: Make, silent: Callable[..., Any]) -> Path:
    optimizer = {"name": "adam", "lr": 5e-3}
    train(make_experiment(rule={"name": "digital"}, optimizer=optimizer, steps=3), tmp_path / "a", silent())
    return tmp_path / "a"


def test_a_run_goes_beyond_its_end_at_another_rate(run: Path, silent: Callable[..., Any]) -> None:
    summary = resume(run, silent(), steps=5, changes=["optimizer.lr=0.001", "evaluate_every=1"])
    assert (summary["exit_status"], summary["steps"]) == ("success", 5)
    assert [line["lr"] for line in read_metrics(run, "step")] == [0.005] * 3 + [0.001] * 2
    start = read_start(run)
    assert start["experiment"]["optimizer"]["lr"] == 0.001
    (change,) = start["changes"]
    assert change.pop("time")
    assert change == {
        "after_step": 3,
        "steps": {"from": 3, "to": 5},
        "optimizer.lr": {"from": 0.005, "to": 0.001},
        "evaluate_every": {"from": 5, "to": 1},
    }
    resume(run, silent(), steps=6, changes=["optimizer.lr=0.001"])
    assert [sorted(change) for change in read_start(run)["changes"]][1] == ["after_step", "steps", "time"]


def test_a_change_counts_from_the_step_where_the_run_goes_on(
    tmp_path: Path, make_experiment: Make, silent: Callable[..., Any]
) -> None:
    def stop(step: int) -> None:
        if step == 3:
            raise KeyboardInterrupt

    for name, after in (("digital", 2), ("eapu", 3)):  # what was written to cells stays
        experiment = make_experiment(rule={"name": name}, steps=4, checkpoint_every=2)
        with pytest.raises(KeyboardInterrupt):
            train(experiment, tmp_path / name, silent(stop))
        resume(tmp_path / name, silent(), changes=["optimizer.lr=0.001"])
        assert read_start(tmp_path / name)["changes"][0]["after_step"] == after
        rates = [line["lr"] for line in read_metrics(tmp_path / name, "step")]
        assert rates[after - 1 :] == [0.005] + [0.001] * (4 - after)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("seed=3", "--set seed: cannot change in the middle of a run"),
        ("rule.threshold_uS=1.0", "--set rule.threshold_uS: cannot change"),
        ("optimizer.name=sgd", "--set optimizer.name: cannot change"),
        ("bench.preset=ideal", "--set bench.preset: cannot change"),
        ("steps=9", "--steps N sets the total"),
        ("optimizer.lrr=1", "did you mean 'optimizer.lr'"),
        ("optimizer.lr=-1", r"optimizer.lr \(from --set\)"),
        ("optimizer.momentum=0.5", "optimizer.momentum"),  # adam has none
    ],
)
def test_what_may_not_change_is_refused_by_name(
    run: Path, silent: Callable[..., Any], change: str, said: str
) -> None:
    before = (run / "start.yaml").read_bytes()
    with pytest.raises(ConfigError, match=said):
        resume(run, silent(), steps=9, changes=[change])
    assert (run / "start.yaml").read_bytes() == before
    assert (run / "summary.json").exists()


def test_a_change_alone_does_not_make_a_finished_run_longer(run: Path, silent: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match="--steps N trains beyond its end"):
        resume(run, silent(), changes=["optimizer.lr=0.001"])
    assert set(CHANGEABLE) >= {"optimizer.lr", "batch", "evaluate_every"}
