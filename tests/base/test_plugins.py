"""Names that packages offer: found without importing, refused when two offer one, broken only for who asks."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eapu_hil.base.loading import load_model
from eapu_hil.base.plugins import import_also_from, listing, load, names
from eapu_hil.base.stopping import grounding_signals
from eapu_hil.cli.parser import main
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


def test_a_package_that_exits_while_it_is_imported_is_a_line_too(
    package: Package, capsys: pytest.CaptureFixture[str]
) -> None:
    package("lab", leaves="lab_exits:Config", odd="lab_exits:Config", gentle="lab_rules:GentleConfig")
    folder = next(Path(place) for place in sys.path if place.endswith("/lab"))
    (folder / "lab_exits.py").write_text("import sys\nsys.exit()\n")
    faults = {line.name: line.fault for line in listing(GROUP, "rule") if line.found is None}
    assert "cannot be loaded: SystemExit" in faults["leaves"]
    assert main(["list", "rules"]) == 0
    assert "SystemExit" in capsys.readouterr().out


def test_sigterm_during_an_import_is_no_broken_package(package: Package) -> None:
    package("lab", slow="lab_slow:Config")
    folder = next(Path(place) for place in sys.path if place.endswith("/lab"))
    (folder / "lab_slow.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n")
    with grounding_signals(), pytest.raises(SystemExit) as ended:
        listing(GROUP, "rule")
    assert ended.value.code == 143


def test_what_is_no_rule_is_a_line_too_and_not_in_the_schema(
    package: Package, capsys: pytest.CaptureFixture[str]
) -> None:
    package("lab", odd="lab_rules:NoRule", gentle="lab_rules:GentleConfig")
    assert main(["--json", "list", "rules"]) == 0
    rules = {line["name"]: line for line in json.loads(capsys.readouterr().out)["rules"]}
    assert "'odd' is no rule" in rules["odd"]["fault"]
    assert rules["gentle"]["fault"] == ""
    assert "odd" not in installed_rules()
    assert main(["schema", "experiment"]) == 0
    assert "GentleConfig" in capsys.readouterr().out


@pytest.mark.parametrize("name", [":C", "lab_rules:", ".lab_rules:C", "lab rules:C", "os; ls:C", 'f("x"):C'])
def test_what_cannot_be_a_module_is_not_suggested_to_be_allowed(name: str) -> None:
    with pytest.raises(ConfigError, match="is no name of a rule: expected my_module:MyClass"):
        experiment({"name": name})


def test_a_folder_of_modules_offers_no_plug_ins(
    package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package("lab", gentle="lab_rules:GentleConfig")
    sent = tmp_path / "sent"
    (tmp_path / "lab").rename(sent)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if not place.startswith(str(tmp_path))])
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    for folder in (sent, sent / "lab-1.0.dist-info"):
        import_also_from(folder)
    import_also_from(sent)
    assert len([one for one in sys.meta_path if getattr(one, "folder", None) == sent]) == 1
    assert "gentle" not in names(GROUP)
    assert experiment({"name": "lab_rules:GentleConfig"}, ["lab_rules"]).rule.name == "lab_rules:GentleConfig"


def test_a_rule_without_a_way_to_make_it_is_refused_by_name() -> None:
    class HalfConfig(RuleModel):
        pass

    with pytest.raises(
        ConfigError, match="rule 'half': its class HalfConfig trains on the array and has no method"
    ):
        HalfConfig(name="half").make((2, 2), None)
