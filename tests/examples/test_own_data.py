"""The examples of the task `arrays`: both learn in floats and run on the twin, with paths beside their files."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from eapu_hil.base.loading import load_model
from eapu_hil.cli.parser import main
from eapu_hil.hal import ConfigError
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.runs import read_metrics, read_start
from eapu_hil.training.trainer import resume, train, trained_network

EXAMPLES = Path(__file__).parents[2] / "examples" / "03_own_data"
NAMES = ("iris", "spectrum")

Silent = Callable[..., Any]


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the examples with their data made."""
    if find_spec("sklearn") is None:
        pytest.skip("scikit-learn brings the data of iris")
    folder = tmp_path_factory.mktemp("lab") / "data"
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("*.csv", "*.npz"))
    subprocess.run([sys.executable, folder / "make_data.py"], check=True)
    return folder


def _experiment(folder: Path, name: str, **changes: Any) -> ExperimentConfig:
    return load_model(ExperimentConfig, folder / f"{name}.yaml", changes, "experiments")


def _small(folder: Path, name: str, steps: int = 6) -> ExperimentConfig:
    changes = {
        "bench.shape": [96, 32],
        "bench.arrays": 2,
        "steps": steps,
        "evaluate_every": 3,
        "checkpoint_every": 2,
    }
    return _experiment(folder, name, **changes)


@pytest.mark.parametrize(("name", "least"), [("iris", 0.8), ("spectrum", 0.9)])
def test_they_are_learned_in_floats(
    examples: Path, tmp_path: Path, silent: Silent, name: str, least: float
) -> None:
    summary = train(
        _experiment(examples, name, **{"rule.name": "digital", "steps": 300}), tmp_path / "run", silent()
    )
    assert summary["metric"]["final"] > least
    assert summary["metric"]["best"] >= summary["metric"]["final"]
    assert summary["task"] == "arrays"


@pytest.mark.parametrize("name", NAMES)
def test_they_run_on_the_twin(examples: Path, tmp_path: Path, silent: Silent, name: str) -> None:
    run = tmp_path / "run"
    summary = train(_small(examples, name), run, silent())
    assert summary["exit_status"] == "success"
    assert summary["writes_total"] > 0
    start = read_start(run)
    kept = {"iris": ["setosa", "versicolor", "virginica"], "spectrum": ["y[0]", "y[1]"]}[name]
    assert start["data"]["classes" if name == "iris" else "targets"] == kept
    assert [item["name"] for item in summary["metric"]["items"]] == kept
    with trained_network(run) as (task, network):
        again = task.evaluate(network.infer, quick=False)
    assert again.value == pytest.approx(summary["metric"]["final"], abs=0.3)  # the products are noisy


def test_paths_are_beside_the_experiment_file(
    examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(examples.parent)
    for source in (Path("data/iris.yaml"), examples / "iris.yaml"):
        task = load_model(ExperimentConfig, source, (), "experiments").task
        assert task.model_dump()["data"]["train"] == examples / "iris.csv"
    monkeypatch.chdir(tmp_path)
    changed = load_model(ExperimentConfig, examples / "iris.yaml", ["task.data.train=own.csv"], "experiments")
    assert changed.task.model_dump()["data"]["train"] == tmp_path / "own.csv"


def test_a_run_whose_data_have_changed_is_not_continued(
    examples: Path, tmp_path: Path, silent: Silent
) -> None:
    folder, run = tmp_path / "lab", tmp_path / "run"
    shutil.copytree(examples, folder)

    def stop(step: int) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(_small(folder, "iris"), run, silent(stop))
    content = (folder / "iris.csv").read_bytes()
    (folder / "iris.csv").write_bytes(content.replace(b"5.1", b"5.2", 1))
    for opened in (lambda: resume(run, silent()), lambda: trained_network(run).__enter__()):
        with pytest.raises(
            ConfigError, match=r"data of this run have changed since it began \(train_sha256\)"
        ):
            opened()
    (folder / "iris.csv").write_bytes(content)
    assert resume(run, silent())["exit_status"] == "success"
    assert [line["step"] for line in read_metrics(run, "step")] == [1, 2, 3, 4, 5, 6]


def test_a_fault_in_the_data_is_one_line_and_leaves_nothing(
    examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "lab"
    shutil.copytree(examples, folder)
    content = (folder / "iris.csv").read_text()
    (folder / "iris.csv").write_text(content.replace("4.9", "4.9 cm", 1))
    command = ["train", str(folder / "iris.yaml"), "--out", str(tmp_path / "run")]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert re.search(r"iris\.csv:3: column 'sepal length \(cm\)': '4.9 cm' is no number", said)
    assert not (tmp_path / "run").exists()
    (folder / "iris.csv").write_text(content)
    assert main([*command, "--set", "task.layers=[8, rleu, 3]"]) == 2
    assert (
        "task.layers.1 (from --set): must be 'relu'; given 'rleu', did you mean 'relu'?"
        in capsys.readouterr().err
    )
    assert main([*command, "--set", "task.data.tarin=x.csv"]) == 2
    assert "task.data.tarin (from --set): unknown key, did you mean 'train'?" in capsys.readouterr().err


def test_the_command_line_trains_reports_and_shows_the_metric(
    examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    run = tmp_path / "run"
    changes = [f"--set={key}" for key in ("bench.arrays=1", "steps=4", "evaluate_every=2")]
    assert main(["train", str(examples / "spectrum.yaml"), "--out", str(run), *changes, "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out.splitlines()[-1])["summary"]["metric"]["name"] == "r2"
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "R\u00b2, held out" in page
    assert main(["apply", str(run), str(_picture(tmp_path)), "--out", str(tmp_path / "out")]) == 2
    assert "task arrays predicts classes or numbers" in capsys.readouterr().err
    assert main(["evaluate", str(run), "--images", str(tmp_path)]) == 2
    assert "task arrays has its own data" in capsys.readouterr().err


def _picture(folder: Path) -> Path:
    import numpy as np

    from eapu_hil.tasks.images import write_image

    write_image(folder / "grey.png", np.zeros((8, 8), dtype=np.float32))
    return folder / "grey.png"
