"""Redirected output under the encodings of Windows and of a bare terminal; files whose encoding nobody named."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tiny import BENCH, EXPERIMENT


def run(
    folder: Path, encoding: str, *arguments: str, missing: str = ""
) -> subprocess.CompletedProcess[bytes]:
    """A command in a process of its own. missing: packages that it does not find."""
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({missing.split()!r}));"
        "from eapu_hil.cli.parser import main; sys.exit(main(sys.argv[1:]))"
    )
    # EncodingWarning: a file was opened in the encoding of the machine, whatever that is
    command = [sys.executable, "-P", "-X", "warn_default_encoding", "-c", code, *arguments]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "COLUMNS": "80"}
    return subprocess.run(command, capture_output=True, cwd=folder, env=environment, check=False)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp437"])
def test_a_run_is_told_of_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    done = run(tmp_path, encoding, "train", "tiny.yaml", "--out", "r")
    assert done.returncode == 0, done.stderr
    out, err = done.stdout.decode(encoding), done.stderr.decode(encoding)
    assert re.search(r"\d \d{3} cell writes", out)  # the thin space between thousands is a plain one
    assert "?" not in out
    ours = [line for line in err.splitlines() if "EncodingWarning" in line and "eapu" in line]
    assert ours == []


@pytest.mark.skipif(sys.platform == "win32", reason="file names are text there")
def test_a_name_that_is_no_text_can_be_told(tmp_path: Path) -> None:
    done = run(tmp_path, "utf-8", "check", os.fsdecode(b"\xff.yaml"))
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"eapu-hil: error: \\udcff.yaml: cannot be read")


def test_calibrate_says_before_it_measures_that_there_will_be_no_figures(tmp_path: Path) -> None:
    (tmp_path / "bench.yaml").write_text(yaml.safe_dump({**BENCH, "chip": "chip"}))
    plan = {"measurements": {"linearity": {"v_in_v": 0.2, "steps": 5, "zeros": 16, "repeats": 1}}}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    arguments = ("calibrate", "bench.yaml", "--plan", "plan.yaml")
    done = run(tmp_path, "utf-8", *arguments, missing="matplotlib jinja2 skimage sklearn PIL")
    assert done.returncode == 0, done.stderr
    first, *rest = done.stderr.decode().splitlines()
    assert (
        first == "eapu-hil: no figures will be drawn: figures need matplotlib: pip install 'eapu-hil[train]'"
    )
    assert any(line.startswith("eapu-hil: linearity: measured") for line in rest)
    assert not (tmp_path / "chip" / "figures").exists()


def test_a_task_asks_for_all_of_its_packages_at_the_start(tmp_path: Path) -> None:
    pil = pytest.importorskip("PIL.Image")
    for part in ("training", "held_out"):
        (tmp_path / "images" / part).mkdir(parents=True)
        pil.new("L", (64, 64), 99).save(tmp_path / "images" / part / "grey.png")
    task = {"name": "denoise", "channels": 2, "patch": 16, "data": {"folder": "images"}}
    (tmp_path / "own.yaml").write_text(
        yaml.safe_dump({**EXPERIMENT, "task": task, "rule": {"name": "digital"}})
    )
    done = run(tmp_path, "utf-8", "train", "own.yaml", "--out", "r", missing="skimage")
    assert (done.returncode, (tmp_path / "r").exists()) == (2, False)
    assert b"needs the package skimage, which is not installed; run: pip install" in done.stderr
