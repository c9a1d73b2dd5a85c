"""The command line as a person or a script meets it: output, exit codes, one-line errors, stopping and going on."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pytest_mock import MockerFixture
from tiny import BENCH, EXPERIMENT

from eapu_hil.bench.array import BenchArray
from eapu_hil.bench.check import check
from eapu_hil.bench.interlock import Interlock
from eapu_hil.bench.passport import Chip
from eapu_hil.cli.parser import main
from eapu_hil.hal import HilError, TransportError
from eapu_hil.study.compare import ratios
from eapu_hil.training.runs import read_metrics, read_start, read_summary


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a bench and an experiment that take no time."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bench.yaml").write_text(yaml.safe_dump({**BENCH, "chip": "chip"}))
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    return tmp_path


Json = Callable[..., dict[str, Any]]


@pytest.fixture
def run_json(capsys: pytest.CaptureFixture[str]) -> Json:
    """Runs a command with --json, expects it to succeed and stdout to hold one object and nothing else."""

    def run(*arguments: str) -> dict[str, Any]:
        capsys.readouterr()
        code = main([*arguments, "--json"])
        out, err = capsys.readouterr()
        assert code == 0, err
        found: dict[str, Any] = json.loads(out)
        return found

    return run


def _error(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and the one line that a failing command leaves on stderr, without its prefix."""
    capsys.readouterr()
    code = main(arguments)
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if line.startswith("eapu-hil: error: ")]
    assert len(lines) == 1, err
    assert err.splitlines()[-1] == lines[0]
    return code, lines[0].removeprefix("eapu-hil: error: ")


def test_train_report_and_what_can_be_done_with_a_run(
    files: Path, run_json: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run_json(
        "train", "tiny.yaml", "--out", "a", "--seed", "5", "--set", "steps=4", "--set", "batch=4"
    )
    assert found["run"] == "a"
    assert found["summary"] == read_summary(files / "a")
    assert (found["summary"]["steps"], found["summary"]["seed"]) == (4, 5)
    assert read_start(files / "a")["experiment"]["batch"] == 4
    assert run_json("report", "a") == {"report": "a/report.html"}
    assert (files / "a" / "report.html").exists()

    (files / "images").mkdir()
    code, text = _error(capsys, "evaluate", "a", "--images", "images")
    assert (code, "takes no folder of images" in text) == (2, True)
    code, text = _error(capsys, "resume", "a")
    assert (code, text) == (
        2,
        "a: this run has finished; there is nothing to resume (--steps N trains beyond its end)",
    )
    assert run_json("resume", "a", "--steps", "6")["summary"]["steps"] == 6
    code, text = _error(capsys, "train", "tiny.yaml", "--out", "a")
    assert (code, text) == (2, "a: already exists; name a new directory with --out, or resume this run")
    code, text = _error(capsys, "apply", "a", "tiny.yaml", "--out", "o")
    assert code == 2
    assert text.startswith("tiny.yaml: not a readable image")
    assert not (files / "o").exists()


def test_evaluate_and_apply_use_the_trained_network(files: Path, run_json: Json) -> None:
    pil = pytest.importorskip("PIL.Image")
    denoise = {**EXPERIMENT, "task": {"name": "denoise", "channels": 2, "patch": 16}, "steps": 1}
    (files / "small.yaml").write_text(yaml.safe_dump({**denoise, "rule": {"name": "digital"}}))
    (files / "images").mkdir()
    picture = np.add.outer(np.arange(48), np.arange(64)).astype(np.uint8)
    for name in ("one.png", "two.png"):
        pil.fromarray(picture).save(files / "images" / name)
    run_json("train", "small.yaml", "--out", "a")
    found = run_json("evaluate", "a", "--images", "images")
    assert [item["name"] for item in found["images"]] == ["one.png", "two.png"]
    assert found["metric"]["name"] == "psnr_db"
    assert found["metric"]["value"] == pytest.approx(np.mean([item["value"] for item in found["images"]]))

    assert run_json("apply", "a", "images/one.png", "--out", "o") == {
        "run": "a",
        "images": ["o/one_denoise.png"],
    }
    with pil.open(files / "o" / "one_denoise.png") as image:
        assert image.size == (64, 48)
    assert main(["apply", "a", "images/one.png", "--out", "o"]) == 2  # nothing is overwritten


def test_demo_trains_and_reports(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = ("rule={name: digital}", "steps=1", "batch=1", "task.channels=1")
    assert main(["demo", *(part for change in changes for part in ("--set", change))]) == 0
    out = capsys.readouterr().out
    match = re.search(r"report: (runs/\d{4}-\d\d-\d\d-denoise-[0-9a-f]{6}/report\.html)", out)
    assert match is not None
    assert (files / match[1]).exists()
    assert re.search(r"PSNR \d+\.\d\d dB on held-out data", out)


def test_compare_is_not_repeated(files: Path, run_json: Json, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("compare", "tiny.yaml", "--rules", "digital,eapu", "--out", "c")
    first = run_json(*arguments)
    assert set(first["rules"]) == {"digital", "eapu"}
    assert set(first["ratios"]) == {"digital/eapu", "eapu/digital"}
    assert first["ratios"]["eapu/digital"]["writes_total"] is None
    content = json.loads((files / "c" / "comparison.json").read_text())
    assert {key: content[key] for key in ("rules", "ratios")} == {
        key: first[key] for key in ("rules", "ratios")
    }
    assert content["runs"].keys() == {"digital", "eapu"}
    wall_s = [summary["wall_s"] for summary in first["rules"].values()]
    (files / "c" / "digital" / "summary.json").unlink()  # as if this one had crashed at the end
    second = run_json(*arguments)
    assert second["rules"]["eapu"]["wall_s"] == wall_s[1]
    assert second["rules"]["digital"]["wall_s"] != wall_s[0]
    assert run_json("report", "c") == {"report": "c/report.html"}
    code, text = _error(capsys, *arguments, "--set", "steps=7")
    assert (code, text) == (
        2,
        "c/digital: holds a run of another configuration; name a new directory with --out",
    )
    code, text = _error(capsys, *arguments[:-1], ".")
    assert code == 2
    assert "which is no part of a comparison" in text
    assert _error(capsys, *arguments[:3], "eapu,eapu")[1] == "--rules eapu,eapu: name each rule once"


def test_ratios() -> None:
    one = {"metric": {"final": 28.0}, "writes_total": 10, "energy_j": {"total": 2.0}}
    other = {"metric": {"final": 24.0}, "writes_total": 40, "energy_j": {"total": 0.0}}
    found = ratios({"a": one, "b": other, "digital": {"metric": {"final": 28.5}}})
    assert found["a/b"]["metric_difference"] == 4.0
    assert found["a/b"]["writes_total"] == 0.25
    assert found["a/b"]["energy_j"] is None
    assert found["digital/a"]["writes_total"] is None
    assert len(found) == 6


def test_check_proves_every_limit_of_every_array(files: Path, run_json: Json, mocker: MockerFixture) -> None:
    (files / "two.yaml").write_text(yaml.safe_dump({**BENCH, "arrays": 2}))
    ground = mocker.spy(Interlock, "ground")
    found = run_json("check", "two.yaml")
    limits = {*BENCH["limits"], "v_read_max_v", "shape", "closed"}  # type: ignore[misc]
    for array in (0, 1):
        assert {proof["limit"] for proof in found["proofs"] if proof["array"] == array} == limits
    assert all("allowed" in proof["refusal"] for proof in found["proofs"])
    assert found["arrays"][0]["shape"] == [64, 32]
    assert ground.call_count >= 2


def test_check_fails_on_a_bench_that_obeys(files: Path, mocker: MockerFixture) -> None:
    mocker.patch("eapu_hil.bench.limits.LimitCheck.pulses", side_effect=lambda pulses, _: pulses)
    with pytest.raises(HilError, match=r"array 0: v_max_v: a pulse of 3\.5035 V was not refused"):
        check(files / "bench.yaml")
    assert main(["check", "bench.yaml"]) == 1


def test_cells_are_formed_programmed_and_read_as_csv(
    files: Path, run_json: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    formed = run_json("form", "bench.yaml", "--block", "0:2,0:3")
    assert formed["status"] == ["OK"] * 6
    (files / "targets.csv").write_text("row,col,g_target_uS\n0,1,20\n1,2,35.5\n")
    assert main(["program", "bench.yaml", "targets.csv", "--out", "done.csv"]) == 0
    done = list(csv.DictReader(io.StringIO((files / "done.csv").read_text())))
    assert [(line["row"], line["col"], line["status"]) for line in done] == [
        ("0", "1", "OK"),
        ("1", "2", "OK"),
    ]
    assert float(done[1]["g_uS"]) == pytest.approx(35.5, abs=1.1)

    capsys.readouterr()
    assert main(["read", "bench.yaml", "--block", "0:2,0:3"]) == 0
    seen = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(seen) == 6
    assert float(seen[1]["g_uS"]) == pytest.approx(20.0, abs=1.1)  # the chip keeps it between commands
    assert len(run_json("read", "bench.yaml")["g_uS"]) == 64 * 32
    assert [entry.kind for entry in Chip.open(files / "chip").history()] == [
        "programmed"
    ]  # nothing is measured unasked


def test_a_bench_without_a_chip_keeps_one_by_its_name(files: Path, run_json: Json) -> None:
    bench = {key: value for key, value in BENCH.items() if key != "chip"}
    (files / "loose.yaml").write_text(yaml.safe_dump(bench))
    run_json("form", "loose.yaml", "--block", "0:2,0:3")
    assert Chip.open(files / "chips" / "loose").history() == []
    assert min(run_json("read", "loose.yaml", "--block", "0:2,0:3")["g_uS"]) > 5.0  # still formed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), r"required: COMMAND; see eapu-hil --help"),
        (("trian",), r"unknown command 'trian', did you mean 'train'"),
        (("train",), r"required: EXPERIMENT; see eapu-hil train --help"),
        (("train", "nowhere"), r"nowhere.*not packaged.*denoise"),
        (("train", "tiny.yaml", "--set", "steps=x"), r"tiny\.yaml: steps"),
        (("train", "tiny.yaml", "--set", "stepz=3"), r"stepz.*did you mean 'steps'"),
        (("train", "tiny.yaml", "--set", "steps"), r"--set steps: expected key\.path=value"),
        (("train", "tiny.yaml", "--bench", "lab"), r"bench 'lab': not packaged"),
        (("train", "tiny.yaml", "--seed", "x"), r"--seed: .x.: expected a whole number from 0 up"),
        (("train", "tiny.yaml", "--set", "task.hidden=400"), r"the network does not fit"),
        (("compare", "tiny.yaml", "--rules", "eapu,magic"), r"'magic'.*eapu"),
        (("resume", "nothing"), r"nothing: not a run directory"),
        (("report", "."), r"\.: not a run directory"),
        (("evaluate", ".", "--images", "."), r"not a run directory"),
        (("read", "bench.yaml", "--array", "1"), r"--array 1: the bench has arrays 0 to 0"),
        (("read", "bench.yaml", "--block", "0:1"), r"--block.*expected r0:r1,c0:c1"),
        (("read", "bench.yaml", "--block", "3:3,0:1"), r"expected 0 <= r0 < r1"),
        (("read", "bench.yaml", "--block", "0:1,0:33"), r"--block 0:1,0:33: the array has 64 x 32 cells"),
        (("read", "bench.yaml", "--out", "no/where.csv"), r"no/where\.csv: there is no directory no"),
        (("read", "bench.yaml", "--out", "tiny.yaml"), r"tiny\.yaml: already exists"),
        (("program", "bench.yaml", "absent.csv"), r"absent\.csv: cannot be read: No such file"),
    ],
)
def test_bad_usage_is_one_line_and_leaves_nothing(
    files: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    before = {path.name for path in files.iterdir()} | {"chip"}
    code, text = _error(capsys, *arguments)
    assert code == 2
    assert re.search(said, text)
    assert {path.name for path in files.iterdir()} <= before


def test_exit_codes_tell_what_kind_of_failure_it_was(
    files: Path, capsys: pytest.CaptureFixture[str], mocker: MockerFixture
) -> None:
    assert (files / "bench.yaml").exists()
    code, text = _error(capsys, "read", "bench.yaml", "--after", "1e10")
    assert (code, "a wait of" in text) == (3, True)
    mocker.patch.object(BenchArray, "read", side_effect=TransportError("the link is lost"))
    assert _error(capsys, "read", "bench.yaml") == (1, "the link is lost")
    assert main(["read", "bench.yaml", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"error": "the link is lost", "exit_code": 1}
    mocker.patch.object(BenchArray, "read", side_effect=KeyboardInterrupt)
    assert main(["read", "bench.yaml"]) == 130
    assert (files / "chip").exists()


def test_without_the_training_packages_a_bench_still_works(files: Path) -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('matplotlib', 'jinja2', 'skimage', 'sklearn', 'PIL')));"
        "from eapu_hil.cli.parser import main; sys.exit([main(line.split()) for line in sys.argv[1:]] != [0, 0, 2, 2])"
    )
    commands = ("check bench.yaml", "form bench.yaml --block 0:1,0:1", "demo", "report .")
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *commands], capture_output=True, text=True, cwd=files, check=False
    )
    assert done.returncode == 0, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("eapu-hil: error: ")]
    assert len(errors) == 2
    assert all(line.endswith("pip install 'eapu-hil[train]'") for line in errors)
    assert done.stderr.splitlines()[-2:] == errors
    assert not (files / "runs").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_is_finished_and_can_be_resumed(
    files: Path, run_json: Json, number: signal.Signals, code: int
) -> None:
    command = [
        sys.executable,
        "-P",
        "-m",
        "eapu_hil.cli",
        "train",
        "tiny.yaml",
        "--out",
        "a",
        "--set",
        "steps=100000",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=files) as child:
        try:
            _wait_for_steps(files / "a", 5)
            child.send_signal(number)
            _, err = child.communicate(timeout=30)
        finally:
            child.kill()  # where it was not stopped, it would train on
    assert child.returncode == code, err
    assert err.splitlines()[-1] == "eapu-hil: stopped; to continue: eapu-hil resume a"
    summary = read_summary(files / "a")
    assert summary is not None
    assert summary["exit_status"] == "stopped"

    done = summary["steps"]
    assert run_json("resume", "a", "--steps", str(done + 5))["summary"]["exit_status"] == "success"
    steps = [line["step"] for line in read_metrics(files / "a", "step")]
    assert sorted(steps) == list(range(1, done + 6))


def _wait_for_steps(run: Path, steps: int) -> None:
    end_s = time.monotonic() + 60
    while not (run / "start.yaml").exists() or len(read_metrics(run, "step")) < steps:
        assert time.monotonic() < end_s, "the run does not get going"
        time.sleep(0.05)
