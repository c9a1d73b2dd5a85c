"""`eapu-hil list`, `schema` and `completion`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytest_mock import MockerFixture

from eapu_hil.base.packaged import packaged_file, packaged_names
from eapu_hil.cli.parser import main

InstallPackage = Callable[..., Path]

Captured = pytest.CaptureFixture[str]


def said(capsys: Captured, *arguments: str) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == 0
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    return content


def test_list_shows_what_is_packaged_and_installed(capsys: Captured) -> None:
    found = said(capsys, "list")
    names = {kind: [one["name"] for one in lines] for kind, lines in found.items()}
    assert {"denoise", "digits"} <= set(names["experiments"])
    assert {"twin", "sim_2400"} <= set(names["benches"])
    assert {"rram_180nm", "pcm"} <= set(names["presets"])
    assert {"rram_180nm_ms"} <= set(names["recipes"])
    assert {"quick", "full"} <= set(names["plans"])
    assert {"twin", "controller", "smu"} <= set(names["drivers"])
    assert {"train", "calibrate", "sim"} <= set(names["commands"])
    digits = next(one for one in found["experiments"] if one["name"] == "digits")
    assert (digits["package"], digits["about"]) == (
        "eapu-hil",
        "Handwritten digits of 8 x 8 pixels with a small classifier",
    )
    assert main(["list", "benches"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["benches", "from"]
    assert any(line.split()[:2] == ["twin", "eapu-hil"] for line in lines)


def test_an_unknown_kind_says_which_there_are(capsys: Captured) -> None:
    assert main(["list", "experiment"]) == 2
    assert "KIND 'experiment': unknown, did you mean 'experiments'?; allowed are experiments, benches" in (
        capsys.readouterr().err
    )


def test_files_of_another_package_are_listed(install_package: InstallPackage, capsys: Captured) -> None:
    text = "# Our bench. It is the twin.\n" + packaged_file("benches", "twin").path.read_text()
    install_package("lab", {"lab_files/benches/ours.yaml": text, "lab_files/__init__.py": ""},
                    {"eapu_hil.files": {"lab": "lab_files"}})  # fmt: skip
    found = {one["name"]: one for one in said(capsys, "list", "benches")["benches"]}
    assert (found["ours"]["package"], found["ours"]["about"]) == ("lab", "Our bench")
    assert main(["check", "ours"]) == 0


@pytest.mark.parametrize("kind", ["experiment", "recipe", "preset", "plan", "table", "import"])
def test_schemas_know_the_keys(capsys: Captured, kind: str) -> None:
    found = said(capsys, "schema", kind)
    assert found["type"] == "object"
    assert found["additionalProperties"] is False


def bench_keys(schema: dict[str, Any], bench: dict[str, Any], backend: str) -> dict[str, Any]:
    """The part of a schema that holds for a bench with this backend."""
    assert backend in bench["properties"]["backend"]["enum"]
    its = next(one for one in bench["allOf"] if one["if"]["properties"]["backend"]["const"] == backend)
    name = its["then"]["$ref"].rpartition("/")[2]
    found: dict[str, Any] = schema["$defs"][name]
    assert found["additionalProperties"] is False
    return found


def test_packaged_files_have_only_keys_of_the_schema(capsys: Captured) -> None:
    schema = said(capsys, "schema", "bench")
    for name in packaged_names("benches"):
        content = yaml.safe_load(packaged_file("benches", name).path.read_text())
        keys = bench_keys(schema, schema, content["backend"])
        assert set(keys["required"]) <= set(content) <= set(keys["properties"]), name
    schema = said(capsys, "schema", "experiment")
    for name in packaged_names("experiments"):
        content = yaml.safe_load(packaged_file("experiments", name).path.read_text())
        assert set(schema["required"]) <= set(content) <= set(schema["properties"]), name


def test_references_may_be_names_and_what_is_filled_in_may_be_left_out(capsys: Captured) -> None:
    schema = said(capsys, "schema", "experiment")
    word = {"type": "string", "description": "a packaged name or a path"}
    assert word in schema["properties"]["bench"]["anyOf"]
    twin = bench_keys(schema, schema["$defs"]["BenchConfig"], "twin")
    assert "recipe" not in twin["required"]
    assert "limits" in twin["required"]


def test_an_unknown_schema_says_which_there_are(capsys: Captured) -> None:
    assert main(["schema", "benhc"]) == 2
    assert "unknown kind of file 'benhc', did you mean 'bench'?" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_and_options(capsys: Captured, shell: str) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("calibrate", "fit-twin", "passport", "rules"):
        assert word in script


@pytest.mark.parametrize(("end", "code"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143)])
def test_a_stopped_command_says_so_in_json_too(
    end: BaseException, code: int, capsys: Captured, mocker: MockerFixture
) -> None:
    mocker.patch("eapu_hil.cli.listing._list", side_effect=end)
    if code == 130:
        assert main(["list", "--json"]) == code
    else:
        with pytest.raises(SystemExit):
            main(["list", "--json"])
    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line)["exit_code"] == code
