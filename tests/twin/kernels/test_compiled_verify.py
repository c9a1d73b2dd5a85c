"""The compiled write-verify against the one that every other backend uses: the same decisions, the same law."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from eapu_hil.base.loading import load_model
from eapu_hil.bench import Bench
from eapu_hil.hal import Cells, Targets, WriteOutcome
from eapu_hil.hal.recipe import Recipe
from eapu_hil.hal.writeverify import Action, History, decide, write_verify
from eapu_hil.twin.kernels.verify import CONFIRM, decide_cells, recipe_law, writing

OpenTwin = Callable[..., Bench]
STATES = 200_000
CHANGES = [[], ["rewrite_in_band=true"], ["pulses_at_cap_max=1", "flips_max=1", "pulses_max=5"]]


def _random_states(recipe: Recipe, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, History]:
    """Targets, readings and histories; many at the ends of their ramps and near the edges of the band."""
    n = STATES
    g_target_S = random.uniform(recipe.g_min_S, recipe.g_max_S, n)
    near = random.random(n) < 0.7
    g_S = np.where(
        near,
        g_target_S + random.uniform(-2, 2, n) * recipe.band_S,
        random.uniform(-1e-6, 1.2 * recipe.g_max_S, n),
    )
    direction = random.integers(-1, 2, n)

    def ramp(start: float, step: float, stop: float) -> np.ndarray:
        return np.minimum(start + step * random.integers(0, 12, n) ** 2, stop)

    up, down = recipe.set, recipe.reset
    return (
        g_target_S,
        g_S,
        History(
            g_first_S=g_S + random.uniform(-2, 2, n) * recipe.band_S,
            direction=direction,
            gate_v=ramp(up.gate.start_v, up.gate.step_v, up.gate.stop_v) * (random.random(n) < 0.8),
            set_amplitude_v=ramp(up.amplitude.start_v, up.amplitude.step_v, up.amplitude.stop_v),
            reset_amplitude_v=ramp(down.amplitude.start_v, down.amplitude.step_v, down.amplitude.stop_v),
            pulses=random.integers(0, recipe.pulses_max + 2, n),
            flips=random.integers(0, recipe.flips_max + 2, n),
            at_cap=random.integers(0, recipe.pulses_at_cap_max + 2, n),
            confirming=random.random(n) < 0.3,
            moved=random.random(n) < 0.5,
            probed=random.random(n) < 0.3,
        ),
    )


@pytest.mark.parametrize("changes", CHANGES)
def test_it_decides_as_the_reference_does(changes: list[str]) -> None:
    recipe = load_model(Recipe, "rram_180nm", changes, "recipes")
    g_target_S, g_S, history = _random_states(recipe, np.random.default_rng(1))
    expected, after = decide(recipe, g_target_S, g_S, history)
    w = writing(np.arange(STATES), g_target_S, g_S)
    kept = {
        "g_first_S": history.g_first_S,
        "direction": history.direction,
        "last_gate_v": history.gate_v,
        "last_set_v": history.set_amplitude_v,
        "last_reset_v": history.reset_amplitude_v,
        **{
            name: getattr(history, name)
            for name in ("pulses", "flips", "at_cap", "confirming", "moved", "probed")
        },
    }
    w = w._replace(**{name: values.copy() for name, values in kept.items()})
    going = decide_cells(recipe_law(recipe), w, STATES)

    np.testing.assert_array_equal(w.action, expected.action)
    stops = expected.action == Action.STOP
    np.testing.assert_array_equal(w.active[:going], np.flatnonzero(~stops))
    np.testing.assert_array_equal(w.status[stops], expected.status[stops])
    strikes = ~stops & (expected.action != CONFIRM)
    np.testing.assert_allclose(w.amplitude_v[strikes], expected.amplitude_v[strikes], rtol=1e-12)
    np.testing.assert_allclose(w.gate_v[strikes], expected.gate_v[strikes], rtol=1e-12)
    for mine, theirs in (
        ("last_gate_v", "gate_v"),
        ("last_set_v", "set_amplitude_v"),
        ("last_reset_v", "reset_amplitude_v"),
    ):
        np.testing.assert_allclose(getattr(w, mine)[~stops], getattr(after, theirs)[~stops], rtol=1e-12)
    for name in ("direction", "pulses", "flips", "at_cap", "confirming", "moved", "probed"):
        np.testing.assert_array_equal(getattr(w, name)[~stops], getattr(after, name)[~stops], err_msg=name)
    for action in (Action.SET, Action.RESET, Action.CONFIRM, Action.STOP):
        assert (expected.action == action).mean() > 0.01  # all of them were tried


def _outcomes(bench: Bench, compiled: bool, random: np.random.Generator) -> list[WriteOutcome]:
    device = bench.arrays[0]._device
    found = []
    for _ in range(4):
        targets = Targets(
            Cells.all(device.shape), random.uniform(3e-6, 35e-6, device.shape[0] * device.shape[1])
        )
        found.append(device.program(targets) if compiled else write_verify(device, targets, bench.recipe))
    return found


def test_its_writes_follow_the_same_law(open_twin: OpenTwin) -> None:
    shape = (64, 32)
    quiet = {"forming.enabled": False}
    both = [
        _outcomes(open_twin("rram_180nm", shape, seed=3, **quiet), compiled, np.random.default_rng(7))
        for compiled in (True, False)
    ]
    for name in ("g_after_S", "pulses", "reads", "energy_j", "status"):
        compiled, reference = (np.concatenate([getattr(its, name)[:] for its in found]) for found in both)
        assert stats.ks_2samp(compiled, reference).pvalue > 1e-3, name
        assert compiled.mean() == pytest.approx(reference.mean(), rel=0.03), name
