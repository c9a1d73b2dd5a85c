"""How a run of a batch ended is read from its directory, not from what it printed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eapu_hil.study.batch import _start, ended
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
