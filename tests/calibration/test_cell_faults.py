"""Which cells are bad and why: cells by themselves, and lines that are open or shorted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from eapu_calibration.cell_faults import CellFault
from eapu_calibration.commissioning import record_forming
from eapu_calibration.figures import draw
from eapu_calibration.summary import in_words

from eapu_hil.bench import Bench
from eapu_hil.bench.entries import Measurement
from eapu_hil.hal import ConfigError, Direction

OpenTwin = Callable[..., Bench]
SHAPE = (32, 24)


def formed(bench: Bench) -> Measurement:
    return record_forming(0, bench.arrays[0], bench.chip, bench.recipe)


def test_faulty_lines_are_told_from_stuck_cells(open_twin: OpenTwin, tmp_path: Path) -> None:
    faults = {"open_rows": [3], "open_columns": [20], "shorted_rows": [9], "shorted_columns": [5]}
    overrides = {f"faults.{name}": lines for name, lines in faults.items()}
    bench = open_twin(SHAPE, **{**overrides, "faults.stuck_fraction": 0.1})
    entry = formed(bench)
    assert dict(entry.values["lines"]) == faults
    kind = entry.arrays["fault"]
    assert (kind[3] == CellFault.OPEN_LINE).mean() > 0.9
    assert (kind[9] == CellFault.SHORTED_LINE).mean() > 0.9
    others = np.delete(np.delete(kind, [3, 9], axis=0), [5, 20], axis=1)
    assert not np.isin(others, [CellFault.OPEN_LINE, CellFault.SHORTED_LINE]).any()
    for stuck in (CellFault.STUCK_HIGH, CellFault.STUCK_LOW):  # 5 % each of 660 cells
        assert (others == stuck).mean() == pytest.approx(0.05, abs=0.035)
    assert sum(entry.values["faults"].values()) == entry.values["bad"]
    for words in ("open rows 3", "open columns 20", "shorted rows 9", "shorted columns 5", "stuck high"):
        assert words in in_words(entry)
    assert draw(entry, tmp_path / "forming.png")


def test_an_array_that_does_not_form_has_no_open_lines(open_twin: OpenTwin) -> None:
    entry = formed(open_twin(SHAPE, **{"forming.v_form_v": 5.0, "forming.v_form_sd_v": 0.1}))
    assert not any(entry.values["lines"].values())
    assert entry.values["faults"]["stuck_low"] > 0.9 * entry.values["cells"]


def test_a_good_array_has_no_faulty_line(open_twin: OpenTwin) -> None:
    entry = formed(open_twin(SHAPE))
    assert not any(entry.values["lines"].values())
    assert entry.values["faults"]["stuck_high"] == 0


def test_lines_carry_what_their_fault_says(open_twin: OpenTwin) -> None:
    ideal = {"read_noise.enabled": False, "rtn.enabled": False, "circuit.line_resistance_ohm": 0.0}
    bench = open_twin(SHAPE, **ideal, **{"faults.open_rows": [3], "faults.shorted_columns": [5]})
    array = bench.arrays[0]
    v_v = np.full((1, SHAPE[0]), 0.1)
    current_a = array.vmm(v_v, Direction.FORWARD)[0]
    # 31 rows of 150 uS at 0.1 V, 465 uA; the fresh cells of the others conduct next to nothing
    assert current_a[5] == pytest.approx(465e-6, rel=0.06)
    assert np.delete(current_a, 5).max() < 5e-6


def test_a_line_that_the_array_has_not_is_refused(open_twin: OpenTwin) -> None:
    with pytest.raises(ConfigError, match=r"faults\.open_rows: 32 asked; the array has rows 0 to 31"):
        open_twin(SHAPE, **{"faults.open_rows": [32]})
