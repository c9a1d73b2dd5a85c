"""Simulators come through entry points: one that is missing or broken is said, with the names that there are."""

from __future__ import annotations

from pathlib import Path

import pytest
from eapu_drivers.simulators import GROUP, find_simulator

from eapu_hil.hal import ConfigError


def installed(site: Path, package: str, line: str) -> None:
    """A package of somebody else's that offers a simulator."""
    info = site / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{line}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for packages."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_the_simulated_controller_and_that_of_another_package(site: Path) -> None:
    installed(site, "lab-board", "lab = json:dumps")
    assert find_simulator("controller").__module__.startswith("eapu_drivers.simulated")
    assert find_simulator("lab").__name__ == "dumps"


@pytest.mark.usefixtures("site")
def test_a_missing_one_names_those_that_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"simulator 'controler', did you mean 'controller'\?; allowed are contr"
    ):
        find_simulator("controler")


def test_two_of_one_name(site: Path) -> None:
    installed(site, "lab-board", "controller = json:dumps")
    with pytest.raises(
        ConfigError, match="two packages offer a simulator 'controller': eapu-hil and lab-board"
    ):
        find_simulator("controller")


def test_one_that_cannot_be_imported(site: Path) -> None:
    installed(site, "lab-board", "lab = no_such_module:start")
    with pytest.raises(ConfigError, match="lab-board cannot be loaded: ModuleNotFoundError"):
        find_simulator("lab")
