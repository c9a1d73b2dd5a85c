"""The example of a lab's own package, installed by pip beside ours and used from the command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eapu_hil.bench.passport import Chip
from eapu_hil.cli.parser import main
from eapu_hil.training.runs import read_metrics, read_summary

EXAMPLE = Path(__file__).parents[2] / "examples" / "05_own_lab"
PACKAGE = "lab-crossbar"

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Parsed = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip installed the package."""
    folder = tmp_path_factory.mktemp("lab")
    source, site = folder / "source", folder / "site"
    # A copy, because setuptools leaves its build folder in what it builds from.
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    offline = ["--isolated", "--no-index", "--no-deps", "--no-build-isolation"]
    command = [sys.executable, "-P", "-m", "pip", "install", "--quiet", *offline, "--target", site, source]
    subprocess.run(command, check=True)
    return site


@pytest.fixture
def environment(site: Path) -> dict[str, str]:
    """The environment of a process that finds the package."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")])),
    }


@pytest.fixture
def command(environment: dict[str, str], tmp_path: Path) -> Callable[..., Any]:
    """The arguments for `subprocess` of an `eapu-hil` command in an empty working directory."""

    def made(*arguments: str) -> dict[str, Any]:
        program = [sys.executable, "-P", "-m", "eapu_hil.cli", *arguments]
        return {"args": program, "cwd": tmp_path, "env": environment, "text": True, "stderr": subprocess.PIPE}

    return made


@pytest.fixture
def run(command: Callable[..., Any]) -> Run:
    """Runs an `eapu-hil` command."""
    return lambda *arguments: subprocess.run(**command(*arguments), stdout=subprocess.PIPE, check=False)


@pytest.fixture
def parsed(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Parsed]:
    """What an `eapu-hil` command says with `--json`: in this process, for a new one takes seconds to start."""
    monkeypatch.syspath_prepend(site)
    monkeypatch.chdir(tmp_path)

    def answer(*arguments: str) -> dict[str, Any]:
        capsys.readouterr()
        code = main([*arguments, "--json"])
        said = capsys.readouterr()
        assert code == 0, said.err
        found: dict[str, Any] = json.loads(said.out.splitlines()[-1])
        return found

    yield answer
    for name in [name for name in sys.modules if name.partition(".")[0] == "lab_crossbar"]:
        del sys.modules[name]


def test_all_of_it_is_listed_with_the_name_of_the_package(run: Run) -> None:
    listed = json.loads(run("list", "--json").stdout.splitlines()[-1])
    offered = {
        "drivers": "lab",
        "rules": "patient",
        "tasks": "rings",
        "benches": "lab_bench",
        "experiments": "rings_lab",
        "commands": "histogram",
    }
    for kind, name in offered.items():
        [line] = [line for line in listed[kind] if line["package"] == PACKAGE]
        assert line["name"] == name
        assert line["about"]


def test_its_bench_is_checked_and_has_the_keys_of_its_driver_only(run: Run, tmp_path: Path) -> None:
    done = run("check", "lab_bench")
    assert done.returncode == 0, done.stderr
    assert "every line is grounded" in done.stdout
    text = (EXAMPLE / "lab_crossbar" / "files" / "benches" / "lab_bench.yaml").read_text(encoding="utf-8")
    (tmp_path / "typing_error.yaml").write_text(text.replace("settle_s:", "setle_s:"), encoding="utf-8")
    (tmp_path / "no_twin.yaml").write_text(text + "overrides: {faults.stuck_fraction: 0}\n", encoding="utf-8")
    for file, said in (
        ("typing_error.yaml", "setle_s: unknown key, did you mean 'settle_s'?"),
        (
            "no_twin.yaml",
            "overrides: unknown key; only backend 'controller' and 'smu' and 'twin' can have it",
        ),
    ):
        refused = run("check", file)
        assert refused.returncode == 2
        assert refused.stderr.startswith(f"eapu-hil: error: {file}: {said}")
        assert len(refused.stderr.splitlines()) == 1


def test_its_own_tests_pass(environment: dict[str, str], tmp_path: Path) -> None:
    alone = ["-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tmp_path), "-W", "error"]
    program = [sys.executable, "-P", "-m", "pytest", "-q", *alone, str(EXAMPLE / "tests")]
    done = subprocess.run(program, cwd=tmp_path, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


def test_its_experiment_on_its_bench(
    command: Callable[..., Any], run: Run, parsed: Parsed, tmp_path: Path
) -> None:
    """From a fresh chip to a report: formed, measured, trained, stopped, resumed, compared."""
    pytest.importorskip("matplotlib")
    untouched = run("train", "rings_lab", "--out", "too_early")
    assert untouched.returncode == 1
    assert "eapu-hil calibrate BENCH write_error" in untouched.stderr.splitlines()[-1]
    assert parsed("form", "lab_bench", "--block", "0:4,0:4")["status"] == 16 * ["OK"]
    parsed("calibrate", "lab_bench", "forming", "write_error")
    counted = parsed("histogram", "lab_bench", "--bins", "3")
    assert (sum(counted["cells"]), len(counted["edges_uS"])) == (24 * 32, 4)
    kinds = [entry.kind for entry in Chip.open(tmp_path / "lab_chip").history()]
    assert kinds == ["calibration", "forming", "write_error"]

    _stopped(command("train", "rings_lab", "--out", "rings", "--set", "steps=1000000"), tmp_path / "rings")
    stopped = read_summary(tmp_path / "rings")
    assert stopped is not None
    assert (stopped["exit_status"], stopped["rule"], stopped["task"]) == ("stopped", "patient", "rings")
    total = stopped["steps"] + 20
    summary = parsed("resume", "rings", "--steps", str(total))["summary"]
    assert (summary["exit_status"], summary["steps"], summary["backend"]) == ("success", total, "lab")
    assert [line["step"] for line in read_metrics(tmp_path / "rings", "step")] == list(range(1, total + 1))
    assert summary["writes_total"] > 0
    parsed("report", "rings")
    assert "patient" in (tmp_path / "rings" / "report.html").read_text(encoding="utf-8")

    parsed("compare", "rings_lab", "--rules", "digital,patient", "--set", "steps=10", "--out", "compared")
    comparison = json.loads((tmp_path / "compared" / "comparison.json").read_text(encoding="utf-8"))
    assert list(comparison["rules"]) == ["digital", "patient"]


def _stopped(training: dict[str, Any], run_dir: Path) -> None:
    """Starts a training and stops it by Ctrl-C after a checkpoint."""
    process = subprocess.Popen(**training)
    try:
        while not list(run_dir.glob("checkpoints/step_*.npz")):
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        error = process.communicate()[1]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, error
    assert error.splitlines()[-1] == f"eapu-hil: stopped; to continue: eapu-hil resume {run_dir.name}"
