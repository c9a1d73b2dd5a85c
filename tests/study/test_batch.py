"""How a run of a batch ended is read from its directory, not from what it printed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eapu_hil.base.locks import InUseError
from eapu_hil.report.comparison_data import read_comparison
from eapu_hil.study.batch import _start, ended, run_all
from eapu_hil.study.compare import compare, own_runs
from eapu_hil.training import train
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.errors import DivergedError
from eapu_hil.training.run_store import RunStore

Make = Callable[..., ExperimentConfig]


def test_a_run_that_diverged_has_ended(
    tmp_path: Path, make_experiment: Make, silent: Callable[..., Any]
) -> None:
    experiment = make_experiment(rule={"name": "digital"}, optimizer={"name": "sgd", "lr": 1e38})
    assert ended(tmp_path / "a", experiment) is None
    with pytest.raises(DivergedError) as info, np.errstate(all="ignore"):
        train(experiment, tmp_path / "a", silent())
    its = ended(tmp_path / "a", experiment)
    assert its is not None
    assert (its.summary, its.error) == (None, str(info.value))


def test_a_run_that_failed_has_not_and_one_that_diverged_in_an_older_version_has(
    tmp_path: Path, make_experiment: Make, silent: Callable[..., Any]
) -> None:
    experiment = make_experiment(rule={"name": "digital"}, steps=2)
    summary = train(experiment, tmp_path / "a", silent())
    its = ended(tmp_path / "a", experiment)
    assert its is not None
    assert its.summary == summary
    with RunStore.open(tmp_path / "a", finished=True) as store:
        store.finish({**summary, "exit_status": "failed"})
    assert ended(tmp_path / "a", experiment) is None
    (tmp_path / "a" / "failed.json").write_text('{"error": "training diverged"}')
    its = ended(tmp_path / "a", experiment)
    assert its is not None
    assert (its.summary, its.error) == (None, "training diverged")


def test_runs_import_nothing_from_the_folder_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_experiment: Make
) -> None:
    """Somebody may have sent that folder."""
    (tmp_path / "yaml.py").write_text("open('imported', 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no_run").mkdir()
    with _start(make_experiment(), tmp_path / "no_run", alone=False) as process:
        assert process.wait(60) == 2
    assert not (tmp_path / "imported").exists()


def test_one_process_at_a_time_trains_the_runs_of_a_directory(
    tmp_path: Path, make_experiment: Make, silent: Callable[..., Any]
) -> None:
    """Two would each count what the other had trained as theirs, or fail half way."""
    experiments = {"digital": make_experiment(rule={"name": "digital"}, steps=2)}
    place = tmp_path / "place"
    with own_runs(place):
        with pytest.raises(
            InUseError, match=rf"{place}: another process trains its runs: in use by process \d+"
        ):
            compare(experiments, place, lambda _: silent())
        with pytest.raises(InUseError, match="another process trains its runs"):
            run_all(experiments, place, 1, lambda *_: None)
        assert not (place / "digital").exists()
    assert set(compare(experiments, place, lambda _: silent())["rules"]) == {"digital"}
    assert run_all(experiments, place, 1, lambda *_: None)["digital"].summary is not None


def test_a_comparison_that_is_stopped_says_what_it_has_and_what_it_was_to_have(
    tmp_path: Path, make_experiment: Make, silent: Callable[..., Any]
) -> None:
    experiments = {name: make_experiment(rule={"name": name}, steps=2) for name in ("digital", "eapu")}

    def begin(name: str) -> Any:
        if name == "eapu":
            raise KeyboardInterrupt
        return silent()

    with pytest.raises(KeyboardInterrupt):
        compare(experiments, tmp_path / "c", begin)
    found = read_comparison(tmp_path / "c")
    assert (list(found["rules"]), found["planned"]) == (["digital"], ["digital", "eapu"])
    done = compare(experiments, tmp_path / "c", lambda _: silent())
    assert list(done["rules"]) == list(read_comparison(tmp_path / "c")["rules"]) == ["digital", "eapu"]
