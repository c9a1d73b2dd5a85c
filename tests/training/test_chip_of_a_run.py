"""A run knows its chip: another one is refused, and who wrote to it since is told."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eapu_hil.bench import open_bench
from eapu_hil.bench.passport import Chip
from eapu_hil.bench.usage import last_use
from eapu_hil.hal import Cells, ConfigError, HilError, Targets
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.runs import read_start
from eapu_hil.training.trainer import resume, train, trained_network

Make = Callable[..., ExperimentConfig]
Silent = Callable[..., Any]


def test_a_run_whose_chip_was_used_since_is_told(
    tmp_path: Path, make_experiment: Make, silent: Silent, caplog: pytest.LogCaptureFixture
) -> None:
    experiment = make_experiment(bench={"chip": str(tmp_path / "chip")}, steps=4)
    train(experiment, tmp_path / "first", silent())
    with trained_network(tmp_path / "first"):
        assert "was used since" not in caplog.text
    train(experiment, tmp_path / "second", silent())
    second = read_start(tmp_path / "second")["id"]
    entry = last_use(Chip.open(tmp_path / "chip"))
    assert entry is not None
    assert entry.values["run"] == second
    with caplog.at_level(logging.WARNING), trained_network(tmp_path / "first"):
        pass
    assert f"the chip was used since this run: last by run {second}" in caplog.text


def test_a_run_whose_chip_was_programmed_since_is_told(
    tmp_path: Path, make_experiment: Make, silent: Silent, caplog: pytest.LogCaptureFixture
) -> None:
    bench = {**make_experiment().bench.model_dump(), "chip": str(tmp_path / "chip")}
    train(make_experiment(bench={"chip": str(tmp_path / "chip")}, steps=4), tmp_path / "run", silent())
    caplog.clear()
    with open_bench(bench, commission=False) as opened:
        opened.arrays[0].program(Targets(Cells.block(0, 1, 0, 1), np.array([10e-6])))
    with caplog.at_level(logging.WARNING), trained_network(tmp_path / "run"):
        pass
    assert "the chip was used since this run: last by `program` (entry" in caplog.text


def test_a_run_on_another_chip_or_on_none_is_refused(
    tmp_path: Path, make_experiment: Make, silent: Silent
) -> None:
    for name in ("run", "other"):
        train(make_experiment(steps=4), tmp_path / name, silent())
    chip = tmp_path / "run/chip"
    assert read_start(tmp_path / "run")["chip"] == Chip.open(chip).id
    chip.rename(tmp_path / "mine")
    with pytest.raises(ConfigError, match=r"there is no chip: .*run is a run on chip"):
        resume(tmp_path / "run", silent(), steps=6)
    assert not chip.exists()
    shutil.copytree(tmp_path / "other/chip", chip)
    with pytest.raises(ConfigError, match="another chip is there"), trained_network(tmp_path / "run"):
        pass
    shutil.rmtree(chip)
    (tmp_path / "mine").rename(chip)
    resume(tmp_path / "run", silent(), steps=6)
    assert len(read_start(tmp_path / "run")["sessions"]) == 2


def test_a_chip_that_holds_a_run_is_never_measured_unasked(
    tmp_path: Path, make_experiment: Make, silent: Silent
) -> None:
    train(make_experiment(steps=4), tmp_path / "run", silent())
    chip = Chip.open(tmp_path / "run/chip")
    entry = chip.latest("write_error")
    assert entry is not None
    pulses = (chip.directory / "ledger/array0/pulses.npy").read_bytes()
    for path in chip.path_of(entry).parent.glob(f"{entry.number:04d}_*"):
        path.unlink()
    with pytest.raises(HilError, match=r"write_error\.yaml: missing"):
        resume(tmp_path / "run", silent(), steps=6)
    assert (chip.directory / "ledger/array0/pulses.npy").read_bytes() == pulses
