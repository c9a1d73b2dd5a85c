"""Paths in files: those of a model that is a part of another one are relative to the file as well."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import pytest
from pydantic import BaseModel, Field

from eapu_hil.base.loading import FileModel, load_model


class Files(FileModel):
    path_keys: ClassVar[tuple[str, ...]] = ("train",)

    train: Path


class WithFiles(BaseModel):
    name: Literal["files"]
    data: Files


class Others(BaseModel):
    train: str


class Without(BaseModel):
    name: Literal["others"]
    data: Others


class Whole(FileModel):
    part: WithFiles | Without = Field(discriminator="name")
    spare: Files | None = None
    several: dict[str, Others] = Field(default_factory=dict)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder below the working directory."""
    (tmp_path / "lab").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "lab"


def test_paths_of_parts_are_relative_to_the_file(lab: Path) -> None:
    (lab / "whole.yaml").write_text("part: {name: files, data: {train: a.csv}}\nspare: {train: ../b.csv}\n")
    for source in ("lab/whole.yaml", lab / "whole.yaml"):
        whole = load_model(Whole, source, (), "experiments")
        assert isinstance(whole.part, WithFiles)
        assert whole.part.data.train == lab / "a.csv"
        assert whole.spare is not None
        assert whole.spare.train == lab / ".." / "b.csv"


def test_paths_of_overrides_are_relative_to_the_working_directory(lab: Path) -> None:
    (lab / "whole.yaml").write_text("part: {name: files, data: {train: a.csv}}\n")
    whole = load_model(
        Whole, lab / "whole.yaml", ["part.data.train=c.csv", "spare.train=/d.csv"], "experiments"
    )
    assert whole.model_dump()["part"]["data"]["train"] == lab.parent / "c.csv"
    assert whole.model_dump()["spare"]["train"] == Path("/d.csv")


def test_text_of_another_model_is_no_path(lab: Path) -> None:
    (lab / "whole.yaml").write_text(
        "part: {name: others, data: {train: a.csv}}\nseveral: {train: {train: b.csv}}\n"
    )
    whole = load_model(Whole, lab / "whole.yaml", (), "experiments")
    assert whole.model_dump()["part"]["data"]["train"] == "a.csv"
    assert whole.several["train"].train == "b.csv"
