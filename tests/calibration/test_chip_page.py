"""The page of a chip, through `eapu-hil report CHIP`: from what is on the disk, and changing none of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from eapu_hil.bench.chip_id import PASSPORT
from eapu_hil.bench.ledger import Ledger
from eapu_hil.bench.passport import Chip, own_chip
from eapu_hil.cli.parser import main
from eapu_hil.hal import CellStatus

SHAPE = (8, 6)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    chip = Chip.create(tmp_path / "chip", "<b>twin</b>", "seed 0", SHAPE, 2, chip_serial="W12-<D07>")
    status = np.zeros(SHAPE, np.uint8)
    status[2, 3], status[4, :] = CellStatus.STUCK, CellStatus.NOT_CONVERGED
    maps = {
        name: np.full(SHAPE, value)
        for name, value in (("v_form_v", 2.8), ("g_fresh_S", 1e-7), ("g_formed_S", 2e-5))
    }
    values = {"array": 1, "formed": 41, "cells": 48, "bad": 7, "v_form_median_v": 2.8}
    chip.record("forming", values, {**maps, "status": status}, 1.0)
    for hours, out in ((1, 3), (100, 20)):
        error = {"value": 1e-6, "low": 0.9e-6, "high": 1.1e-6}
        look = {
            "array": 0,
            "cells": 40,
            "out": out,
            "band_S": 1e-6,
            "overwritten": 0,
            "error_sd_S": error,
            "error_mean_S": None,
        }
        chip.record("drift", look, {"row": np.arange(3), "col": np.arange(3)}, 3600.0 * hours)
    ledger = Ledger(chip.directory / "ledger", 2, SHAPE, chip.id)
    ledger.arrays[0].count("pulses", np.array([0, 5]), 7, 14)
    ledger.arrays[0].files["g_last_S"].flat[:10] = 2e-5
    ledger.close()
    return chip.directory


def contents(directory: Path) -> dict[str, str]:
    files = [path for path in directory.rglob("*") if path.is_file() and "figures" not in path.parts]
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.suffix != ".html"
    }


def test_the_page_shows_history_maps_bad_cells_drift_and_wear(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(directory)
    with own_chip(directory):  # by a run that goes on
        assert main(["report", str(directory)]) == 0
    assert contents(directory) == before
    assert f"report: {directory / 'report.html'}" in capsys.readouterr().out
    page = (directory / "report.html").read_text()
    for title in ("History", "Conductance", "Bad cells", "Drift", "Wear"):
        assert f"<h2>{title}</h2>" in page
    assert "Chip W12-&lt;D07&gt;" in page
    assert "<b>twin" not in page
    assert "41 of 48 cells formed" in page
    assert "20 (50 %)" in page
    assert "array 1: 6 not converged" in page  # in words, for who does not see the map
    for name in ("conductance", "bad_cells", "drift", "wear"):
        assert (directory / "figures" / f"chip_{name}.svg").is_file()
    assert main(["report", str(directory), "--standalone"]) == 0
    assert "data:image/svg+xml;base64" in (directory / "report-standalone.html").read_text()


def test_a_chip_that_was_never_used_has_a_page(tmp_path: Path) -> None:
    Chip.create(tmp_path / "new", "twin", "seed 0", SHAPE, 1)
    assert main(["report", str(tmp_path / "new")]) == 0
    page = (tmp_path / "new" / "report.html").read_text()
    assert "Nothing was measured or written yet." in page
    assert "No cell is known to be bad." in page


def test_a_damaged_chip_has_none(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = directory / "measurements" / "0002_drift.yaml"
    entry.write_text(entry.read_text().replace("out: 3", "out: 4"))
    assert main(["report", str(directory)]) == 1
    assert "0002_drift.yaml: damaged" in capsys.readouterr().err
    assert (directory / PASSPORT).exists()
    assert not (directory / "report.html").exists()
