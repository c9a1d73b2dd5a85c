"""The wheel: what is in it, what it says of itself, and that it works where there is no repository."""

from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess
import sys
import tomllib
from email.message import Message
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest

import eapu_hil

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "eapu_hil": ROOT / "eapu_hil",
    "eapu_drivers": ROOT / "drivers" / "eapu_drivers",
    "eapu_calibration": ROOT / "calibration" / "eapu_calibration",
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NO_SOURCE = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The content of the wheel, which is what pip puts into site-packages."""
    folder = tmp_path_factory.mktemp("wheel")
    source, built, site = folder / "source", folder / "built", folder / "site"
    source.mkdir()
    # A copy, because setuptools leaves its build folder in what it builds from.
    for name in ("eapu_hil", "drivers", "calibration"):
        shutil.copytree(ROOT / name, source / name, ignore=NO_SOURCE)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    offline = ["--isolated", "--no-index", "--no-deps", "--no-build-isolation"]
    command = [sys.executable, "-P", "-m", "pip", "wheel", "--quiet", *offline, "--wheel-dir", built, source]
    subprocess.run(command, check=True)
    [wheel] = built.glob("*.whl")
    with ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


@pytest.fixture
def dist_info(unpacked: Path) -> Path:
    [found] = unpacked.glob("*.dist-info")
    return found


def test_it_holds_the_packages_with_their_files_and_nothing_else(unpacked: Path, dist_info: Path) -> None:
    expected = {
        f"{name}/{file.relative_to(folder).as_posix()}"
        for name, folder in PACKAGES.items()
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    held = {file.relative_to(unpacked).as_posix() for file in unpacked.rglob("*") if file.is_file()}
    assert {name for name in held if not name.startswith(dist_info.name)} == expected
    assert {Path(name).suffix for name in expected} >= {".py", ".yaml", ".html", ".lua", ".typed"}


def test_what_it_says_of_itself(dist_info: Path) -> None:
    metadata: Message = Parser().parsestr((dist_info / "METADATA").read_text(encoding="utf-8"))
    assert metadata["Name"] == "eapu-hil"
    assert metadata["Version"] == eapu_hil.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert (dist_info / "licenses" / metadata["License-File"]).read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert metadata["Keywords"].split(",") == PROJECT["keywords"]
    assert metadata.get_all("Classifier") == PROJECT["classifiers"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload() == (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_entry_points_lead_to_modules_that_it_holds(unpacked: Path, dist_info: Path) -> None:
    points = configparser.ConfigParser(delimiters=["="])
    points.optionxform = str  # names keep their case
    points.read(dist_info / "entry_points.txt", encoding="utf-8")
    assert set(points.sections()) == {"console_scripts", *PROJECT["entry-points"]}
    for group in points.sections():
        assert points[group]
        for target in points[group].values():
            path = unpacked.joinpath(*target.partition(":")[0].split("."))
            assert path.with_suffix(".py").is_file() or (path / "__init__.py").is_file(), target


def _eapu_hil(unpacked: Path, directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "eapu_hil.cli", *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_finds_its_own_files(unpacked: Path, tmp_path: Path) -> None:
    done = _eapu_hil(unpacked, tmp_path, "list", "--json")
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)
    for kind in ("experiments", "benches", "presets", "recipes", "plans", "tables"):
        paths = [line["path"] for line in listed[kind]]
        assert paths
        assert all(Path(path).is_relative_to(unpacked) for path in paths)


@pytest.mark.parametrize("bench", ["twin", "sim_2600b"])
def test_its_benches_open(unpacked: Path, tmp_path: Path, bench: str) -> None:
    done = _eapu_hil(unpacked, tmp_path, "check", bench)
    assert done.returncode == 0, done.stderr
    assert "every line is grounded" in done.stdout


def test_a_simulated_controller_needs_the_repository(unpacked: Path, tmp_path: Path) -> None:
    done = _eapu_hil(unpacked, tmp_path, "check", "sim_controller")
    assert done.returncode == 1
    assert "is built from firmware/ of the repository" in done.stderr
    assert len(done.stderr.splitlines()) == 1
