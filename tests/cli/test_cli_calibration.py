"""`eapu-hil calibrate` and `eapu-hil passport`, as a person or a script meets them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytest_mock import MockerFixture

from eapu_hil.bench.array import BenchArray
from eapu_hil.cli.parser import main

BENCH = {
    "backend": "twin",
    "arrays": 1,
    "shape": [32, 24],
    "chip": "chip",
    "overrides": {"faults.stuck_fraction": 0},
    "limits": {
        "v_max_v": 3.5,
        "v_gate_max_v": 5.0,
        "i_max_a": 2e-3,
        "width_max_s": 1e-3,
        "pulses_per_cell_max": 1000,
    },
}
PLAN = {
    "measurements": {
        "write_error": {"cells": 400, "relax_time_s": 1.0},
        "relaxation": {"cells": 200, "levels": 2, "times_s": [0.1, 1.0, 100.0], "batch": 50, "batch_s": 1.0},
        "read_noise": {"cells": 200, "levels": 2, "reads": 16, "settle_s": 1.0, "interval_s": 0.1},
        "product_accuracy": {"vectors": 8, "v_in_v": 0.2, "reads": 2, "settle_s": 1.0, "batch": 8},
    }
}


def calibrate(*names: str) -> list[str]:
    return ["calibrate", "bench.yaml", *names, "--plan", "plan.yaml"]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bench.yaml").write_text(yaml.safe_dump(BENCH))
    Path("plan.yaml").write_text(yaml.safe_dump(PLAN))


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    """The object that a command prints with --json."""
    assert main([*arguments, "--json"]) == code
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    return content


def test_the_temperature_of_the_bench_file_is_noted(capsys: pytest.CaptureFixture[str]) -> None:
    unknown = said(capsys, *calibrate("write_error"))["entries"]
    assert "temperature_c" not in unknown[-1]["values"]
    Path("bench.yaml").write_text(yaml.safe_dump({**BENCH, "temperature_c": 31.5}))
    known = said(capsys, *calibrate("write_error"))["entries"]
    assert known[-1]["values"]["temperature_c"] == 31.5


def test_a_stopped_calibration_says_how_to_go_on(
    mocker: MockerFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    mocker.patch.object(BenchArray, "vmm", side_effect=KeyboardInterrupt)
    assert main(calibrate("write_error", "product_accuracy")) == 130
    assert "stopped; to continue, give the same command again" in capsys.readouterr().err
    mocker.stopall()
    assert [one["kind"] for one in said(capsys, *calibrate("write_error", "product_accuracy"))["entries"]][
        -1
    ] == ("product_accuracy")


def test_calibrate_show_and_diff(capsys: pytest.CaptureFixture[str]) -> None:
    first = said(capsys, *calibrate())
    assert [entry["kind"] for entry in first["entries"]] == ["forming", *PLAN["measurements"]]
    assert first["bench_time_s"] > 100
    figures = [Path(path) for path in first["figures"]]
    assert [path.name for path in figures] == [
        "0002_forming.png", "0003_write_error.png", "0004_relaxation.png", "0005_read_noise.png",
        "0006_product_accuracy.png",
    ]  # fmt: skip
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in figures)
    tables = [Path(path) for path in first["tables"]]
    assert {path.stem for path in tables} >= {path.stem for path in Path("chip/measurements").glob("*.npz")}
    cells = Path("chip/measurements/0002_forming.csv").read_text().splitlines()
    assert cells[0].startswith("row,col,")
    assert len(cells) == 1 + 32 * 24
    second = said(capsys, *calibrate("read_noise"))
    shown = said(capsys, "passport", "show", "chip")
    assert [entry["number"] for entry in shown["entries"]] == list(range(1, 9))
    assert shown["shape"] == [32, 24]
    before, after = first["entries"][3]["number"], second["entries"][0]["number"]
    changed = said(capsys, "passport", "diff", "chip", str(before), str(after))
    names = [one["name"] for one in changed["changes"]]
    assert "white_sd_S[0]" in names
    assert "levels_S[0]" not in names
    assert said(capsys, "passport", "show", "chip", str(before))["values"] == first["entries"][3]["values"]


def test_what_a_person_reads(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(calibrate()) == 0
    out, err = capsys.readouterr()
    assert "eapu-hil: relaxation: measured  " in err  # and how long it took
    assert "of bench time" in out
    assert main(["passport", "show", "chip"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "started on array 0: write_error, relaxation, read_noise, product_accuracy" in out
    assert "of 768 cells formed" in out
    assert main(["passport", "show", "chip", "4"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["kind"] == "relaxation"
    assert main(calibrate("write_error")) == 0
    capsys.readouterr()
    assert main(["passport", "diff", "chip", "3", "8"]) == 0
    assert "intervals apart" in capsys.readouterr().out


def test_cells_that_cannot_be_used_end_with_4(capsys: pytest.CaptureFixture[str]) -> None:
    """Once: a second calibration leaves out the cells that are known to be bad."""
    Path("bench.yaml").write_text(yaml.safe_dump({**BENCH, "overrides": {"faults.stuck_fraction": 0.02}}))
    found = said(capsys, *calibrate("write_error"), code=4)
    assert found["faulty_cells"] >= found["entries"][0]["values"]["bad"] > 0
    again = said(capsys, *calibrate("write_error"), code=0)
    assert again["faulty_cells"] == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (calibrate("drift"), "measurement 'drift': not in the plan; allowed are forming, write_error"),
        ([*calibrate(), "--array", "3"], "--array 3: the bench has arrays 0 to 0"),
        (["calibrate", "bench.yaml", "--plan", "no"], "plan 'no': not packaged"),
        (["drift", "bench.yaml", "--band", "wide"], "--band: 'wide': expected a number from 0 up"),
        (["passport", "show", "none"], "none: not a chip's passport"),
        (["passport", "show", "chip", "99"], "chip: there is no entry 99; the entries are 1, 2"),
        (["passport", "diff", "chip", "1", "2"], "entry 1 is calibration, entry 2 is forming"),
    ],
)
def test_wrong_usage_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], text: str) -> None:
    assert main(calibrate("forming")) == 0
    capsys.readouterr()
    assert main(arguments) == 2
    err = capsys.readouterr().err.splitlines()
    assert text in err[-1]


def test_drift_names_what_to_write_again(capsys: pytest.CaptureFixture[str]) -> None:
    Path("targets.csv").write_text("row,col,g_target_uS\n" + "".join(f"{k},3,20\n" for k in range(32)))
    assert main(["form", "bench.yaml", "--out", "formed.csv"]) == 0
    assert main(["drift", "bench.yaml"]) == 1
    assert (
        "array 0: no cell has a target, because nothing was written with eapu-hil program"
        in capsys.readouterr().err
    )
    assert main(["program", "bench.yaml", "targets.csv", "--out", "written.csv"]) == 0
    capsys.readouterr()
    found = said(capsys, "drift", "bench.yaml", "--after", "3600", "--out", "refresh.csv")
    out = found["values"]["out"]
    assert 5 < out <= 32
    assert len(found["refresh"]["row"]) == out
    assert all(out_for_s < 60 for out_for_s in found["refresh"]["out_for_s"])
    assert len(Path("refresh.csv").read_text().splitlines()) == out + 1
    assert main(["program", "bench.yaml", "refresh.csv", "--out", "again.csv"]) == 0
    capsys.readouterr()
    assert main(["drift", "bench.yaml", "--band", "30", "--out", "none.csv"]) == 0
    assert "0 of 32 cells are outside +-30 uS" in " ".join(capsys.readouterr().out.split())
    assert not Path("none.csv").exists()
    assert main(["drift", "bench.yaml", "--out", "refresh.csv"]) == 2
    assert "refresh.csv: already exists" in capsys.readouterr().err


def test_fit_twin_makes_a_preset_that_a_bench_takes(capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, *calibrate("forming", "write_error"))
    found = said(capsys, "fit-twin", "chip", "-o", "mine.yaml")
    assert found["preset"] == "mine.yaml"
    assert found["fitted"]["forming.v_form_v"]["low"] < 2.8 < found["fitted"]["forming.v_form_v"]["high"]
    assert "was not measured" in found["kept"]["relaxation.*"]
    Path("twin.yaml").write_text(yaml.safe_dump({**BENCH, "chip": "other", "preset": "mine.yaml"}))
    assert main(["check", "twin.yaml"]) == 0
    capsys.readouterr()

    assert main(["fit-twin", "chip", "-o", "mine.yaml"]) == 2
    assert "already exists" in capsys.readouterr().err
