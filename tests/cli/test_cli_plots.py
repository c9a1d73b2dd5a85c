"""`--plot` of form, read, program and drift: a picture, refused before anything is sent where it cannot be made."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest
import yaml
from pytest_mock import MockerFixture

from eapu_hil.bench.array import BenchArray
from eapu_hil.cli.parser import main

BENCH: dict[str, Any] = {
    "backend": "twin",
    "preset": "rram_180nm",
    "arrays": 1,
    "shape": [8, 8],
    "chip": "chip",
    "serial": "W12-D07",
    "limits": {
        "v_max_v": 3.5,
        "v_gate_max_v": 5.0,
        "i_max_a": 2e-3,
        "width_max_s": 1e-3,
        "pulses_per_cell_max": 1000,
    },
}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bench.yaml").write_text(yaml.safe_dump(BENCH))
    Path("targets.csv").write_text("row,col,g_target_uS\n" + "".join(f"{n},{n},{10 + n}\n" for n in range(8)))


def rows_of(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(Path(name).read_text().splitlines()))


def test_each_command_draws_and_tells_what_a_lab_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["form", "bench.yaml", "--plot", "form.svg", "--out", "form.csv"]) in (0, 4)
    assert Path("form.svg").read_text().startswith("<?xml")
    formed = rows_of("form.csv")
    now = [row for row in formed if row["v_form_v"]]
    assert len(now) > 50
    assert all(int(row["pulses"]) > 0 and int(row["reads"]) == int(row["pulses"]) + 1 for row in now)
    assert main(["program", "bench.yaml", "targets.csv", "--plot", "p.png", "--out", "p.csv"]) in (0, 4)
    for row in rows_of("p.csv"):
        assert (row["chip"], row["array"], row["v_read_v"]) == ("W12-D07", "0", "0.2")
        assert float(row["g_target_uS"]) == 10 + int(row["row"])
        assert int(row["reads"]) >= 1
        assert row["time"].endswith("+00:00")
    assert main(["read", "bench.yaml", "--plot", "r.png", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["v_read_v"] == 0.2
    found = main(
        ["drift", "bench.yaml", "--after", "1e7", "--band", "0.05", "--plot", "d.png", "--out", "d.csv"]
    )
    assert found == 0
    for name in ("p.png", "r.png", "d.png"):
        assert matplotlib.image.imread(name).std() > 0.05  # not empty
    out = rows_of("d.csv")
    assert {row["reads"] for row in out} == {"1"}
    assert main(["program", "bench.yaml", "d.csv"]) in (0, 4)  # what has drifted is programmed again


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.jpg", "--plot: 'a.jpg': expected a file name that ends in .png or .svg"),
        ("there.png", "there.png: already exists; name a new file with --plot"),
        ("nowhere/a.png", "there is no directory nowhere"),
    ],
)
@pytest.mark.parametrize("command", [("form",), ("read",), ("program", "targets.csv"), ("drift",)])
def test_a_picture_that_cannot_be_made_is_refused_first(
    command: tuple[str, ...], name: str, said: str, mocker: MockerFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("there.png").write_text("mine")
    asked = [mocker.spy(BenchArray, one) for one in ("read", "pulse", "program")]
    first, *more = command
    assert main([first, "bench.yaml", *more, "--plot", name]) == 2
    assert said in capsys.readouterr().err
    assert not any(one.called for one in asked)
    assert Path("there.png").read_text() == "mine"


def test_without_matplotlib_a_picture_is_refused_first(
    mocker: MockerFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    mocker.patch.dict("sys.modules", {"matplotlib": None})
    for module in ("eapu_hil.report.cell_figures", "eapu_hil.report.figures"):
        sys.modules.pop(module, None)  # put back with the others
    read = mocker.spy(BenchArray, "read")
    assert main(["read", "bench.yaml", "--plot", "a.png"]) == 2
    assert "eapu-hil[train]" in capsys.readouterr().err
    assert not read.called


@pytest.mark.parametrize("command", [["read"], ["form"], ["program"], ["drift"]])
def test_a_picture_does_not_take_the_place_of_the_result(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    targets = ["targets.csv"] if command == ["program"] else []
    assert main([*command, "bench.yaml", *targets, "--out", "both.png", "--plot", "./both.png"]) == 2
    assert "both.png: asked for by --out and by --plot; name two files" in capsys.readouterr().err
    assert not Path("both.png").exists()
