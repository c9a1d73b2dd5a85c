from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from eapu_drivers.controller.config import ControllerConfig
from hypothesis import given, settings
from hypothesis import strategies as st

from eapu_hil.base.loading import load_model
from eapu_hil.base.packaged import packaged_names
from eapu_hil.bench.config import TwinBenchConfig
from eapu_hil.hal import ConfigError, Limits
from eapu_hil.hal.recipe import Recipe
from eapu_hil.rules.eapu import EapuConfig
from eapu_hil.training.config import ExperimentConfig

LIMITS = {
    "v_max_v": 3.5,
    "v_gate_max_v": 5.0,
    "i_max_a": 2e-3,
    "width_max_s": 1e-3,
    "pulses_per_cell_max": 100,
}
BENCH: dict[str, Any] = {"backend": "twin", "shape": [8, 4], "limits": LIMITS}
EXPERIMENT: dict[str, Any] = {
    "name": "short",
    "bench": "twin",
    "task": {"name": "denoise"},
    "rule": {"name": "eapu"},
    "optimizer": {"name": "adam"},
    "steps": 10,
    "batch": 2,
}


def bench(content: Any = BENCH, *overrides: str) -> TwinBenchConfig:
    """All benches here may have a twin behind them, and so its keys."""
    return load_model(TwinBenchConfig, content, overrides, "benches")


def experiment(content: Any = EXPERIMENT, *overrides: str) -> ExperimentConfig:
    return load_model(ExperimentConfig, content, overrides, "experiments")


@pytest.fixture
def bench_file(tmp_path: Path) -> Path:
    path = tmp_path / "bench.yaml"
    path.write_text(yaml.safe_dump(BENCH))
    return path


@pytest.mark.parametrize("name", packaged_names("benches"))
def test_packaged_benches_load(name: str) -> None:
    config = bench(name)
    size = (1, (16, 8)) if config.backend == "smu" else (4, (128, 64))
    assert (config.simulated, (config.arrays, config.shape)) == (True, size)
    assert isinstance(config, TwinBenchConfig)
    assert config.preset in packaged_names("presets")


def test_packaged_benches_are_there() -> None:
    assert set(packaged_names("benches")) >= {"twin", "ideal", "sim_controller", "sim_2400", "sim_2600b"}


def test_a_simulated_controller_has_the_keys_and_the_defaults_of_the_twin() -> None:
    simulated = {**BENCH, "backend": "controller", "port": "sim:posix"}
    config = bench({**simulated, "seed": 3, "overrides": {"dac.bits": 8}})
    assert (config.preset, config.recipe) == (bench().preset, bench().recipe)
    assert (config.seed, config.overrides, config.simulated) == (3, {"dac.bits": 8}, True)
    real = bench({**simulated, "port": "socket://127.0.0.1:5000"})
    assert (real.preset, real.simulated) == (None, False)
    assert isinstance(real, ControllerConfig)
    assert real.port == "socket://127.0.0.1:5000"


@pytest.mark.parametrize("name", packaged_names("experiments"))
def test_packaged_experiments_load(name: str) -> None:
    assert experiment(name).name == name


def test_a_mapping_a_path_and_a_model_say_the_same(bench_file: Path) -> None:
    config = bench()
    assert config.limits.as_limits() == Limits(**LIMITS, v_read_max_v=0.5)
    assert bench(bench_file) == bench(str(bench_file)) == bench(config) == config
    assert bench({**BENCH, "shape": np.array([8, 4])}) == config
    assert BENCH["shape"] == [8, 4]


def test_the_resolved_bench_and_experiment_can_be_loaded_again() -> None:
    config = experiment(EXPERIMENT, "bench.chip=chips/a", "bench.overrides.circuit.line_resistance_ohm=2")
    assert experiment(yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))) == config


def test_numbers_that_yaml_takes_for_text(tmp_path: Path) -> None:
    path = tmp_path / "bench.yaml"
    limits = (
        "{v_max_v: 35e-1, v_gate_max_v: +5E0, i_max_a: 2e-3, width_max_s: .1e-2, pulses_per_cell_max: 1e3}"
    )
    path.write_text(f"backend: twin\nshape: [8, 4]\nlimits: {limits}\n")
    assert bench(path).limits.as_limits() == Limits(3.5, 5.0, 2e-3, 1e-3, 1000)


@settings(deadline=None)  # a busy machine is no failure
@given(st.floats(1e-9, 1e9))
def test_any_float_comes_through_a_file_and_an_override(value: float) -> None:
    assert bench(BENCH, f"limits.i_max_a={value!r}").limits.i_max_a == value
    assert bench(BENCH, f"limits.i_max_a={value:.17e}").limits.i_max_a == value


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"limts": {}}, "bench: limts: unknown key, did you mean 'limits'?; allowed are backend, arrays, "),
        ({"shape": None}, "bench: shape: must be a list; given None"),
        ({"arrays": 0}, "bench: arrays: must be greater than 0; given 0"),
        ({"arrays": "4"}, "bench: arrays: must be a valid integer; given '4'"),
        ({"arrays": True}, "bench: arrays: must be a valid integer; given True"),
        ({"arrays": 1.5}, "bench: arrays: "),
        ({"shape": [8, 0]}, "bench: shape.1: must be greater than 0; given 0"),
        ({"limits": {**LIMITS, "v_max": 3}}, "bench: limits.v_max: unknown key, did you mean 'v_max_v'?"),
        ({"limits": {**LIMITS, "i_max_a": -1}}, "bench: limits.i_max_a: must be greater than 0; given -1"),
        (
            {"limits": {**LIMITS, "i_max_a": "2 mA"}},
            "bench: limits.i_max_a: must be a valid number; given '2 mA'",
        ),
        ({"limits": {**LIMITS, "i_max_a": np.inf}}, "bench: the number inf is not finite"),
        ({"limits": {}}, "bench: limits.v_max_v: missing; it must be given"),
        ({"port": "COM3"}, "bench: port: unknown key; only backend 'controller' can have it; allowed are "),
        ({"resource": "sim:2400"}, "bench: resource: unknown key; only backend 'smu' can have it"),
        ({"backend": "controller"}, "bench: port: missing; it must be given"),
        (
            {"backend": "controller", "port": "/dev/ttyACM0", "preset": "ideal"},
            "bench: preset: only where the cells are simulated (port: sim:...); given with port '/dev/ttyACM0'",
        ),
        (
            {"backend": "controller", "port": "/dev/ttyACM0", "overrides": {"a": 1}},
            "bench: overrides: only where the cells are simulated",
        ),
        (
            {"backend": "controller", "port": "/dev/ttyACM0", "seed": 1},
            "bench: seed: only where the cells are simulated (port: sim:...); given with port '/dev/ttyACM0'",
        ),
        (
            {"backend": "controller", "port": "sim:posx"},
            "bench: port: no such simulation; allowed are sim:posix, sim:qemu, or a real port; given 'sim:posx'",
        ),
        (
            {"backend": "smu", "resource": "x", "port": "COM3"},
            "bench: port: unknown key; only backend 'controller'",
        ),
        ({"preset": "ideall"}, "did you mean 'ideal'?; packaged are fefet, ideal, mram"),
        (
            {"recipe": "none"},
            "bench: recipe: recipe 'none': not packaged; packaged are fefet, mram, pcm, rram_180nm, ",
        ),
        ({"recipe": 5}, "bench: recipe: expected the name, path or content of a recipe"),
        ({"recipe": {"band_S": 1e-6}}, "bench: recipe.g_min_S: missing"),
    ],
)
def test_mistakes_in_a_bench_are_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        bench({**BENCH, **changes})
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_limits_are_mandatory() -> None:
    with pytest.raises(ConfigError, match=r"^bench: limits: missing; it must be given$"):
        bench({key: value for key, value in BENCH.items() if key != "limits"})


def test_what_a_run_of_version_0_1_says_of_a_bench_is_still_read() -> None:
    """It held the keys of all backends, with nothing in those of the others."""
    unused = {"port": None, "resource": None, "instruments": None, "temperature_c": None}
    assert bench({**BENCH, "preset": "rram_180nm", "overrides": {}, "seed": 0, **unused}) == bench()
    board = {**BENCH, "backend": "controller", "port": "/dev/ttyACM0"}
    assert bench({**unused, "preset": None, "overrides": {}, "seed": 0, **board}) == bench(board)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rule": {"name": "eapu", "kappa": 3}}, "experiment: rule.kappa: unknown key"),
        ({"rule": {"name": "eapu_residual", "kappa": -1}}, "experiment: rule.kappa: must be greater than 0"),
        (
            {"rule": {"name": "eapou"}},
            "experiment: rule: unknown rule 'eapou', did you mean 'eapu'?; allowed are agad, bp, ",
        ),
        ({"rule": {}}, "experiment: rule: the key 'name' is missing"),
        ({"rule": "eapu"}, "experiment: rule: must be a mapping of keys; given 'eapu'"),
        (
            {"optimizer": {"name": "adam", "final_fraction": 0.1}},
            "experiment: optimizer: final_fraction needs schedule: cosine",
        ),
        ({"optimizer": {"name": "adam", "lr": "fast"}}, "experiment: optimizer.lr: must be a valid number"),
        (
            {"task": {"name": "denoise", "chanels": 1}},
            "experiment: task.chanels: unknown key, did you mean 'channels'?",
        ),
        (
            {"backward": "hots"},
            "experiment: backward: must be 'array' or 'host'; given 'hots', did you mean 'host'?",
        ),
        ({"bench": "twinn"}, "experiment: bench: bench 'twinn': not packaged, did you mean 'twin'?"),
        ({"bench": {**BENCH, "arays": 1}}, "experiment: bench.arays: unknown key, did you mean 'arrays'?"),
        ({"bench": None}, "experiment: bench: must be"),
    ],
)
def test_mistakes_in_an_experiment_are_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        experiment({**EXPERIMENT, **changes})
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("backend: twin\nshape: [8, 4\nlimits: {}\n", "bench.yaml:3: not valid YAML: "),
        ("backend: twin\n\tshape: 1\n", "bench.yaml:2: not valid YAML: "),
        (
            "backend: twin\nbackend: smu\n",
            "bench.yaml:2: not valid YAML: the key 'backend' stands here twice",
        ),
        ("backend: twin\n1: 2\n", "bench.yaml:2: not valid YAML: the key 1 is not text; quote it"),
        ("a: !!python/object:os.system x\nb: 1\n", "bench.yaml:1: not valid YAML: "),
        ("- backend\n", 'bench.yaml: expected a mapping of keys, given ["backend"]'),
        ("", "bench.yaml: expected a mapping of keys, given None"),
        ("backend: twin\nlimits: {i_max_a: .nan}\n", "bench.yaml: the number nan is not finite"),
        ("backend: 3\nshape: [8, 4]\n", "bench.yaml: backend: must be a valid string; given 3"),
    ],
)
def test_mistakes_in_a_file_name_it_and_the_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bench.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"^{re.escape(f'{tmp_path}/{said}')}") as error:
        bench(path)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file"):
        bench(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        bench(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"backend: \xff\n")
    with pytest.raises(ConfigError, match=r"latin\.yaml: cannot be read: not UTF-8"):
        bench(tmp_path / "latin.yaml")


def test_paths_are_relative_to_the_file_they_stand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: Recipe
) -> None:
    lab = tmp_path / "lab"
    lab.mkdir()
    (lab / "fast.yaml").write_text(yaml.safe_dump({**recipe.model_dump(), "pulses_max": 7}))
    content = {**BENCH, "chip": "chips/a", "recipe": "fast.yaml", "preset": "presets/mine.yaml"}
    (lab / "bench.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({**EXPERIMENT, "bench": "lab/bench.yaml"}))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    config = experiment(tmp_path / "run.yaml")
    assert config.bench.chip == lab / "chips" / "a"
    assert isinstance(config.bench, TwinBenchConfig)
    assert config.bench.preset == str(lab / "presets" / "mine.yaml")
    assert config.bench.recipe.pulses_max == 7
    config = experiment(tmp_path / "run.yaml", "bench.chip=chips/b", "bench=../lab/bench.yaml")
    assert config.bench.chip == elsewhere / "chips" / "b"
    assert config.bench.recipe.pulses_max == 7
    monkeypatch.chdir(tmp_path)
    relative = bench("lab/bench.yaml").chip
    assert relative == lab / "chips" / "a"


def test_an_error_in_a_referred_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "bench.yaml").write_text(yaml.safe_dump({**BENCH, "arrays": -1}))
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({**EXPERIMENT, "bench": "bench.yaml"}))
    with pytest.raises(ConfigError, match=r"bench\.yaml: arrays: must be greater than 0; given -1"):
        experiment(tmp_path / "run.yaml")


def test_overrides_reach_into_references_and_inline_models() -> None:
    config = experiment(
        EXPERIMENT,
        "steps=20",
        "bench.arrays=2",
        "bench.limits.v_max_v=3.4",
        "bench.overrides.circuit.line_resistance_ohm=2",
        "rule.threshold_uS=2.5",
        "optimizer={name: sgd, lr: 1e-2}",
    )
    assert config.steps == 20
    assert config.bench.arrays == 2
    assert config.bench.limits.v_max_v == 3.4
    assert isinstance(config.bench, TwinBenchConfig)
    assert config.bench.overrides == {"circuit.line_resistance_ohm": 2}
    assert isinstance(config.rule, EapuConfig)
    assert config.rule.threshold_uS == 2.5
    assert (config.optimizer.name, config.optimizer.lr) == ("sgd", 1e-2)


def test_an_override_of_the_recipe_changes_the_one_that_is_used(recipe: Recipe) -> None:
    config = experiment(EXPERIMENT, "recipe.band_S=2e-6")
    assert config.recipe is None
    assert config.bench.recipe.band_S == 2e-6
    config = experiment({**EXPERIMENT, "recipe": recipe}, "recipe.band_S=2e-6")
    assert config.recipe is not None
    assert config.recipe.band_S == 2e-6
    assert config.bench.recipe.band_S == recipe.band_S


def test_a_later_value_of_one_preset_key_wins() -> None:
    content = {**BENCH, "overrides": {"circuit.line_resistance_ohm": 1, "faults": {"stuck_fraction": 0}}}
    config = bench(content, "overrides.circuit.line_resistance_ohm=5")
    assert config.overrides == {"faults.stuck_fraction": 0, "circuit.line_resistance_ohm": 5}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("arrays", "--set arrays: expected key.path=value"),
        ("=3", "--set =3: expected key.path=value"),
        ("limits..x=3", "--set limits..x=3: expected key.path=value"),
        ("arrays=[1", "--set arrays=[1: not valid YAML: "),
        ("arrays=two", "bench: arrays (from --set): must be a valid integer; given 'two'"),
        ("arrays.x=1", "bench: arrays.x: arrays is 1 and has no keys"),
        ("aray.x=1", "bench: aray (from --set): unknown key, did you mean 'arrays'?"),
        (
            "recipe.band=1",
            "rram_180nm (packaged recipe): band (from --set): unknown key, did you mean 'band_S'?",
        ),
    ],
)
def test_mistakes_in_an_override(override: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        bench({**BENCH, "arrays": 1}, override)
    assert str(error.value).startswith(said)


def test_overrides_by_dotted_key_are_called_overrides() -> None:
    with pytest.raises(
        ConfigError, match=r"recipe\): band_S \(from overrides\): must be greater than 0; given -1"
    ):
        load_model(Recipe, "rram_180nm", {"band_S": -1}, "recipes")
    assert load_model(Recipe, "rram_180nm", {"set.gate.stop_v": 1.5}, "recipes").set.gate.stop_v == 1.5
