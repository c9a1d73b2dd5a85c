"""Names that packages offer: found without importing, refused when two offer one, broken only for who asks."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eapu_hil.base.loading import load_model
from eapu_hil.base.plugins import listing, load, names
from eapu_hil.hal import ConfigError
from eapu_hil.rules import RuleModel, installed_rules, known_rule
from eapu_hil.rules.eapu import EapuConfig
from eapu_hil.training.config import ExperimentConfig

GROUP = "eapu_hil.rules"
MODULE = """
from eapu_hil.rules import RuleModel

class GentleConfig(RuleModel):
    strength: float = 0.5

class NoRule:
    pass
"""
Package = Callable[..., None]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """Installs a package in a folder of its own: `package("lab", gentle="lab_rules:GentleConfig")`."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(name: str, **offered: str) -> None:
        folder = tmp_path / name
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{key} = {target}" for key, target in offered.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]) + "\n")
        (folder / f"{name}_rules.py").write_text(MODULE)
        (folder / f"{name}_broken.py").write_text("raise RuntimeError('no licence\\nfor this machine')\n")
        monkeypatch.syspath_prepend(folder)

    yield install
    for module in [
        one for one in sys.modules if one.endswith(("_rules", "_broken")) and one[:3] in ("lab", "oth")
    ]:
        del sys.modules[module]


def experiment(rule: object, allow_modules: list[str] | None = None) -> ExperimentConfig:
    changes = {"rule": rule}
    return load_model(ExperimentConfig, "digits", changes, "experiments", allow_modules=allow_modules or ())


def test_our_own_rules_come_through_the_same_door() -> None:
    assert {"eapu", "bp", "digital"} < set(names(GROUP)) == set(installed_rules())
    assert load(GROUP, "eapu", "rule") is EapuConfig
    for name, model in installed_rules().items():
        assert model(name=name).name == name


def test_a_rule_of_another_package_is_found_by_its_name(package: Package) -> None:
    package("lab", gentle="lab_rules:GentleConfig")
    assert "lab_rules" not in sys.modules
    rule = experiment({"name": "gentle", "strength": 2}).rule
    assert type(rule).__name__ == "GentleConfig"
    assert rule.model_dump() == {"name": "gentle", "strength": 2.0}
    with pytest.raises(
        ConfigError, match=r"rule\.strenth.*unknown key, did you mean 'strength'\?; allowed are name, "
    ):
        experiment({"name": "gentle", "strenth": 2})


def test_an_experiment_with_it_is_written_and_read_back(package: Package) -> None:
    package("lab", gentle="lab_rules:GentleConfig")
    config = experiment({"name": "gentle", "strength": 2})
    again = json.loads(json.dumps(config.model_dump(mode="json")))
    assert again["rule"] == {"name": "gentle", "strength": 2.0}
    assert load_model(ExperimentConfig, again, (), "experiments") == config


def test_a_name_that_two_packages_offer_is_an_error_only_for_that_name(package: Package) -> None:
    package("lab", gentle="lab_rules:GentleConfig")
    package("other", gentle="other_rules:GentleConfig")
    with pytest.raises(ConfigError, match="two packages offer a rule 'gentle': lab and other"):
        experiment({"name": "gentle"})
    assert experiment({"name": "bp"}).rule.name == "bp"
    (line,) = [line for line in listing(GROUP, "rule") if line.name == "gentle"]
    assert (line.package, line.found) == ("lab, other", None)
    assert "two packages" in line.fault


def test_a_broken_package_harms_nobody_who_does_not_ask_for_it(package: Package) -> None:
    package("lab", broken="lab_broken:Config", lost="lab_rules:Missing", gentle="lab_rules:GentleConfig")
    assert experiment({"name": "gentle"}).rule.name == "gentle"
    with pytest.raises(
        ConfigError,
        match=r"^digits \(packaged experiment\): rule \(from overrides\): the rule 'broken' of lab cannot be loaded: "
        r"RuntimeError: no licence for this machine$",
    ):
        experiment({"name": "broken"})
    with pytest.raises(ConfigError, match="the rule 'lost' of lab cannot be loaded: AttributeError"):
        experiment({"name": "lost"})
    faults = {line.name: line.fault for line in listing(GROUP, "rule") if line.found is None}
    assert set(faults) == {"broken", "lost"}
    assert known_rule("broken") is RuleModel


def test_what_is_no_rule_is_refused(package: Package) -> None:
    package("lab", odd="lab_rules:NoRule")
    with pytest.raises(ConfigError, match=r"'odd' is no rule: expected a class derived from .*RuleModel"):
        experiment({"name": "odd"})


def test_a_dotted_name_imports_only_what_the_caller_allows(package: Package) -> None:
    package("lab")
    dotted = {"name": "lab_rules:GentleConfig", "strength": 3}
    for allowed in ([], ["lab"], ["lab_rules.more"]):
        with pytest.raises(
            ConfigError, match=r"rule.*may not do that by itself; .* add --allow-module lab_rules "
        ):
            experiment(dotted, allowed)
    assert "lab_rules" not in sys.modules
    config = experiment(dotted, ["lab_rules"])
    assert (config.rule.name, config.rule.label) == ("lab_rules:GentleConfig", "GentleConfig")
    assert config.modules == ("lab_rules",)
    with pytest.raises(ConfigError, match="cannot be loaded: ModuleNotFoundError"):
        experiment({"name": "lab_rulez:GentleConfig"}, ["lab_rulez"])


def test_a_task_without_a_way_to_make_it_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_task.py").write_text(
        "from eapu_hil.tasks.base import TaskModel\n\nclass HalfConfig(TaskModel):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"task.*'half_task:HalfConfig' is no complete task: .* lacks make"):
        load_model(
            ExperimentConfig,
            "digits",
            {"task": {"name": "half_task:HalfConfig"}},
            "experiments",
            allow_modules=["half_task"],
        )
