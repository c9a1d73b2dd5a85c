"""No cell has seen more pulses than its ledger counts, whatever ends the process in between."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eapu_hil.base.loading import load_model
from eapu_hil.bench import open_bench
from eapu_hil.bench.array import BenchArray
from eapu_hil.bench.corrections import Corrections
from eapu_hil.bench.interlock import Interlock
from eapu_hil.bench.ledger import ArrayLedger
from eapu_hil.hal import (
    AccountsForWear,
    Cells,
    FloatArray,
    HilError,
    IntArray,
    LimitError,
    Limits,
    Polarity,
    Pulses,
    Targets,
    TransportError,
)
from eapu_hil.hal.recipe import Recipe
from eapu_hil.twin.cells import CellArray

BENCH = {
    "backend": "twin",
    "preset": "ideal",
    "shape": [8, 4],
    "limits": {
        "v_max_v": 3.5,
        "v_gate_max_v": 5.0,
        "i_max_a": 2e-3,
        "width_max_s": 1e-3,
        "pulses_per_cell_max": 1000,
    },
}
CELLS = Cells.all((8, 4))
RECIPE = load_model(Recipe, "rram_180nm", [], "recipes")

# Counts what reaches the cells of the twin in a file of its own, and ends the process at a chosen pulse request.
_VICTIM = """
    import os, signal, sys
    import numpy as np
    from eapu_hil.base.stopping import grounding_signals
    from eapu_hil.bench import open_bench
    from eapu_hil.hal import Cells, Polarity, Pulses, Targets
    from eapu_hil.twin import chip as twin
    from eapu_hil.twin.chip import TwinChip

    chip, seen_at, last, how, what = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]
    seen = np.lib.format.open_memmap(seen_at, mode="w+", dtype=np.int64, shape=(32,))
    requests = 0
    strike, rounds = TwinChip._strike, twin.write_rounds

    def strike_or_end(self, index):
        global requests
        requests += 1
        if requests == last and how != "late":
            os.kill(os.getpid(), getattr(signal, how))
        seen[index] += what == "pulse"
        strike(self, index)

    def counted_rounds(*request):
        writing = request[4]
        before = writing.pulses.copy()
        found = rounds(*request)
        seen[writing.cell] += writing.pulses - before
        return found

    TwinChip._strike, twin.write_rounds = strike_or_end, counted_rounds
    with grounding_signals(), open_bench(%r, chip_dir=__import__("pathlib").Path(chip), commission=False) as bench:
        cells = Cells.all((8, 4))
        while True:
            if what == "program":
                for level_S in (10e-6, 30e-6):
                    bench.arrays[0].program(Targets(cells, np.full(32, level_S)))
            else:
                bench.arrays[0].pulse(Pulses.same(cells, Polarity.SET, 1.0, 1.0, 1e-7, 7))
"""


@pytest.mark.skipif(os.name == "nt", reason="these signals are POSIX")
@pytest.mark.parametrize("what", ["program", "pulse"])
@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT", "SIGTERM", "SIGHUP"])
def test_a_process_that_ends_in_the_middle_has_counted_every_pulse(
    tmp_path: Path, how: str, what: str
) -> None:
    chip, seen_at = tmp_path / "chip", tmp_path / "seen.npy"
    script = textwrap.dedent(_VICTIM % BENCH)
    command = [sys.executable, "-P", "-c", script, str(chip), str(seen_at), "60", how, what]
    done = subprocess.run(command, timeout=120, check=False, capture_output=True)
    assert done.returncode != 0
    seen = np.load(seen_at)
    with open_bench(BENCH, chip_dir=chip, commission=False) as bench:
        counted = bench.ledger.snapshot().pulses.ravel()
    assert seen.sum() > 0
    assert (counted >= seen).all()
    assert (counted - seen).max() <= (
        16 if (how, what) == ("SIGKILL", "program") else 1
    )  # of what was under way


def test_what_somebody_answered_is_counted_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = np.zeros(32, np.int64)
    pulse = CellArray.pulse

    def counted(self: CellArray, index: IntArray, *what: Any) -> FloatArray:
        seen[index] += 1
        return pulse(self, index, *what)

    monkeypatch.setattr(CellArray, "pulse", counted)
    with open_bench(BENCH, chip_dir=tmp_path / "chip", commission=False) as bench:
        array = bench.arrays[0]
        outcome = array.program(Targets(CELLS, np.full(32, 20e-6)))
        array.pulse(Pulses.same(CELLS, Polarity.SET, 1.0, 1.0, 1e-7, 3))
        counts = bench.ledger.snapshot()
    np.testing.assert_array_equal(seen, 3)  # those of the other request are in its outcome
    np.testing.assert_array_equal(counts.pulses.ravel(), outcome.pulses + 3)
    np.testing.assert_array_equal(counts.writes.ravel(), (outcome.pulses > 0) + 1)


@pytest.fixture
def foreign(
    make_crossbar: Callable[..., Any], limits: Limits, recipe: Recipe, tmp_path: Path
) -> Callable[..., tuple[BenchArray, ArrayLedger]]:
    """A device that does not tell of its exchanges; `on_request` is called for each request to it."""

    def make(on_request: Callable[[str], None]) -> tuple[BenchArray, ArrayLedger]:
        device = make_crossbar(on_request=on_request)
        assert not isinstance(device, AccountsForWear)
        ledger = ArrayLedger(tmp_path / "ledger", device.shape)
        interlock = Interlock(device, limits, "array 0")
        return BenchArray(device, interlock, recipe, ledger, Corrections.none(device.shape)), ledger

    return make


def test_a_device_without_the_ability_is_counted_in_full_before_and_corrected_after(
    foreign: Callable[..., tuple[BenchArray, ArrayLedger]], recipe: Recipe
) -> None:
    cell = Cells(np.array([2]), np.array([3]))
    during: list[int] = []
    array, ledger = foreign(lambda _: during.append(int(ledger.pulses(cell)[0])))
    twice = recipe.model_copy(update={"epochs": 2, "pulses_max": 30})
    outcome = array.program(Targets(cell, np.array([1e-5])), twice)
    assert during == [60]
    assert ledger.pulses(cell).tolist() == outcome.pulses.tolist()
    array.pulse(Pulses.same(cell, Polarity.SET, 2.0, 1.0, 1e-6, 4))
    assert during[1:] == [outcome.pulses[0] + 4]
    array.close()


@pytest.mark.parametrize(
    ("error", "pulses", "writes"), [(TransportError("gone"), 5, 1), (LimitError("refused"), 0, 0)]
)
def test_a_pulse_request_that_fails_counts_in_full_and_one_that_is_refused_does_not(
    foreign: Callable[..., tuple[BenchArray, ArrayLedger]], error: HilError, pulses: int, writes: int
) -> None:
    def fail(request: str) -> None:
        if request == "pulse":
            raise error

    cell = Cells(np.array([2]), np.array([3]))
    array, ledger = foreign(fail)
    with pytest.raises(type(error)):
        array.pulse(Pulses.same(cell, Polarity.SET, 2.0, 1.0, 1e-6, 5))
    assert ledger.pulses(cell).tolist() == [pulses]
    assert ledger.snapshot()["writes"].sum() == writes
    array.close()


@pytest.mark.parametrize(("error", "writes"), [(TransportError("gone"), 1), (LimitError("refused"), 0)])
def test_a_write_that_fails_stays_counted_and_one_that_is_refused_does_not(
    foreign: Callable[..., tuple[BenchArray, ArrayLedger]], recipe: Recipe, error: HilError, writes: int
) -> None:
    def fail(request: str) -> None:
        if request == "program":
            raise error

    cell = Cells(np.array([2]), np.array([3]))
    array, ledger = foreign(fail)
    with pytest.raises(type(error)):
        array.program(Targets(cell, np.array([1e-5])))
    assert ledger.pulses(cell).tolist() == [writes * recipe.pulses_max * recipe.epochs]
    assert ledger.snapshot()["writes"].sum() == writes
    array.close()


def test_counts_that_lie_before_another_ledgers_are_refused(tmp_path: Path) -> None:
    with open_bench(BENCH, chip_dir=tmp_path / "chip", commission=False) as bench:
        bench.arrays[0].pulse(Pulses.same(CELLS, Polarity.SET, 1.0, 1.0, 1e-7, 3))
        counts = bench.ledger.snapshot()
    fewer = replace(counts, pulses=counts.pulses - 1)
    assert (counts - fewer).pulses.sum() == 32
    with pytest.raises(HilError, match="counts 64 pulses in all, where 96 were counted before"):
        fewer - counts
