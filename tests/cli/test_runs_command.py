"""`eapu-hil runs` lists runs in the order and choice that was asked for, and removes one after a question."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eapu_hil.base.locks import own
from eapu_hil.bench.passport import LOCK as CHIP_LOCK
from eapu_hil.cli.parser import main
from eapu_hil.training.run_place import LOCK
from eapu_hil.training.run_store import RunStore


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three runs: two that ended, with metrics 0.5 and 0.9, and one whose process was killed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    for name, rule, lr, metric in (
        ("a", "bp", 0.01, 0.9),
        ("b", "eapu", 0.001, 0.5),
        ("c", "eapu", 0.01, None),
    ):
        bench = {"backend": "twin", "preset": "ideal"}
        experiment = {"bench": bench, "rule": {"name": rule}, "optimizer": {"lr": lr}, "steps": 10}
        start = {"name": "digits", "experiment": experiment, "seed": 0}
        with RunStore.create(tmp_path / "runs" / name, start) as store:
            store.append_metrics("step", {"step": 4})
            if metric is not None:
                found = {"name": "accuracy", "final": metric}
                store.finish({"exit_status": "success", "steps": 10, "metric": found, "writes_total": 7})
    return tmp_path / "runs"


@pytest.fixture
def listed(directory: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[dict[str, Any]]]:
    def call(*arguments: str) -> list[dict[str, Any]]:
        assert main(["runs", str(directory), "--json", *arguments]) == 0
        content: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["runs"]
        return content

    return call


def _names(rows: list[dict[str, Any]]) -> str:
    return "".join(row["name"] for row in rows)


def test_all_runs_are_listed_with_what_people_look_for(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", str(directory)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all(word in lines[1] for word in ("done", "a", "digits", "bp", "twin ideal", "90.00 %", "10", "7"))
    assert all(word in lines[3] for word in ("crashed", "c", "4 of 10"))


def test_the_list_can_be_sorted_and_chosen_from(listed: Callable[..., list[dict[str, Any]]]) -> None:
    assert _names(listed("--sort", "metric")) == "bac"
    assert _names(listed("--sort=-metric")) == "abc"
    assert _names(listed("--sort", "optimizer.lr")) == "bac"
    assert _names(listed("--where", "rule=eapu")) == "bc"
    assert _names(listed("--where", "rule.name=eapu", "--where", "optimizer.lr=1e-3")) == "b"
    assert _names(listed("--where", "state=crashed")) == "c"
    assert _names(listed("--where", "state=running")) == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--sort", "ruel"), "no run has such a key, did you mean 'rule'?"),
        (("--where", "optimizer.momentum=1"), "no run has such a key"),
        (("--sort", "optimizer.rl"), "no run has such a key, did you mean 'optimizer.lr'?"),
        (("--where", "done"), "expected KEY=VALUE"),
        (("--where", "state=runing"), "no such state, did you mean 'running'?; allowed are running, paused"),
        (("--remove", "nowhere"), "not a run directory"),
    ],
)
def test_what_cannot_be_is_one_line(
    directory: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert main(["runs", str(directory), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_the_name_of_a_run_is_never_cut(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "2026-12-01-an_experiment_with_a_name_that_leaves_little_room-244831"
    (directory / "a").rename(directory / name)
    assert main(["runs", str(directory)]) == 0
    assert name in capsys.readouterr().out


def test_where_no_run_has_a_value_those_that_there_are_are_named(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", str(directory), "--where", "rule=eapo"]) == 0
    said = capsys.readouterr().out
    assert "no run with rule=eapo" in said
    assert "'eapu'" in said
    assert "there are bp, eapu" in said


@pytest.mark.parametrize(("answer", "removed"), [("yes\n", True), ("no\n", False), ("", False)])
def test_a_run_is_removed_when_the_answer_is_yes(
    directory: Path, monkeypatch: pytest.MonkeyPatch, answer: str, removed: bool
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    assert main(["runs", str(directory), "--remove", "a"]) == 0
    assert (directory / "a").exists() is not removed
    assert (directory / "b").exists()


def test_a_run_that_goes_on_is_not_removed(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with own(directory / "c" / LOCK, "a test"):
        assert main(["runs", str(directory), "--remove", str(directory / "c")]) == 2
    assert "goes on (process" in capsys.readouterr().err
    assert (directory / "c" / "start.yaml").exists()


def test_a_run_whose_chip_is_at_work_is_not_removed(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A calibration of RUN/chip, say: what it counts would be lost with the run."""
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    (directory / "a" / "chip").mkdir()
    with own(directory / "a" / "chip" / CHIP_LOCK, "a test"):
        assert main(["runs", str(directory), "--remove", "a"]) == 2
    assert "so its run is not removed" in capsys.readouterr().err
    assert (directory / "a" / "start.yaml").exists()


def test_a_run_is_removed_from_within(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(directory / "a")
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    assert main(["runs", "--remove", "."]) == 0
    assert not (directory / "a").exists()
