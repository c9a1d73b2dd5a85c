"""The decision of write-verify in C and in Python: the same histories give the same steps, bit for bit."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from eapu_hil.hal import FloatArray
from eapu_hil.hal.recipe import FormRecipe, Ramp, Recipe, ResetRecipe, SetRecipe
from eapu_hil.hal.writeverify import Action, Decision, History, decide

CORE = Path(__file__).parents[2] / "firmware" / "core"
FLAGS = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-shared", "-fPIC"]
DRIVER = """
#include <stddef.h>
#include "decide.h"
void sizes(size_t *out) { out[0] = sizeof(law_t); out[1] = sizeof(history_t); out[2] = sizeof(decision_t); }
void start_all(size_t n, const double *g_first_S, history_t *histories)
{
    for (size_t i = 0; i < n; i++) histories[i] = history_start(g_first_S[i]);
}
void decide_all(size_t n, const law_t *law, const double *target, const double *read, history_t *histories,
                decision_t *decisions)
{
    for (size_t i = 0; i < n; i++) decisions[i] = decide(law, target[i], read[i], &histories[i]);
}
"""
RAMP = [("start_v", "f8"), ("step_v", "f8"), ("stop_v", "f8")]
LAW = np.dtype(
    [
        ("band_S", "f8"),
        ("gate", RAMP),
        ("gate_offset_v", "f8"),
        ("gate_slope_S_per_v", "f8"),
        ("set", RAMP),
        ("set_width_s", "f8"),
        ("reset_gate_v", "f8"),
        ("reset", RAMP),
        ("reset_width_s", "f8"),
        ("pulses_max", "i4"),
        ("flips_max", "i4"),
        ("pulses_at_cap_max", "i4"),
        ("rewrite_in_band", "?"),
    ],
    align=True,
)
REAL = ("g_first_S", "gate_v", "set_amplitude_v", "reset_amplitude_v")
WHOLE = ("direction", "pulses", "flips", "at_cap")
FLAG = ("confirming", "moved", "probed")
HISTORY = np.dtype(
    [(name, "f8") for name in REAL] + [(name, "i4") for name in WHOLE] + [(name, "?") for name in FLAG],
    align=True,
)
DECISION = np.dtype(
    [("amplitude_v", "f8"), ("gate_v", "f8"), ("width_s", "f8"), ("action", "i4"), ("status", "u1")],
    align=True,
)
RECIPES, CELLS = 200, 500  # 100,000 histories

Records = NDArray[np.void]
Reals = NDArray[np.floating]


class Firmware:
    """decide.c as a library."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler: install gcc and libc6-dev")
        driver, library = folder / "driver.c", folder / "decide.so"
        driver.write_text(DRIVER)
        sources = [str(driver), str(CORE / "decide.c")]
        subprocess.run([compiler, *FLAGS, f"-I{CORE}", *sources, "-o", str(library), "-lm"], check=True)
        self._library = ctypes.CDLL(str(library))
        sizes = (ctypes.c_size_t * 3)()
        self._library.sizes(sizes)
        assert list(sizes) == [LAW.itemsize, HISTORY.itemsize, DECISION.itemsize]

    def start(self, g_first_S: FloatArray) -> Records:
        histories = np.zeros(g_first_S.size, HISTORY)
        self._library.start_all(ctypes.c_size_t(g_first_S.size), _pointer(g_first_S), _pointer(histories))
        return histories

    def decide(self, law: Records, target_S: FloatArray, read_S: FloatArray, histories: Records) -> Records:
        """The decisions; `histories` become the next ones."""
        decisions = np.zeros(target_S.size, DECISION)
        arrays = (law, target_S, read_S, histories, decisions)
        self._library.decide_all(ctypes.c_size_t(target_S.size), *map(_pointer, arrays))
        return decisions


def _pointer(array: NDArray[np.generic]) -> ctypes.c_void_p:
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    return Firmware(tmp_path_factory.mktemp("decide"))


def random_recipe(rng: np.random.Generator) -> Recipe:
    """A recipe that can be; ramps of one step and ramps without a way to go are among them."""

    def ramp(low_v: float, high_v: float) -> Ramp:
        start_v, step_v = rng.uniform(low_v, high_v), rng.uniform(0.01, 0.5)
        stop_v = start_v + rng.choice([0.0, step_v, 3 * step_v, rng.uniform(0.0, 1.0)])
        return Ramp(start_v=start_v, step_v=step_v, stop_v=stop_v)

    g_min_S = rng.uniform(0.5e-6, 5e-6)
    return Recipe(
        g_min_S=g_min_S,
        g_max_S=g_min_S + rng.uniform(10e-6, 80e-6),
        band_S=rng.choice([0.25e-6, 0.5e-6, 1e-6, rng.uniform(0.1e-6, 4e-6)]),
        v_read_v=0.2,
        set=SetRecipe(
            gate=ramp(0.5, 1.5),
            gate_offset_v=rng.uniform(-0.5, 1.0),
            gate_slope_S_per_v=rng.uniform(20e-6, 200e-6),
            amplitude=ramp(1.0, 2.5),
            width_s=rng.uniform(1e-8, 1e-5),
        ),
        reset=ResetRecipe(
            gate_v=rng.uniform(2.0, 4.0), amplitude=ramp(0.5, 2.0), width_s=rng.uniform(1e-8, 1e-5)
        ),
        form=FormRecipe(gate_v=1.0, amplitude=ramp(2.0, 3.0), width_s=1e-6, g_formed_S=1e-6),
        pulses_max=int(rng.integers(1, 60)),
        flips_max=int(rng.integers(1, 12)),
        pulses_at_cap_max=int(rng.integers(1, 8)),
        time_max_s=1.0,
        rewrite_in_band=bool(rng.integers(2)),
    )


def law_of(recipe: Recipe) -> Records:
    """The recipe as the firmware holds it."""

    def volts(ramp: Ramp) -> tuple[float, float, float]:
        return ramp.start_v, ramp.step_v, ramp.stop_v

    up, down = recipe.set, recipe.reset
    set_ = volts(up.gate), up.gate_offset_v, up.gate_slope_S_per_v, volts(up.amplitude), up.width_s
    reset = down.gate_v, volts(down.amplitude), down.width_s
    caps = recipe.pulses_max, recipe.flips_max, recipe.pulses_at_cap_max, recipe.rewrite_in_band
    return np.array([(recipe.band_S, *set_, *reset, *caps)], LAW)


def records_of(history: History) -> Records:
    records = np.zeros(history.g_first_S.size, HISTORY)
    for name in HISTORY.names or ():
        records[name] = getattr(history, name)
    return records


def assert_same(decision: Decision, after: History, steps: Records, histories: Records) -> None:
    """Every number to the last bit, also the sign of a zero."""
    for name in ("amplitude_v", "gate_v", "width_s"):
        _assert_bits(name, getattr(decision, name), steps[name])
    for name in REAL:
        _assert_bits(name, getattr(after, name), histories[name])
    for name in ("action", "status"):
        np.testing.assert_array_equal(steps[name], getattr(decision, name), name)
    for name in (*WHOLE, *FLAG):
        np.testing.assert_array_equal(histories[name], getattr(after, name), name)


def _assert_bits(name: str, python: Reals, firmware: Reals) -> None:
    assert python.dtype == firmware.dtype == np.float64
    bits = [np.ascontiguousarray(values).view(np.uint64) for values in (python, firmware)]
    np.testing.assert_array_equal(bits[1], bits[0], name)


def random_state(recipe: Recipe, rng: np.random.Generator, n: int) -> tuple[FloatArray, FloatArray, History]:
    """Targets, readings and histories of which many lie exactly where the decision turns, or a bit beside."""

    def some(*values: float, otherwise: FloatArray) -> FloatArray:
        """Mostly random numbers; often exactly one of `values`, or the next number above or below it."""
        exact = rng.choice(np.array(values, np.float64), n)
        beside = np.nextafter(exact, exact + rng.choice([-1.0, 1.0], n))
        return np.select([rng.random(n) < 0.3, rng.random(n) < 0.3], [exact, beside], otherwise)

    def around(most: int) -> NDArray[np.int64]:
        return np.where(
            rng.random(n) < 0.5, rng.integers(0, most + 2, n), most + rng.integers(-1, 2, n)
        ).astype(np.int64)

    band_S = recipe.band_S
    target_S = rng.uniform(recipe.g_min_S, recipe.g_max_S, n)
    off_S = some(-band_S, band_S, -band_S / 2, band_S / 2, 0.0, otherwise=rng.normal(0.0, 3 * band_S, n))
    read_S = target_S + off_S
    first_S = read_S + some(-band_S, band_S, 0.0, otherwise=rng.normal(0.0, 2 * band_S, n))
    gate, up, down = recipe.set.gate, recipe.set.amplitude, recipe.reset.amplitude
    history = History(
        g_first_S=first_S,
        direction=rng.integers(-1, 2, n),
        gate_v=some(0.0, gate.start_v, gate.stop_v, otherwise=rng.uniform(-0.5, 3.0, n)),
        set_amplitude_v=some(0.0, up.start_v, up.stop_v, otherwise=rng.uniform(0.0, 4.0, n)),
        reset_amplitude_v=some(down.start_v, down.stop_v, otherwise=rng.uniform(0.0, 4.0, n)),
        pulses=around(recipe.pulses_max),
        flips=around(recipe.flips_max),
        at_cap=around(recipe.pulses_at_cap_max),
        confirming=rng.random(n) < 0.5,
        moved=rng.random(n) < 0.5,
        probed=rng.random(n) < 0.5,
    )
    return target_S, read_S, history


@pytest.mark.parametrize("seed", [1, 2])
def test_independent_states_give_the_same_step(firmware: Firmware, seed: int) -> None:
    rng = np.random.default_rng(seed)
    actions, statuses = set[int](), set[int]()
    for _ in range(RECIPES):
        recipe = random_recipe(rng)
        target_S, read_S, history = random_state(recipe, rng, CELLS)
        decision, after = decide(recipe, target_S, read_S, history)
        histories = records_of(history)
        steps = firmware.decide(law_of(recipe), target_S, read_S, histories)
        assert_same(decision, after, steps, histories)
        actions |= set(decision.action.tolist())
        statuses |= set(decision.status.tolist())
    assert actions == {int(action) for action in Action}
    assert len(statuses) == 4  # done, not converged, limit, stuck


def _stuck(g_S: FloatArray, _: Decision, recipe: Recipe, rng: np.random.Generator) -> FloatArray:
    return g_S + rng.normal(0.0, 0.05 * recipe.band_S, g_S.size)


def _ideal(g_S: FloatArray, decision: Decision, recipe: Recipe, rng: np.random.Generator) -> FloatArray:
    """Cells that do what the recipe expects, nearly, so that the walks converge."""
    gate_g_S = (decision.gate_v - recipe.set.gate_offset_v) * recipe.set.gate_slope_S_per_v
    up = np.maximum(g_S, gate_g_S + rng.normal(0.0, recipe.band_S / 2, g_S.size))
    down = g_S - rng.uniform(0.0, 4 * recipe.band_S, g_S.size)
    kind = decision.action
    return np.select([kind == Action.SET, kind == Action.RESET], [up, down], g_S)


def _wild(g_S: FloatArray, _: Decision, recipe: Recipe, rng: np.random.Generator) -> FloatArray:
    """Cells that jump about their band, in whole quarters of it: many readings lie exactly at an edge."""
    return g_S + rng.integers(-6, 7, g_S.size) * (recipe.band_S / 4)


Cell = Callable[[FloatArray, Decision, Recipe, np.random.Generator], FloatArray]


@pytest.mark.parametrize("cell", [_stuck, _ideal, _wild])
def test_long_walks_stay_together(firmware: Firmware, cell: Cell) -> None:
    """Each side goes on from its own history, so a difference anywhere would grow."""
    rng = np.random.default_rng(3)
    done = 0
    for _ in range(RECIPES // 4):
        recipe = random_recipe(rng)
        target_S = rng.uniform(recipe.g_min_S, recipe.g_max_S, CELLS)
        read_S = target_S + rng.integers(-8, 9, CELLS) * (recipe.band_S / 2)
        history, histories, law = History.start(read_S), firmware.start(read_S), law_of(recipe)
        for _ in range(60):
            decision, history = decide(recipe, target_S, read_S, history)
            steps = firmware.decide(law, target_S, read_S, histories)
            assert_same(decision, history, steps, histories)
            done += int(np.count_nonzero(decision.action == Action.STOP))
            read_S = cell(read_S, decision, recipe, rng)
    assert done > 0
