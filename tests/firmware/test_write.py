"""Write-verify in the firmware and in Python: on the same cells both take the same steps to the same outcome."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from eapu_drivers.controller import messages
from numpy.typing import NDArray

from eapu_hil.base.loading import load_model
from eapu_hil.hal import Cells, CellStatus, FloatArray, PulseOutcome, Pulses, Reading, Targets, WriteOutcome
from eapu_hil.hal.recipe import Recipe
from eapu_hil.hal.writeverify import write_verify

FIRMWARE = Path(__file__).parents[2] / "firmware"
FLAGS = [
    "-std=c11",
    "-O2",
    "-ffp-contract=off",
    "-shared",
    "-fPIC",
    f"-I{FIRMWARE}/core",
    f"-I{FIRMWARE}/tests",
]
SOURCES = (
    *(
        f"core/{name}.c"
        for name in ("board", "convert", "decide", "drive", "board_limits", "recipe", "write_job")
    ),
    "tests/fake_afe.c",
)
# What the fake front end is: see fake_reset.
ROWS, COLS = 16, 8
READ_V, READ_TOP, PULSE_V, PULSE_TOP, GATE_V, GATE_TOP = 0.25, 511, 4.0, 4095, 3.0, 4095
ADC_A, ADC_TOP = float(np.float32(20e-6)), 2047
DRIVER = """
#include <string.h>
#include "board_limits.h"
#include "fake_afe.h"
#include "recipe.h"
#include "write_job.h"
static board_t board;
void prepare(unsigned seed, double noise_S, const double *g_S, const bool *stuck)
{
    fake_reset(1, 16, 8);
    fake.seed = seed, fake.noise_S = noise_S;
    for (int i = 0; i < 16 * 8; i++) fake.g_S[0][i / 8][i % 8] = g_S[i], fake.stuck[0][i / 8][i % 8] = stuck[i];
}
bool arm(unsigned i_max_na) { return afe_arm(i_max_na, 1000000, 2500000); }
unsigned configure(const uint8_t *limits, size_t limits_size, const uint8_t *recipe, size_t recipe_size)
{
    unsigned reason = board_open(&board) ? 0 : 255;
    if (reason == 0) reason = limits_set(&board, limits, limits_size).reason;
    return reason != 0 ? reason : recipe_set(&board, recipe, recipe_size).reason;
}
size_t write_cells(const uint8_t *request, size_t size, uint8_t *answer)
{
    job_state_t state = JOB_MORE;
    if (write_start(&board, request, size).reason != 0) return 0;
    while (state == JOB_MORE) state = write_step(&board);
    board_drop(&board);
    return state == JOB_DONE ? write_result(&board.job.write, answer, false) : 0;
}
"""
READ = np.dtype([("row", "u2"), ("col", "u2"), ("code", "i2")], align=True)
PULSE_FIELDS = [
    ("row", "u2"),
    ("col", "u2"),
    ("polarity", "i1"),
    ("line", "u2"),
    ("gate", "u2"),
    ("width", "u4"),
]
PULSE = np.dtype(PULSE_FIELDS, align=True)


def _pointer(array: NDArray[np.generic]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _codes(volts_v: FloatArray, full_scale_v: float, top: int) -> FloatArray:
    """As the firmware rounds: to microvolts, then to codes."""
    uv = np.floor(volts_v * 1e6 + 0.5)
    codes: FloatArray = np.floor(uv / 1e6 / (full_scale_v / top) + 0.5)
    return codes


class FakeArray:
    """The fake front end as the part of a `Crossbar` that write-verify uses."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        library.afe_time_ns.restype = ctypes.c_uint64

    def clock_s(self) -> float:
        return int(self._library.afe_time_ns()) * 1e-9

    def wait(self, duration_s: float) -> None:
        raise NotImplementedError

    def read(self, cells: Cells, v_read_v: float) -> Reading:
        reads, codes = np.zeros(len(cells), READ), np.zeros(len(cells), np.int16)
        code = int(_codes(np.array([v_read_v]), READ_V, READ_TOP)[0])
        reads["row"], reads["col"], reads["code"] = cells.row, cells.col, code
        assert self._library.afe_read(0, _pointer(reads), len(cells), _pointer(codes))
        g_S = ADC_A * (codes / ADC_TOP) / (code * (READ_V / READ_TOP))
        return Reading(g_S, np.zeros(len(cells), np.uint8))

    def pulse(self, pulses: Pulses) -> PulseOutcome:
        records, hit = np.zeros(len(pulses.cells), PULSE), np.zeros(len(pulses.cells), np.uint8)
        records["row"], records["col"] = pulses.cells.row, pulses.cells.col
        records["polarity"] = pulses.polarity
        records["line"] = _codes(pulses.amplitude_v, PULSE_V, PULSE_TOP)
        records["gate"] = _codes(pulses.gate_v, GATE_V, GATE_TOP)
        records["width"] = np.floor(pulses.width_s * 1e9 + 0.5)
        assert self._library.afe_pulse(0, _pointer(records), records.size, _pointer(hit))
        return PulseOutcome(hit * np.uint8(CellStatus.COMPLIANCE))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: install gcc and libc6-dev")
    folder = tmp_path_factory.mktemp("write")
    (folder / "driver.c").write_text(DRIVER)
    sources = [str(folder / "driver.c"), *(str(FIRMWARE / source) for source in SOURCES)]
    subprocess.run([compiler, *FLAGS, *sources, "-o", str(folder / "write.so"), "-lm"], check=True)
    made = ctypes.CDLL(str(folder / "write.so"))
    made.write_cells.restype = ctypes.c_size_t
    return made


def _recipe(rng: np.random.Generator) -> Recipe:
    """The default recipe with other caps: all ways to end are met within the runs of the test."""
    base = load_model(Recipe, "rram_180nm", [], "recipes")
    return base.model_copy(
        update={
            "reset": base.reset.model_copy(update={"gate_v": 2.5}),
            "band_S": float(rng.choice([0.5e-6, 1e-6])),
            "pulses_max": int(rng.integers(3, 60)),
            "flips_max": int(rng.integers(1, 10)),
            "pulses_at_cap_max": int(rng.integers(1, 5)),
            "rewrite_in_band": bool(rng.integers(2)),
            "time_max_s": float(rng.choice([50e-6, 1.0])),
        }
    )


def _configure(library: ctypes.CDLL, recipe: Recipe, i_max_na: int) -> None:
    limits = messages.Limits(1, 3_000_000, 2_500_000, 200_000, i_max_na, 100_000, 100).pack()
    up, down = recipe.set, recipe.reset
    gate, rise, fall = ((r.start_v, r.step_v, r.stop_v) for r in (up.gate, up.amplitude, down.amplitude))
    caps = recipe.pulses_max, recipe.flips_max, recipe.pulses_at_cap_max
    packed = messages.Recipe(
        2, 1, int(recipe.rewrite_in_band), *caps, recipe.g_min_S, recipe.g_max_S, recipe.band_S, recipe.v_read_v,
        *gate, up.gate_offset_v, up.gate_slope_S_per_v, *rise, up.width_s,
        down.gate_v, *fall, down.width_s, recipe.time_max_s,
    ).pack()  # fmt: skip
    assert library.configure(limits, ctypes.c_size_t(len(limits)), packed, ctypes.c_size_t(len(packed))) == 0


def _in_firmware(library: ctypes.CDLL, targets: Targets) -> NDArray[np.void]:
    records = np.zeros(len(targets), messages.Write.TAIL)
    records["row"], records["col"] = targets.cells.row, targets.cells.col
    records["g_target_S"] = targets.g_target_S
    request = messages.Write(id=1, array=0, slot=1, tail=records).pack()
    answer = ctypes.create_string_buffer(messages.PAYLOAD_MAX)
    size = library.write_cells(request, ctypes.c_size_t(len(request)), answer)
    assert size > 0
    return messages.Written.unpack(answer.raw[:size]).tail


def _assert_same(python: WriteOutcome, firmware: NDArray[np.void]) -> None:
    for name in ("pulses", "reads", "status"):
        np.testing.assert_array_equal(firmware[name], getattr(python, name), name)
    for name in ("g_before_S", "g_after_S", "energy_j"):
        np.testing.assert_array_equal(firmware[name], getattr(python, name).astype(np.float32), name)


def test_same_cells_same_steps(library: ctypes.CDLL) -> None:
    rng = np.random.default_rng(4)
    array, met = FakeArray(library), set[int]()
    for seed in range(300):
        recipe, i_max_na = _recipe(rng), int(rng.choice([60_000, 200_000]))
        picked = rng.choice(ROWS * COLS, int(rng.integers(1, messages.CELLS_MAX + 1)), replace=False)
        most_S = min(recipe.g_max_S, i_max_na * 1e-9 / 2.5)
        targets = Targets(
            Cells(picked // COLS, picked % COLS), rng.uniform(recipe.g_min_S, most_S, picked.size)
        )
        g_S, stuck = rng.uniform(0.5e-6, 60e-6, ROWS * COLS), rng.random(ROWS * COLS) < 0.1
        start = (ctypes.c_uint(seed), ctypes.c_double(rng.uniform(0.0, 2e-6)), _pointer(g_S), _pointer(stuck))
        library.prepare(*start)
        _configure(library, recipe, i_max_na)
        firmware = _in_firmware(library, targets)
        library.prepare(*start)
        assert library.arm(i_max_na)
        _assert_same(write_verify(array, targets, recipe), firmware)  # type: ignore[arg-type]
        met |= set(firmware["status"].tolist())
    kinds = (
        CellStatus.OK,
        CellStatus.NOT_CONVERGED,
        CellStatus.COMPLIANCE,
        CellStatus.LIMIT,
        CellStatus.STUCK,
    )
    assert met == {int(kind) for kind in kinds}
