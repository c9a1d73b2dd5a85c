"""Names that become files stay where they are put, on every system."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eapu_hil.base.filenames import require_file_name
from eapu_hil.hal import ConfigError
from eapu_hil.study.plan import TablePlan
from eapu_hil.study.results import read_results
from eapu_hil.training.config import ExperimentConfig

WRONG = [
    "../x",
    "a/b",
    "a\\b",
    "..",
    ".",
    "",
    ".hidden",
    "a ",
    "con",
    "NUL.txt",
    "com1",
    "a\nb",
    "a\x00",
    "a:b",
    "a" * 101,
]


@pytest.mark.parametrize("name", WRONG)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^here: "):
        require_file_name(name, "here")


@pytest.mark.parametrize("name", ["denoise", "digits_long", "a b", "lauf-ü", "point1.5", "console"])
def test_names_are_taken_as_they_are(name: str) -> None:
    assert require_file_name(name, "here") == name


def test_an_experiment_and_a_plan_cannot_lie_elsewhere(
    make_experiment: Callable[..., ExperimentConfig],
) -> None:
    with pytest.raises(ConfigError, match=r"name: .*must not hold /"):
        make_experiment(name="../../outside")
    rule = {"text": "", "set": {}}
    with pytest.raises(ValueError, match="must not hold /"):
        TablePlan.model_validate(
            {"tasks": {"../x": {"experiment": "digits", "seeds": [1]}}, "rules": {"a": rule}}
        )


def test_a_table_from_elsewhere_names_no_figure_outside(tmp_path: Path) -> None:
    content: dict[str, Any] = {"tasks": {"../../x": "accuracy"}, "rules": {}, "runs": []}
    (tmp_path / "table.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"table\.json: tasks: .*must not hold /"):
        read_results(tmp_path)
