"""The examples of a lab's own rule and task: trained, stopped, resumed, reported and compared."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from eapu_hil.base.loading import load_model
from eapu_hil.cli.parser import main
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.runs import read_metrics, read_start, read_summary
from eapu_hil.training.trainer import train

EXAMPLES = Path(__file__).parents[2] / "examples"
STEPS, STOP_AT = 8, 5
SHORT = {
    "steps": STEPS,
    "evaluate_every": 4,
    "checkpoint_every": 3,
    "bench.arrays": 3,
    "bench.preset": "ideal",
}


@dataclass(frozen=True)
class Example:
    """folder and file: of the experiment. module: that it names code of. key, name: where, and how."""

    folder: str
    file: str
    module: str
    key: str
    name: str
    rules: str

    @property
    def allowed(self) -> list[str]:
        return ["--allow-module", self.module]


RULE = Example(
    "01_own_rule",
    "leaky.yaml",
    "leaky_rule",
    "rule",
    "leaky_rule:LeakyConfig",
    "leaky_rule:LeakyConfig,digital",
)
TASK = Example("02_own_task", "rings.yaml", "rings_task", "task", "rings_task:RingsConfig", "eapu,digital")


@pytest.fixture(params=[RULE, TASK], ids=lambda example: example.folder)
def example(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Example:
    found: Example = request.param
    monkeypatch.setattr(sys, "path", list(sys.path))  # commands look in the working directory too
    monkeypatch.chdir(EXAMPLES / found.folder)
    return found


def stopped_run(example: Example, run_dir: Path, silent: Callable[..., Any]) -> None:
    def stop(step: int) -> None:
        if step == STOP_AT:
            raise KeyboardInterrupt

    sys.path.append(str(Path.cwd()))
    experiment = load_model(
        ExperimentConfig, example.file, SHORT, "experiments", allow_modules=[example.module]
    )
    with pytest.raises(KeyboardInterrupt):
        train(experiment, run_dir, silent(stop))


def test_it_is_trained_stopped_resumed_and_reported(
    example: Example, tmp_path: Path, silent: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    stopped_run(example, run, silent)
    assert main(["resume", str(run)]) == 2  # a run that somebody sent imports nothing by itself
    error = capsys.readouterr().err
    assert f"{example.key}: '{example.name}' runs code of the module {example.module}" in error
    assert f"add --allow-module {example.module}" in error
    assert f"{run / 'start.yaml'}: " in error
    assert main(["resume", str(run), *example.allowed]) == 0
    summary = read_summary(run)
    assert summary is not None
    assert (summary["exit_status"], summary["steps"]) == ("success", STEPS)
    assert summary[example.key] == read_start(run)["experiment"][example.key]["name"] == example.name
    assert [line["step"] for line in read_metrics(run, "step")] == list(range(1, STEPS + 1))
    for allowed in ([], example.allowed):  # a report shows what there is, with or without the lab's code
        assert main(["report", str(run), *allowed]) == 0
        assert example.name in (run / "report.html").read_text(encoding="utf-8")


def test_it_is_compared(example: Example, tmp_path: Path) -> None:
    out = tmp_path / "compared"
    changes = [text for key, value in SHORT.items() for text in ("--set", f"{key}={value}")]
    arguments = [
        "compare",
        example.file,
        "--rules",
        example.rules,
        "--out",
        str(out),
        *changes,
        *example.allowed,
    ]
    assert main(arguments) == 0
    first, second = (name.rpartition(":")[2] for name in example.rules.split(","))
    comparison = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    assert list(comparison["rules"]) == [first, second]
    assert main(arguments) == 0  # all there already
    assert main(["report", str(out), *example.allowed]) == 0
    assert first in (out / "report.html").read_text(encoding="utf-8")
