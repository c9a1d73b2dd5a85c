"""The twin's relaxation fitted to one half of measured cells, judged on the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from eapu_calibration.fit_twin import fit_twin
from eapu_calibration.importing import Import, import_file, load_import
from scipy import stats

from eapu_hil.base.loading import load_model
from eapu_hil.bench.passport import Chip
from eapu_hil.hal import FloatArray
from eapu_hil.twin.preset import TwinPreset
from eapu_hil.twin.relaxing import RelaxingCells
from eapu_hil.twin.state import StateFiles

TIMES_s = (0.01, 0.1, 1.0, 1e5)
BINS_uS = ((0.0, 10.0), (10.0, 20.0), (20.0, 30.0), (30.0, 40.0))
NOISE_uS, NOISE_POWER = (
    0.095,
    0.72,
)  # sd of a reading at 10 uS, and how it goes with conductance, as the fit finds it
COPIES = 8  # of each cell in the twin

pytestmark = pytest.mark.timeout(1200)  # the fit to some 90,000 readings takes minutes


@dataclass(frozen=True, eq=False)
class Judged:
    """In uS: first readings (cells,), measured changes (times, cells), changes of the twin (times, cells, copies)."""

    first_uS: FloatArray
    change_uS: FloatArray
    twin_uS: FloatArray


def mapping(file: Path) -> Import:
    edges_uS = (0.0, 1.25, 2.5, 5.0, 7.5, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0001)
    return load_import(
        {
            "chip": {"model": "technology C", "serial": "published"},
            "source": "github akashlevy/RRAM-Relaxation-Master-Model, MIT",
            "file": str(file),
            "delimiter": "tab",
            "conductance_unit_S": 1.0,
            "window": {"g_min_S": 1e-7, "g_max_S": 40e-6},  # no cell met a floor here
            "relaxation": {
                "columns": {"cell": 0, "age_s": 1, "conductance": 3},
                "times_s": list(TIMES_s),
                "edges_S": [1e-6 * edge for edge in edges_uS],
            },
        }
    )


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory, measured_file: Callable[[str], Path]) -> Judged:
    folder = tmp_path_factory.mktemp("relaxation")
    table = np.loadtxt(measured_file("relaxation/techC/relaxdata.min.tsv.gz"), delimiter="\t")
    cells = np.unique(table[:, 0])
    learned = np.isin(table[:, 0], np.random.default_rng(0).permutation(cells)[: cells.size // 2])
    halves = []
    for name, chosen in (("learn", learned), ("judge", ~learned)):
        path = folder / f"{name}.tsv"
        np.savetxt(path, table[chosen], delimiter="\t")
        halves.append(import_file(mapping(path), folder / name, np.random.default_rng(0)))
    base = load_model(TwinPreset, "rram_180nm", [], "presets")
    no_flicker = base.model_copy(
        update={"read_noise": base.read_noise.model_copy(update={"flicker_relative_per_decade": 0.0})}
    )
    fit = fit_twin(Chip.open(folder / "learn"), 0, no_flicker, np.random.default_rng(0))
    law = fit.preset("fitted", "to half of the cells").relaxation

    usable = halves[1].arrays["usable"]
    first_uS, later_uS = (1e6 * halves[1].arrays[name][:, usable] for name in ("first_S", "g_S"))
    rng = np.random.default_rng(5)
    began_S = np.repeat(1e-6 * first_uS[0], COPIES)
    g_S = began_S.copy()
    twin = RelaxingCells(law, g_S, StateFiles(folder / "state"))
    twin.restart(np.arange(g_S.size), g_S, 0.0)
    noise_sd_S = 1e-6 * NOISE_uS * (began_S / 10e-6) ** NOISE_POWER
    first_noise_S = noise_sd_S * rng.standard_normal(g_S.size)
    twin_uS = []
    for time_s in TIMES_s:
        twin.advance(g_S, time_s, rng, True)
        noise_S = noise_sd_S * rng.standard_normal(g_S.size) - first_noise_S
        twin_uS.append(1e6 * (g_S - began_S + noise_S).reshape(-1, COPIES))
    return Judged(first_uS[0], later_uS - first_uS, np.array(twin_uS))


def tail_share(values: FloatArray) -> float:
    """Beyond 3 robust sd (half of 16-84 %)."""
    low, middle, high = np.percentile(values, [16, 50, 84])
    return float((np.abs(values - middle) > 1.5 * (high - low)).mean())


@pytest.mark.parametrize("state_uS", BINS_uS)
def test_changes_are_distributed_as_measured(judged: Judged, state_uS: tuple[float, float]) -> None:
    inside = (judged.first_uS >= state_uS[0]) & (judged.first_uS < state_uS[1])
    for number, time_s in enumerate(TIMES_s):
        measured, ours = judged.change_uS[number, inside], judged.twin_uS[number, inside].ravel()
        distance = stats.ks_2samp(measured, ours).statistic
        assert distance < 0.06, time_s
        # A share of 3 % of 2,000 cells is known to 25 %.
        assert tail_share(ours) / tail_share(measured) == pytest.approx(1.0, abs=0.4), time_s


def test_a_part_passes_as_measured(judged: Judged) -> None:
    """Correlation of the changes after 0.1 s and 1 s, and after 1 s and 1e5 s."""
    for early, late in ((1, 2), (2, 3)):
        measured = np.corrcoef(judged.change_uS[early], judged.change_uS[late])[0, 1]
        ours = np.corrcoef(judged.twin_uS[early].ravel(), judged.twin_uS[late].ravel())[0, 1]
        assert ours == pytest.approx(measured, abs=0.1), (early, late)
