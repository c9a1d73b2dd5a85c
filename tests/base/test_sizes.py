"""Sizes that no bench and no network has are refused by a stated bound; directories lead nowhere else."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eapu_hil.base.loading import load_model
from eapu_hil.base.storage import require_own_files
from eapu_hil.bench.config import BenchConfig
from eapu_hil.bench.passport import own_chip
from eapu_hil.bench.wiring import ChannelMap
from eapu_hil.cli.parser import main
from eapu_hil.hal import ConfigError
from eapu_hil.report.page import render
from eapu_hil.tasks import make_task
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.run_store import RunStore

HUGE = 10**12


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (f"shape=[{HUGE}, 4]", "must be less than or equal to 65536"),
        (f"shape=[4, {HUGE}]", "must be less than or equal to 65536"),
        ("shape=[65536, 65536]", "17179869184 cells; allowed are 67108864"),
        (f"arrays={HUGE}", "must be less than or equal to 65536"),
        ("arrays=65536", "cells; allowed are 67108864"),
    ],
)
def test_benches(override: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_model(BenchConfig, "twin", [override], "benches")
    assert said in str(error.value)


@pytest.mark.parametrize(
    "override",
    [
        f"batch={HUGE}",
        f"steps={HUGE}",
        f"task.channels={HUGE}",
        f"task.depth={HUGE}",
        f"task.patch={HUGE}",
        f"checkpoint_every={HUGE}",
        f"bench.arrays={HUGE}",
        f"name={'x' * 201}",
    ],
)
def test_experiments(override: str) -> None:
    with pytest.raises(ConfigError, match=r"(less than or equal to|at most|allowed are)"):
        load_model(ExperimentConfig, "denoise", [override], "experiments")


@pytest.mark.parametrize(
    "layers",
    [
        [HUGE],
        [60000, 60000, 60000],
        [{"conv": HUGE}, 10],
        [{"conv": 8, "kernel": HUGE}, 10],
        [{"pool": HUGE}, 2],
        [4] * 1001,
    ],
)
def test_layers(layers: list[Any], tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((20, 6, 6)), y=np.arange(20) % 2)
    with pytest.raises(ConfigError, match="layer"):
        make_task({"name": "arrays", "data": {"train": str(tmp_path / "x.npz")}, "layers": layers})


@pytest.mark.parametrize("entry", ["1x1..1x9999999999", "1x01..1x" + "9" * 30, "x" + "1" * 100])
def test_ranges_of_lines(entry: str) -> None:
    content = {
        "buses": {"source": "A", "ground": "B", "gate": "C"},
        "rows": [entry],
        "columns": ["x2"],
        "gates": ["x3"],
    }
    with pytest.raises(ConfigError):
        load_model(ChannelMap, content, (), "maps")


def test_an_archive_that_says_it_is_larger_than_memory(tmp_path: Path) -> None:
    header = (
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(117)
        + b"\n"
    )
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", header)
        archive.writestr("y.npy", header)
    with pytest.raises(ConfigError, match=r"x\.npz: cannot be read as \.npz: x\.npy: float64 of shape"):
        make_task({"name": "arrays", "data": {"train": str(tmp_path / "x.npz")}, "layers": [2]})


def test_no_memory_is_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def too_much(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("eapu_hil.cli.parser.import_also_from", too_much)
    assert main(["train", "denoise", "--allow-module", "x"]) == 1
    assert "memory" in capsys.readouterr().err


def directory(tmp_path: Path) -> Path:
    inside = tmp_path / "sent" / "ledger"
    inside.mkdir(parents=True)
    (inside / "pulses.npy").write_bytes(b"x")
    return tmp_path / "sent"


def test_a_directory_of_files_is_taken(tmp_path: Path) -> None:
    sent = directory(tmp_path)
    require_own_files(sent, "chip")
    (tmp_path / "link").symlink_to(sent)
    require_own_files(tmp_path / "link", "chip")  # where it lies is up to whoever names it


@pytest.mark.parametrize("name", ["passport.yaml", "ledger/pulses.npy", "twin", "writes.bin"])
def test_links_out_of_a_directory_are_refused(name: str, tmp_path: Path) -> None:
    sent = directory(tmp_path)
    victim = tmp_path / "valued"
    victim.write_text("valued")
    (sent / name).unlink(missing_ok=True)
    (sent / name).symlink_to(victim)
    (sent / "chip.lock").touch()
    with pytest.raises(ConfigError, match=f"{name}: a link to .*valued"), own_chip(sent):
        pass
    (sent / "start.yaml").write_text("id: x")
    with pytest.raises(ConfigError, match=f"{name}: a link to .*valued"):
        RunStore.open(sent)
    assert victim.read_text() == "valued"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such thing on this system")
def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    sent = directory(tmp_path)
    os.mkfifo(sent / "metrics.jsonl")
    with pytest.raises(ConfigError, match=r"metrics\.jsonl: no file"):
        require_own_files(sent, "run")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such thing on this system")
@pytest.mark.parametrize(
    "asked",
    [
        "check bench.yaml",
        "train digits --set bench.preset=./pipe.csv",
        "train digits --set bench.recipe=./pipe.csv",
        "train digits --bench ./pipe.csv",
        "train arrays.yaml",
        "train arrays.yaml --set task.data.train=pipe.npz",
        "import import.yaml --chip chip",
    ],
)
def test_a_file_that_names_a_pipe_does_not_wait_for_it(
    asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.csv")
    os.mkfifo("pipe.npz")
    Path("bench.yaml").write_text("backend: twin\npreset: ./pipe.csv\nshape: [8, 8]\n")
    Path("arrays.yaml").write_text(
        "name: x\nbench: twin\ntask: {name: arrays, data: {train: pipe.csv}, layers: [4]}\nrule: {name: digital}\n"
        "optimizer: {name: adam, lr: 1e-3}\nsteps: 1\nbatch: 4\n"
    )
    Path("import.yaml").write_text(
        "file: pipe.csv\nconductance_unit_S: 1.0e-6\nsource: somebody\nchip: {model: a, serial: b}\n"
        "window: {g_min_S: 1.0e-6, g_max_S: 40.0e-6}\nrelaxation: {columns: {cell: 0, age_s: 1, conductance: 2}, "
        "times_s: [1, 2], edges_S: [0, 1]}\n"
    )
    assert main(asked.split()) == 2
    assert "a pipe or a device" in capsys.readouterr().err


def test_a_page_replaces_a_link_and_does_not_follow_it(tmp_path: Path) -> None:
    victim = tmp_path / "valued"
    victim.write_text("valued")
    (tmp_path / "report.html").symlink_to(victim)
    render(tmp_path, "a", "b", [], [], [])
    assert victim.read_text() == "valued"
    assert "<html" in (tmp_path / "report.html").read_text()
