"""Runs are listed with how they stand, from their files and their locks."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eapu_hil.base.locks import holder_of, own
from eapu_hil.hal import ConfigError
from eapu_hil.training import run_list, train
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.run_list import RunRow, list_runs, row_of
from eapu_hil.training.run_place import LOCK, remove_run
from eapu_hil.training.run_state import SILENT_s
from eapu_hil.training.run_store import RunStore
from eapu_hil.training.runs import PAUSE, read_writes


def _states(directory: Path) -> dict[str, str]:
    return {row.name: row.standing.state for row in list_runs(directory)}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))


@pytest.fixture
def run(tmp_path: Path, make_experiment: Callable[..., ExperimentConfig], silent: Callable[..., Any]) -> Path:
    train(make_experiment(steps=3), tmp_path / "runs" / "a", silent(lambda _: None))
    return tmp_path / "runs" / "a"


def test_a_run_that_ended_says_what_it_was(run: Path) -> None:
    (row,) = list_runs(run.parent)
    facts, summary = row.facts, json.loads((run / "summary.json").read_text())
    assert (row.name, row.path, row.standing.state, row.standing.process) == ("a", run, "done", None)
    assert (facts.experiment, facts.task, facts.rule) == ("tiny", "digits", "eapu")
    assert (facts.step, facts.steps, facts.status) == (3, 3, "success")
    assert (facts.metric_name, facts.metric) == ("accuracy", summary["metric"]["final"])
    assert facts.bench.startswith("twin ")
    assert facts.chip
    assert facts.wall_s == summary["wall_s"]
    assert facts.writes == summary["writes_total"]
    assert facts.records == len(read_writes(run)) >= summary["writes_total"]
    assert facts.disk_bytes == sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    assert facts.config["optimizer"]["name"] == "adam"


def test_a_run_says_how_it_goes_while_it_goes_on(
    tmp_path: Path, make_experiment: Callable[..., ExperimentConfig], silent: Callable[..., Any]
) -> None:
    seen: list[RunRow] = []
    train(make_experiment(steps=3), tmp_path / "a", silent(lambda _: seen.append(row_of(tmp_path / "a"))))
    assert [row.standing.state for row in seen] == ["running"] * 3
    assert [row.standing.process for row in seen] == [os.getpid()] * 3
    assert [row.facts.step for row in seen] == [1, 2, 3]
    assert seen[0].facts.metric is not None
    assert row_of(tmp_path / "a").standing.state == "done"


def test_a_run_whose_process_was_killed_has_crashed(run: Path) -> None:
    (run / "summary.json").unlink()
    assert _states(run.parent) == {"a": "crashed"}
    (row,) = list_runs(run.parent)
    assert row.facts.step == 3
    assert row.facts.metric is not None
    (run / LOCK).write_text("12345\n")  # a lock that its process left behind
    assert _states(run.parent) == {"a": "crashed"}


def test_a_process_that_writes_nothing_is_frozen(run: Path) -> None:
    for name in ("start.yaml", "metrics.jsonl", "writes.bin", "journal.bin"):
        os.utime(run / name, (1.0, 1.0))
    with own(run / LOCK, "a test"):
        (row,) = list_runs(run.parent)
    assert (row.standing.state, row.standing.process) == ("frozen", os.getpid())
    assert row.standing.since_s > SILENT_s
    (run / PAUSE).touch()
    with own(run / LOCK, "a test"):
        assert _states(run.parent) == {"a": "frozen"}  # it has not said that it waits


def test_a_process_that_says_that_it_waits_is_paused(run: Path) -> None:
    (run / "summary.json").unlink()
    (run / PAUSE).touch()
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"kind":"event","what":"paused","at_step":3,"unix_s":1.0,"text":"paused"}\n')
    with own(run / LOCK, "a test"):
        assert _states(run.parent) == {"a": "paused"}
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"kind":"step","step":4,"loss":1.0}\n')  # it was killed meanwhile, and goes on
    with own(run / LOCK, "a test"):
        assert _states(run.parent) == {"a": "running"}


def test_how_a_run_ended_is_its_state(
    tmp_path: Path, make_experiment: Callable[..., ExperimentConfig], silent: Callable[..., Any]
) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(make_experiment(steps=3), tmp_path / "stopped", silent(stop))
    with RunStore.create(tmp_path / "failed", {"name": "tiny"}) as store:
        store.finish({"exit_status": "failed", "error": "the link is lost"})
    rows = {row.name: row for row in list_runs(tmp_path)}
    assert rows["stopped"].standing.state == "stopped"
    assert (rows["failed"].standing.state, rows["failed"].standing.note) == ("failed", "the link is lost")


def test_a_damaged_run_is_a_line_too(run: Path) -> None:
    text = (run / "start.yaml").read_text()
    (run / "start.yaml").write_text(text.replace("seed: ", "seed: 1"))
    (row,) = list_runs(run.parent)
    assert row.standing.state == "damaged"
    assert "checksum" in row.standing.note


def test_runs_of_comparisons_and_tables_are_found_and_links_are_not_followed(
    run: Path, tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "runs" / "table" / "runs" / "digits-eapu-1")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link").symlink_to(tmp_path / "runs", target_is_directory=True)
    assert list(_states(tmp_path / "runs")) == ["a", "table/runs/digits-eapu-1"]
    assert _states(tmp_path / "elsewhere") == {}
    assert [row.name for row in list_runs(run)] == ["a"]
    with pytest.raises(ConfigError, match="there is no such directory"):
        list_runs(tmp_path / "nowhere")


def test_the_index_is_only_a_cache(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = list_runs(run.parent)

    def fail(run_dir: Path) -> None:
        raise AssertionError(f"{run_dir} was read again")

    with monkeypatch.context() as patched:
        patched.setattr(run_list, "read_facts", fail)
        (again,) = list_runs(run.parent)
    assert (again.facts, again.name) == (first.facts, first.name)
    index = run_list._index_of(run.parent)
    for content in ("", "[]", '{"version": 1, "runs": {"a": {"signature": 3}}}', "{"):
        index.write_text(content)
        assert [row.facts for row in list_runs(run.parent)] == [first.facts]
    (run / "summary.json").unlink()
    assert _states(run.parent) == {"a": "crashed"}


def test_a_directory_that_cannot_keep_an_index_is_listed(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(run / "start.yaml"))
    assert _states(run.parent) == {"a": "done"}


def test_whoever_looks_at_a_lock_does_not_take_it(tmp_path: Path) -> None:
    assert holder_of(tmp_path / "lock") is None
    with own(tmp_path / "lock", "a test"):
        assert holder_of(tmp_path / "lock") == os.getpid()
    assert not (tmp_path / "lock").exists()
    (tmp_path / "lock").write_text("1\n")
    assert holder_of(tmp_path / "lock") is None
    with own(tmp_path / "lock", "a test"):
        pass


def test_a_run_is_removed_with_all_that_lies_in_it_and_nothing_else(run: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    (run / "link").symlink_to(tmp_path / "kept", target_is_directory=True)
    with (
        own(run / LOCK, "a test"),
        pytest.raises(ConfigError, match=r"goes on and is not removed: in use by"),
    ):
        remove_run(run)
    assert _states(run.parent) == {"a": "done"}
    remove_run(run)
    assert not run.exists()
    assert (tmp_path / "kept" / "file").exists()


def test_what_is_no_run_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(ConfigError, match="not a run directory"):
        remove_run(tmp_path / "data")
    assert (tmp_path / "data").exists()
