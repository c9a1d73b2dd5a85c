"""Keys of version 0.1, in files, in changes to them and in parts of them: read, and named once under their new name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from pydantic import BaseModel

from eapu_hil.base.loading import FileModel, load_model
from eapu_hil.base.old_names import new_name, rename_old_file, say_renamed, with_new_names
from eapu_hil.bench.config import BenchConfig
from eapu_hil.hal import ConfigError
from eapu_hil.hal.recipe import Recipe
from eapu_hil.rules.eapu import EapuConfig
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.twin.preset import TwinPreset


class Ramp(BaseModel):
    step_s: float = 1.0
    g_top_S: float = 1e-6


class Lab(FileModel):
    """Has a key that 0.1 had for a conductance, and means seconds by it."""

    references: ClassVar[Mapping[str, tuple[type[BaseModel], str]]] = {"recipe": (Recipe, "recipes")}

    ramp: Ramp
    g_low_S: float
    slope_S_per_v: float = 0.0
    recipe: Recipe | None = None


@pytest.fixture(autouse=True)
def _nothing_was_said() -> None:
    say_renamed.cache_clear()


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records]


def old_recipe(**changes: Any) -> dict[str, Any]:
    """The packaged recipe as 0.1 wrote it."""
    recipe = load_model(Recipe, "rram_180nm", (), "recipes").model_dump(mode="json")
    del recipe["v_in_max_v"]
    return {old_name(key): value for key, value in (_old(recipe) | changes).items()}


def _old(content: Any) -> Any:
    if isinstance(content, dict):
        return {old_name(key): _old(value) for key, value in content.items()}
    return content


def old_name(name: str) -> str:
    return name.replace("_S", "_s").replace("_uS", "_us")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("g_min_s", "g_min_S"),
        ("threshold_us", "threshold_uS"),
        ("variance_1s_s2", "variance_1s_S2"),
        ("mean_per_decade_s", "mean_per_decade_S"),
        ("gate_slope_s_per_v", "gate_slope_S_per_v"),
        ("g_us", "g_uS"),
        ("steps", "steps"),
        ("v_set_v", "v_set_v"),
        ("g_min_S", "g_min_S"),
    ],
)
def test_what_a_conductance_is_called_now(old: str, new: str) -> None:
    assert new_name(old) == new


def test_an_old_recipe_is_today_s(said: Callable[[], list[str]]) -> None:
    assert load_model(Recipe, old_recipe(), (), "recipes") == load_model(Recipe, "rram_180nm", (), "recipes")
    assert len(said()) == 1
    assert "set.gate_slope_s_per_v is now set.gate_slope_S_per_v" in said()[0]


def test_an_old_key_is_named_once_with_its_file(tmp_path: Path, said: Callable[[], list[str]]) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text("g_low_s: 2.0e-6\nslope_s_per_v: 4.0\nramp: {g_top_s: 3.0e-6}\n")
    for _ in range(2):
        lab = load_model(Lab, path, (), "experiments")
    assert (lab.g_low_S, lab.slope_S_per_v, lab.ramp.g_top_S) == (2e-6, 4.0, 3e-6)
    assert said() == [
        f"{path}: old keys are still read: g_low_s is now g_low_S, slope_s_per_v is now slope_S_per_v, "
        "ramp.g_top_s is now ramp.g_top_S"
    ]


def test_a_time_of_a_lab_stays(said: Callable[[], list[str]]) -> None:
    lab = load_model(Lab, {"g_low_S": 1.0, "ramp": {"step_s": 5.0}}, ("ramp.step_s=7.0",), "experiments")
    assert (lab.ramp.step_s, said()) == (7.0, [])


def test_an_old_key_in_a_change(said: Callable[[], list[str]]) -> None:
    changes = ("rule.threshold_us=2", "bench.recipe.band_s=2.0e-6")
    experiment = load_model(ExperimentConfig, "digits", changes, "experiments")
    assert isinstance(experiment.rule, EapuConfig)
    assert (experiment.rule.threshold_uS, experiment.bench.recipe.band_S) == (2.0, 2e-6)
    assert said() == [
        "--set: old keys are still read: rule.threshold_us is now rule.threshold_uS",
        "--set: old keys are still read: band_s is now band_S",
    ]


def test_a_whole_rule_in_a_change() -> None:
    change = ("rule={name: eapu, threshold_us: 2.0, late_band_us: 1.0}",)
    experiment = load_model(ExperimentConfig, "digits", change, "experiments")
    assert isinstance(experiment.rule, EapuConfig)
    assert (experiment.rule.threshold_uS, experiment.rule.late_band_uS) == (2.0, 1.0)


@pytest.mark.parametrize(
    ("content", "changes", "found"),
    [
        ({"g_low_s": 1.0, "g_low_S": 2.0}, {}, 2.0),
        ({"g_low_S": 2.0, "g_low_s": 1.0}, {}, 1.0),
        ({"g_low_S": 2.0}, {"g_low_s": 3.0}, 3.0),
        ({"g_low_s": 1.0}, {"g_low_S": 3.0}, 3.0),
        ({"g_low_s": 1.0}, {"g_low_s": 3.0}, 3.0),
        ({"g_low_S": 1.0}, {"g_low_s": 2.0, "g_low_S": 3.0}, 3.0),
    ],
)
def test_of_two_names_the_later_counts(
    content: dict[str, float], changes: dict[str, float], found: float
) -> None:
    assert load_model(Lab, {"ramp": {}, **content}, changes, "experiments").g_low_S == found


def test_a_reference_is_read_too(tmp_path: Path, said: Callable[[], list[str]]) -> None:
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(old_recipe(band_S=2e-6)))
    (tmp_path / "lab.yaml").write_text("g_low_S: 1.0\nramp: {}\nrecipe: recipe.yaml\n")
    lab = load_model(Lab, tmp_path / "lab.yaml", {"recipe.g_min_s": 2e-6}, "experiments")
    assert lab.recipe is not None
    assert (lab.recipe.band_S, lab.recipe.g_min_S) == (2e-6, 2e-6)
    labels = [line.partition(":")[0] for line in said()]
    assert labels == [str(tmp_path / "recipe.yaml"), "overrides"]


def test_a_bench_in_an_experiment(make_experiment: Callable[..., ExperimentConfig]) -> None:
    changes = [
        "bench.overrides={faults: {g_stuck_high_s: 1.0e-4}}",
        f"bench.recipe={old_recipe(band_S=3e-6)}",
    ]
    experiment = load_model(ExperimentConfig, make_experiment(), changes, "experiments")
    assert experiment.bench.recipe.band_S == 3e-6


@pytest.mark.parametrize("key", ["gate.slope_s_per_v", "gate.slope_S_per_v"])
def test_overrides_of_a_preset(key: str, said: Callable[[], list[str]]) -> None:
    preset = load_model(TwinPreset, "rram_180nm", {key: 5e-5}, "presets")
    assert preset.gate.slope_S_per_v == 5e-5
    old = "overrides: old keys are still read: gate.slope_s_per_v is now gate.slope_S_per_v"
    assert said() == ([old] if "_s_" in key else [])


def test_a_wrong_value_under_an_old_key_is_named_with_where_it_is_from() -> None:
    with pytest.raises(ConfigError, match=r"rule\.threshold_uS \(from --set\): .*-1"):
        load_model(ExperimentConfig, "digits", ("rule.threshold_us=-1",), "experiments")


def test_a_key_that_never_was_is_still_refused() -> None:
    with pytest.raises(ConfigError, match=r"rule\.treshold_us.*unknown key, did you mean 'threshold_uS'"):
        load_model(ExperimentConfig, "digits", ("rule.treshold_us=2",), "experiments")
    with pytest.raises(ConfigError, match=r"set\.width_S .*unknown key, did you mean 'width_s'"):
        load_model(Recipe, "rram_180nm", ("set.width_S=1.0e-7",), "recipes")


def test_a_bench_file_of_then(old_files: Path) -> None:
    bench = load_model(BenchConfig, old_files / "bench.yaml", (), "benches")
    assert bench.recipe == load_model(Recipe, "rram_180nm", (), "recipes")


def test_a_preset_of_then(old_files: Path, said: Callable[[], list[str]]) -> None:
    preset = load_model(TwinPreset, old_files / "fitted.yaml", (), "presets")
    content = yaml.safe_load((old_files / "fitted.yaml").read_text())
    assert list(preset.relaxation.variance_1s_S2) == content["relaxation"]["variance_1s_s2"]
    assert preset.window.g_max_S == content["window"]["g_max_s"]
    assert len(said()) == 1


def test_names_in_files_without_a_model() -> None:
    old = {
        "recipe": {"g_min_s": 1.0, "set": {"width_s": 2.0}},
        "gate.slope_s_per_v": 3.0,
        "a": [{"sd_s": 5.0}],
    }
    new = {
        "recipe": {"g_min_S": 1.0, "set": {"width_s": 2.0}},
        "gate.slope_S_per_v": 3.0,
        "a": [{"sd_S": 5.0}],
    }
    assert with_new_names(old) == new


def test_an_old_file_takes_the_new_name_once(tmp_path: Path) -> None:
    (tmp_path / "g_s.npy").write_text("old")
    rename_old_file(tmp_path / "g_S.npy")
    assert [file.name for file in tmp_path.iterdir()] == ["g_S.npy"]
    rename_old_file(tmp_path / "g_S.npy")
    rename_old_file(tmp_path / "absent_S.npy")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("g_S.npy", "old")]


def test_a_file_under_the_new_name_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "g_S.npy").write_text("new")
    if (tmp_path / "g_s.npy").exists():
        pytest.skip("this file system ignores case")
    (tmp_path / "g_s.npy").write_text("old")
    rename_old_file(tmp_path / "g_S.npy")
    assert (tmp_path / "g_S.npy").read_text() == "new"
