"""Files that packages bring along: found by name, without importing the packages; two of one name are named."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eapu_hil.base.errors import ConfigError
from eapu_hil.base.loading import load_model
from eapu_hil.base.packaged import packaged_file, packaged_names
from eapu_hil.base.unimported import first_line_of, folder_of
from eapu_hil.hal.recipe import Recipe
from eapu_hil.twin.preset import TwinPreset

InstallPackage = Callable[..., Path]

FILES = "eapu_hil.files"
BROKEN = "raise RuntimeError('this package must not be imported')\n"


def packaged_text(kind: str, name: str) -> str:
    return packaged_file(kind, name).path.read_text()


def test_a_package_brings_files_that_a_bare_name_finds(install_package: InstallPackage) -> None:
    files = {
        "lab_files/__init__.py": BROKEN,
        "lab_files/things/__init__.py": BROKEN,
        "lab_files/things/recipes/lab_recipe.yaml": packaged_text("recipes", "rram_180nm"),
        "lab_files/things/presets/lab_preset.yaml": packaged_text("presets", "ideal"),
    }
    assert "lab_recipe" not in packaged_names("recipes")
    place = install_package("lab-files", files, {FILES: {"lab": "lab_files.things"}})
    assert {"lab_recipe", "rram_180nm"} <= set(packaged_names("recipes"))
    assert load_model(Recipe, "lab_recipe", (), "recipes") == load_model(Recipe, "rram_180nm", (), "recipes")
    assert (
        load_model(TwinPreset, "lab_preset", (), "presets").model_dump()
        == load_model(TwinPreset, "ideal", (), "presets").model_dump()
    )
    found = packaged_file("recipes", "lab_recipe")
    assert (found.package, found.path.parents[2]) == ("lab-files", place / "lab_files")
    assert "lab_files" not in sys.modules


def test_two_packages_with_one_name_are_named(install_package: InstallPackage) -> None:
    text = packaged_text("recipes", "rram_180nm")
    for name in ("first", "second"):
        files = {f"{name}/__init__.py": "", f"{name}/recipes/common.yaml": text}
        install_package(name, files, {FILES: {name: name}})
    assert packaged_names("recipes").count("common") == 1
    with pytest.raises(
        ConfigError, match=r"recipe 'common': first \(.*\) and second \(.*\) both offer it; give"
    ):
        load_model(Recipe, "common", (), "recipes")
    load_model(Recipe, "rram_180nm", (), "recipes")


def test_a_package_without_its_folder_harms_nothing(install_package: InstallPackage) -> None:
    install_package("gone", {}, {FILES: {"gone": "gone.away", "odd": "not a module"}})
    assert "twin" in packaged_names("benches")


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"recipe 'rram_180': not packaged, did you mean 'rram_180nm'\?; packaged are"
    ):
        packaged_file("recipes", "rram_180")


def test_help_is_read_from_the_source_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "unseen").mkdir()
    (tmp_path / "unseen" / "__init__.py").write_text(BROKEN)
    (tmp_path / "unseen" / "good.py").write_text(
        f'{BROKEN}def greet(p):\n    """Greet.\n\n    More.\n    """\n'
    )
    (tmp_path / "unseen" / "bad.py").write_text("def greet(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    assert first_line_of("unseen.good:greet") == "Greet."
    others = [
        "unseen.good:other",
        "unseen.bad:greet",
        "unseen.none:greet",
        "nothing.at.all:greet",
        "math:sin",
    ]
    assert [first_line_of(one) for one in others] == [""] * 5
    assert folder_of("unseen") == tmp_path / "unseen"
    assert folder_of("unseen.good") is None
    assert "unseen" not in sys.modules
